"""Other readers than ours, of several releases, on what we write: `python -m tests.readers --help`."""
