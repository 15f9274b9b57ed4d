"""What the user writes: decorators, options, fingerprints. No engine: workflows are started through the port in ``ambient``."""
