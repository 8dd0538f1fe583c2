"""A permutation of any number of samples that is computed place by place, so that no epoch's order has to be stored."""

import numpy as np

_ROUNDS = 6  # each changes both halves


def permuted(seed: int, epoch: int, places: np.ndarray, count: int) -> np.ndarray:
    """Which of `count` samples stand at these places of an epoch's order: a pure function of its arguments.

    A Feistel network permutes 0 .. 2^bits - 1; what it sends to `count` or beyond is sent through it again until it comes out
    below (cycle walking: Black and Rogaway, "Ciphers with arbitrary finite domains", 2002), which leaves a permutation of
    0 .. count - 1.

    Args:
      places: int [n], each from 0 to count - 1.
      count: at least 1.

    Returns:
      int64 [n], from 0 to count - 1; over all places every sample once.
    """
    keys = np.random.SeedSequence([seed, epoch]).generate_state(2 * _ROUNDS, np.uint64)
    bits = max(2, int(count - 1).bit_length())
    samples = _feistel(places.astype(np.uint64), bits, keys)
    outside = np.flatnonzero(samples >= count)
    while len(outside):
        again = _feistel(samples[outside], bits, keys)
        samples[outside] = again
        outside = outside[again >= count]
    return samples.astype(np.int64)


def _feistel(values: np.ndarray, bits: int, keys: np.ndarray) -> np.ndarray:
    """A permutation of 0 .. 2^bits - 1, uint64 [n]: each half takes up a hash of the other, in turn."""
    low_bits = np.uint64(bits // 2)
    low_mask, high_mask = np.uint64((1 << bits // 2) - 1), np.uint64((1 << bits - bits // 2) - 1)
    low, high = values & low_mask, values >> low_bits
    for even, odd in keys.reshape(-1, 2):
        low = low ^ (_hashed(high, even) & low_mask)
        high = high ^ (_hashed(low, odd) & high_mask)
    return high << low_bits | low


def _hashed(values: np.ndarray, key: np.uint64) -> np.ndarray:
    """SplitMix64's output function (Steele, Lea and Flood, 2014) of values + key."""
    mixed = values * np.uint64(0x9E3779B97F4A7C15) + key
    mixed = (mixed ^ mixed >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    mixed = (mixed ^ mixed >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return mixed ^ mixed >> np.uint64(31)
