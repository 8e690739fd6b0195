"""What a train state is: pure data. Imports no jax, orbax or tensorstore."""
