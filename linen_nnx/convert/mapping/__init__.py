"""Infer rules: which variable of a Linen model is which of an NNX one, by structure first."""
