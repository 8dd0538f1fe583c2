"""From prepared files to host batches: numpy arrays, a pure function of (seed, step)."""
