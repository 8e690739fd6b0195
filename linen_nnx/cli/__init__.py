"""The command line `linen-nnx`: one file a command."""
