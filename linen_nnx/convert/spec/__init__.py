"""The expected train state: of a live model, of a factory, of a checkpoint; and what does not fit it."""
