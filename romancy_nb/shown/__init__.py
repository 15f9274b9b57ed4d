"""Timelines as they stand in a saved notebook: read without a kernel and without a journal."""
