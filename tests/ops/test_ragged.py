"""Reductions over ragged sequences against loops over each sequence."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.ragged import Ragged, distinct_tokens, ragged_sum, windowed_max

VOCAB = 11
LENGTHS = (1, 9, 0, 23, 2, 4)


@pytest.fixture(scope="module")
def ragged():
    tokens = np.random.default_rng(0).integers(0, VOCAB - 1, 60).astype(np.uint16)
    starts = np.array([7, 0, 3, 30, 20, 56], np.int32)  # in any order, and with gaps
    return Ragged(jnp.asarray(tokens), jnp.asarray(starts), jnp.asarray(LENGTHS, jnp.int32))


def sequences(ragged):
    return [np.asarray(ragged.tokens)[start:start + length] for start, length in zip(ragged.starts, ragged.lengths, strict=True)]


def test_distinct_tokens(ragged):
    present = jax.jit(lambda ragged: distinct_tokens(ragged, VOCAB, width=4, slots_at_once=2))(ragged)
    np.testing.assert_array_equal(np.flatnonzero(present), np.unique(np.concatenate(sequences(ragged))))
    assert not present[VOCAB - 1]


@pytest.mark.parametrize(("width", "slots"), [(4, 3), (64, 1)])
def test_ragged_sum_and_its_gradient(ragged, width, slots):
    values = np.random.default_rng(1).normal(size=VOCAB).astype(np.float32)
    scale = np.arange(1.0, len(LENGTHS) + 1, dtype=np.float32)

    def weighted(values):
        sums = ragged_sum(values, ragged, width=width, slots_at_once=slots)
        return jnp.sum(scale * sums), sums

    gradient, sums = jax.jit(jax.grad(weighted, has_aux=True))(values)
    np.testing.assert_allclose(sums, [values[sequence].sum() for sequence in sequences(ragged)], rtol=1e-5, atol=1e-6)
    counts = [np.bincount(sequence, minlength=VOCAB) for sequence in sequences(ragged)]
    np.testing.assert_allclose(gradient, scale @ np.array(counts))


def slow_max(tables, rows, ragged, first_offset, weights):
    """Values [B, F] with their windows written out, and the gradient of their weighted sum, as loops."""
    values, gradient = np.zeros(weights.shape), np.zeros(tables.shape)
    for number, sequence in enumerate(sequences(ragged)):
        windows = [[(rows[sequence[t + first_offset + k]], k) for k in range(tables.shape[1]) if 0 <= t + first_offset + k < len(sequence)]
                   for t in range(len(sequence))]
        for f in range(tables.shape[2] if len(sequence) else 0):
            sums = [sum(tables[row, k, f] for row, k in window) for window in windows]
            values[number, f] = max(sums)
            for row, k in windows[int(np.argmax(sums))]:
                gradient[row, k, f] += weights[number, f]
    return values, gradient


@pytest.mark.parametrize(("places", "first_offset", "width", "slots"), [(3, -1, 4, 3), (4, -2, 64, 2)])
def test_windowed_max_and_its_gradient(ragged, places, first_offset, width, slots):
    rng = np.random.default_rng(places)
    rows = rng.permutation(VOCAB).astype(np.int32)
    tables = rng.normal(size=(VOCAB + 1, places, 5)).astype(np.float32)
    tables[VOCAB] = 0
    weights = rng.normal(size=(len(LENGTHS), 5)).astype(np.float32)

    def weighted(tables):
        value = windowed_max(tables, jnp.asarray(rows), ragged, first_offset, width=width, slots_at_once=slots)
        return jnp.sum(weights * value), value

    gradient, value = jax.jit(jax.grad(weighted, has_aux=True))(tables)
    expected, expected_gradient = slow_max(tables, rows, ragged, first_offset, weights)
    np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(gradient[:VOCAB], expected_gradient[:VOCAB], rtol=1e-5, atol=1e-6)


def test_windows_see_what_the_specification_says():
    """Review [x0, x1]: window 4 at offsets -2..1 sees [0, 0, x0, x1], then [0, x0, x1, 0]."""
    pair = Ragged(jnp.array([5, 6], jnp.uint16), jnp.zeros(1, jnp.int32), jnp.array([2], jnp.int32))
    tables = np.zeros((VOCAB + 1, 4, 2), np.float32)
    tables[5, 2, 0], tables[6, 3, 0] = 1, 2  # position 0
    tables[5, 1, 1], tables[6, 2, 1] = 4, 8  # position 1
    found = jax.jit(lambda tables: windowed_max(tables, jnp.arange(VOCAB), pair, -2))(tables)
    np.testing.assert_array_equal(found, [[3, 12]])


def test_a_tie_gives_its_gradient_to_the_first_position():
    same = Ragged(jnp.array([1, 2, 1], jnp.uint16), jnp.zeros(1, jnp.int32), jnp.array([3], jnp.int32))
    tables = np.array([0, 1, 1, 0], np.float32).reshape(4, 1, 1)
    gradient = jax.jit(jax.grad(lambda tables: windowed_max(tables, jnp.arange(3), same, 0, width=2, slots_at_once=1).sum()))(tables)
    np.testing.assert_array_equal(gradient[:, 0, 0], [0, 1, 0, 0])
