"""Data sets: download, verify, prepare, and generators of the tiny ones. JAX is never imported here."""
