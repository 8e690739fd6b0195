"""Helpers of the tests: an oracle written apart from the package, and builders of real checkpoints."""
