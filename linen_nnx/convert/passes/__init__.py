"""Rewrites of the intermediate representation, one a file."""
