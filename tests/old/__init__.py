"""Checkpoints that old releases of flax and orbax wrote, and that they are read as what they hold."""
