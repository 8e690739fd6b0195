"""Digests: taken while bytes move, kept in receipts, held against what is stored."""
