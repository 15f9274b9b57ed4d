"""romancy_nb beside other tools: a file each, written against the public names as a stranger would."""
