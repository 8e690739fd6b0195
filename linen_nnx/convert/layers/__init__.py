"""Layer groups: their names, their axes, stacking and unstacking."""
