"""What people see of a run: the view model, and the timeline as text and as HTML that needs no script."""
