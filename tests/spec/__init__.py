"""The expected train state: made of live models, factories and checkpoints, and held against checkpoints."""
