"""One result as one self-contained HTML page: what it shows, where that comes from, how it is written."""
