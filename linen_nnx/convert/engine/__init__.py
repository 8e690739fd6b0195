"""Run a plan: read, make, write, commit."""
