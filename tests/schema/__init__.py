"""Laws of `linen_nnx.schema`: pure data, its text forms and its invariants."""
