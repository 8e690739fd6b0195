"""How one train state becomes another."""
