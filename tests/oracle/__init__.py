"""The real thing as oracle: MaxText resumes what linen-nnx converted, and the losses must be the same."""
