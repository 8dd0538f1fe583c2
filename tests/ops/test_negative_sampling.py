"""Negatives by bisection: the example of the sources, brute force, uniform, and never a positive."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.counter_bits import bits_at, integers_below
from jax_mlperf.ops.negative_sampling import draw_negatives, gaps_below, nth_nonpositive

USERS, ITEMS = 40, 23


def segments(rng):
    """Positives of users who have rated from none to all items but one: (offsets, items)."""
    counts = np.r_[0, 1, ITEMS - 1, rng.integers(0, ITEMS, USERS - 3)]
    items = [np.sort(rng.choice(ITEMS, count, replace=False)) for count in counts]
    return np.r_[0, np.cumsum(counts)].astype(np.int32), np.concatenate(items).astype(np.int32)


@pytest.fixture(scope="module")
def ratings():
    offsets, items = segments(np.random.default_rng(0))
    starts = np.repeat(offsets[:-1], np.diff(offsets))
    return offsets, items, np.asarray(jax.jit(gaps_below)(items, starts))


@jax.jit
def all_nonpositives_of_ten(positives):
    below = gaps_below(positives, jnp.zeros_like(positives))
    return below, nth_nonpositive(jnp.arange(10 - len(positives)), below, jnp.int32(0), jnp.int32(len(positives)), 10)


def test_the_example_of_the_sources():
    below, drawn = all_nonpositives_of_ten(np.array([2, 3, 7]))
    assert below.tolist() == [2, 2, 5]
    assert drawn.tolist() == [0, 1, 4, 5, 6, 8, 9]


def test_every_nonpositive_of_every_user_in_order(ratings):
    offsets, items, below = ratings
    wanted = [np.setdiff1d(np.arange(ITEMS), items[start:end]) for start, end in itertools.pairwise(offsets)]
    user = np.repeat(np.arange(USERS), [len(row) for row in wanted])
    number = np.concatenate([np.arange(len(row)) for row in wanted])
    drawn = jax.jit(nth_nonpositive, static_argnums=4)(number, below, offsets[user], offsets[user + 1] - offsets[user], ITEMS)
    np.testing.assert_array_equal(drawn, np.concatenate(wanted))


def test_draws_are_uniform_over_the_nonpositives_and_never_positive(ratings):
    offsets, items, below = ratings
    draws, data = 2000, jax.random.key_data(jax.random.key(4))
    counter = np.broadcast_to(np.arange(draws), (USERS, draws)), np.arange(USERS)[:, None]
    start, count = offsets[:-1, None], np.diff(offsets)[:, None]
    drawn = np.asarray(jax.jit(draw_negatives, static_argnums=5)(data, counter, below, start, count, ITEMS))
    freedom = chi_square = 0
    for user, (first, last) in enumerate(itertools.pairwise(offsets)):
        counts = np.bincount(drawn[user], minlength=ITEMS)
        assert not counts[items[first:last]].any()
        left = ITEMS - (last - first)
        chi_square += np.sum((np.delete(counts, items[first:last]) - draws / left) ** 2) / (draws / left)
        freedom += left - 1
    assert abs(chi_square - freedom) < 4 * np.sqrt(2 * freedom)


def test_integers_are_the_high_word_of_the_product():
    rng = np.random.default_rng(1)
    bits = np.r_[0, 2**32 - 1, rng.integers(0, 2**32, 1000)].astype(np.uint32)
    made = jax.jit(integers_below)
    for bound in (1, 26_744, 2**16, 2**31 - 1):
        expected = (bits.astype(np.uint64) * np.uint64(bound)) >> np.uint64(32)
        np.testing.assert_array_equal(made(bits, bound), expected)


def test_bits_are_those_of_their_place_and_key():
    drawn = jax.jit(bits_at)
    key, low = np.array([0, 2], np.uint32), np.arange(6).reshape(2, 3)
    whole = np.asarray(drawn(key, low, 7))
    assert whole.shape == (2, 3) and whole.dtype == np.uint32 and len(np.unique(whole)) == 6
    np.testing.assert_array_equal(drawn(key, low[::-1], 7), whole[::-1])
    assert not np.any(whole == np.asarray(drawn(key, low, 8)))
    # The vector of the generator's authors (kat_vectors of Random123): key and counter of ones give 1cb996fc bb002be7.
    ones = np.uint32(0xFFFFFFFF)
    assert np.asarray(drawn(np.array([ones, ones]), np.full((2, 3), ones), ones)).tolist() == [[0x1CB996FC] * 3] * 2
