"""Live objects: NNX models and optimizers filled in place, Linen states made of them. Needs flax."""
