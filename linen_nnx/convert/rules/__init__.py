"""A user's rules: read, turned round, and held against the variables of a state."""
