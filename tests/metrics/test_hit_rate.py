"""HR and NDCG against what the reference's dict gives, duplicates and ties included."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.metrics.hit_rate import gain, only_rivals_once, rank


def ranked(negatives, positive, scores):
    """The rank of one user's positive, where `scores` maps an item to its score."""
    padded = (negatives * 12)[:12]  # repetitions do not count
    candidates, by_item = np.asarray([padded]), np.array([scores.get(item, 0.0) for item in range(32)], np.float32)
    return int(_rank(candidates, np.array([positive]), by_item)[0])


@jax.jit
def _rank(candidates, positive, by_item):
    once = only_rivals_once(candidates, positive)
    return rank(by_item[once], once, by_item[positive], positive)


@pytest.mark.parametrize(("negatives", "positive", "scores", "expected"), [
    ([5, 7, 9], 3, {5: 0.9, 7: 0.2, 9: 0.1, 3: 0.5}, 1),
    ([5, 5, 5, 9], 3, {5: 0.9, 9: 0.1, 3: 0.5}, 1),
    ([5, 7, 9], 3, {5: 0.9, 7: 0.5, 9: 0.1, 3: 0.5}, 2),  # the tie is lost
    (list(range(20, 32)), 3, dict.fromkeys([3, *range(20, 32)], 0.25), 12),  # a collapsed model
    ([3, 5, 9], 3, {3: 0.8, 5: 0.8, 9: 0.1}, 1),  # the rules' FAQ; the reference's code says 0
    ([3, 3, 9], 3, {3: 0.8, 9: 0.1}, 0),
    ([5, 7], 3, {5: math.nan, 7: 0.1, 3: 0.5}, 1),
    ([5, 7], 3, {5: 0.3, 7: 0.1, 3: math.nan}, 2),
])
def test_rank_of_the_positive(negatives, positive, scores, expected):
    assert ranked(negatives, positive, scores) == expected


def test_gains_of_the_first_ten_places():
    expected = [1, 0.630930, 0.5, 0.430677, 0.386853, 0.356207, 0.333333, 0.315465, 0.301030, 0.289065, 0, 0]
    np.testing.assert_allclose(gain(jnp.arange(12), 10), expected, atol=1e-6)
