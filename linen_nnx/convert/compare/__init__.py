"""Two checkpoints of any layouts, held against each other through the intermediate representation."""
