"""Where checkpoints lie: orbax items on disk, trees in memory."""
