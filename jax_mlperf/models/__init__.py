"""Flax NNX modules: no data, no loss, no config object."""
