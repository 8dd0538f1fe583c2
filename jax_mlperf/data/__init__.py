"""Data sets: download, verify, prepare, and generators of the tiny ones. Pure numpy: JAX is never imported here."""
