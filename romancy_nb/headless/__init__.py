"""Notebooks executed without a frontend: ``romancy-nb run``."""
