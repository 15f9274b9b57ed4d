"""IPython: the extension, its magics, cells as modules of functions, and what a call shows."""
