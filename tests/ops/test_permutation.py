"""The shuffle without storage: a bijection, uniform over keys, and the same however it is asked for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.permutation import permute

permuted = jax.jit(lambda seed, index, n: permute(key(seed), index, n), static_argnums=2)


def key(seed):
    return jax.random.key_data(jax.random.key(seed))


@pytest.mark.parametrize("n", [1, 2, 97, 100_000])
def test_every_index_goes_to_a_place_of_its_own(n):
    places = np.asarray(permuted(5, np.arange(n), n))
    np.testing.assert_array_equal(np.sort(places), np.arange(n))


def test_each_index_has_its_place_whatever_is_asked_for_beside_it():
    n = 99_308_850  # an epoch of MovieLens-20M
    index = np.random.default_rng(0).integers(0, n, 4096, np.int32)
    first, second = (np.asarray(permuted(seed, index, n)) for seed in (1, 2))
    assert np.mean(first == second) < 0.01 and first.max() < n
    np.testing.assert_array_equal(permuted(1, index[::-1], n), first[::-1])
    np.testing.assert_array_equal(permuted(1, np.repeat(index[:64], 64), n), np.repeat(first[:64], 64))


def test_order_is_uniform():
    """Over 3,000 keys: where index 0 goes, and how far index 1 lands from it; chi-square of 60 and 59 degrees of freedom."""
    n, keys = 61, 3000
    places = jax.jit(jax.vmap(lambda seed: permute(key(seed), jnp.arange(2), n)))(np.arange(keys))
    places = np.asarray(places).astype(int)
    for values, cells in ((places[:, 0], n), ((places[:, 1] - places[:, 0]) % n - 1, n - 1)):
        counts = np.bincount(values, minlength=cells)
        assert len(counts) == cells
        assert 30 < np.sum((counts - keys / cells) ** 2) / (keys / cells) < 105


def test_neighbours_in_one_shuffle_are_unrelated():
    n = 100_000
    places = np.asarray(permuted(3, np.arange(n), n)).astype(float)
    assert abs(np.corrcoef(places[1:], places[:-1])[0, 1]) < 0.015
    assert abs(np.mean(np.diff(places) > 0) - 0.5) < 0.005
    counts = np.bincount((np.diff(places) % n // (n // 50)).astype(int), minlength=50)
    assert np.sum((counts - (n - 1) / 50) ** 2) / ((n - 1) / 50) < 95
