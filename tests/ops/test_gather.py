"""Look-ups and their written gradients against NumPy."""

import jax
import numpy as np

from jax_mlperf.ops.gather import take_rows, take_slots

X = np.random.default_rng(0).normal(size=(2, 4, 3)).astype(np.float32)
PROBE = np.random.default_rng(1).normal(size=(2, 5, 3)).astype(np.float32)
SLOTS = np.array([[0, 0, 3, 1, 9], [2, 2, 2, 0, -1]])  # repeated, and out of range on both sides


def test_slots_and_gradient():
    taken, gradient = jax.jit(lambda x: (take_slots(x, SLOTS), jax.grad(lambda x: (take_slots(x, SLOTS) * PROBE).sum())(x)))(X)
    inside = np.clip(SLOTS, 0, 3)
    np.testing.assert_array_equal(taken, [row[slots] for row, slots in zip(X, inside, strict=True)])
    expected = np.zeros_like(X)
    for row, place in np.ndindex(*SLOTS.shape):
        expected[row, inside[row, place]] += PROBE[row, place]
    np.testing.assert_allclose(gradient, expected, rtol=1e-6)


def test_rows_and_gradient():
    table, ids = X[0, :2], np.array([[0, 1, 1, 0, 1], [0, 0, 0, 7, -1]])
    taken, gradient = jax.jit(lambda table: (take_rows(table, ids), jax.grad(
        lambda table: (take_rows(table, ids) * PROBE).sum())(table)))(table)
    inside = np.clip(ids, 0, 1)
    np.testing.assert_array_equal(taken, table[inside])
    np.testing.assert_allclose(gradient, [PROBE[inside == row].sum(axis=0) for row in (0, 1)], rtol=1e-5)
