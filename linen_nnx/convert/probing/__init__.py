"""Run both models, to find which variable is which where structure does not tell. Needs flax."""
