"""An epoch's order: every sample once, mixed, another one for every seed and epoch."""

import numpy as np
import pytest

from jax_mlperf.data.shuffling import permuted


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 7, 24, 100, 1000, 4096, 4097, 60_000])
def test_every_sample_once(count):
    assert sorted(permuted(3, 1, np.arange(count), count)) == list(range(count))


def test_places_are_computed_one_by_one():
    whole = permuted(5, 2, np.arange(1000), 1000)
    some = np.array([999, 0, 17, 17])
    assert (permuted(5, 2, some, 1000) == whole[some]).all()
    assert len(permuted(5, 2, some[:0], 1000)) == 0
    for other in (permuted(6, 2, np.arange(1000), 1000), permuted(5, 3, np.arange(1000), 1000)):
        assert (other == whole).sum() < 10  # one agrees by chance


def test_the_order_is_mixed():
    """As unlike the order of storage, and as evenly spread, as a drawn permutation."""
    count, bins = 156_726_829, 64
    places = np.arange(40_000) + 1_000_000
    samples = permuted(12, 0, places, count)
    assert len(set(samples.tolist())) == len(places) and samples.min() >= 0 and samples.max() < count
    spread = np.bincount(samples * bins // count, minlength=bins)
    expected = len(places) / bins
    assert ((spread - expected) ** 2 / expected).sum() < 120  # chi-squared of 63 degrees: 1 in 50,000
    steps = np.diff(samples)
    assert abs(np.mean(steps > 0) - 0.5) < 0.01
    assert abs(np.corrcoef(samples[:-1], samples[1:])[0, 1]) < 0.02
    low = samples & 1
    assert abs(np.mean(low) - 0.5) < 0.01 and abs(np.mean(low[:-1] == low[1:]) - 0.5) < 0.01


def test_small_sets_take_many_orders():
    """Each of four samples stands in each place about equally often."""
    orders = np.stack([permuted(0, epoch, np.arange(4), 4) for epoch in range(600)])
    counts = np.stack([np.bincount(column, minlength=4) for column in orders.T])
    assert counts.min() > 100 and counts.max() < 200
    assert len({tuple(order) for order in orders.tolist()}) == 24
