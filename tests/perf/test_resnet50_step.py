"""The sides that perf/resnet50_step.py compares compute the same: otherwise the ratios would mean nothing."""

import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "perf"))

import resnet50


@pytest.mark.slow
def test_plain_gradients_are_ours():
    """One update from the same start, with every layer of the network in it."""
    size = resnet50.Size((2,), 4, 5, image=16, rows=4)
    batch = resnet50.random_batch(size, 0)
    init, ours = resnet50.make_step(size, jnp.float32)
    state = jax.jit(init)()
    state = (*state[:2], state[2]._replace(updates_made=jnp.int32(400)))  # the first update has rate 0
    with resnet50.plain():
        _, plain = resnet50.make_step(size, jnp.float32)
        expected = jax.jit(plain)(state, batch)
    result = jax.jit(ours)(state, batch)
    moved = jax.tree.map(lambda before, after: np.abs(after - before).max() > 0, state[0], result[0][0])
    assert all(jax.tree.leaves(moved))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5, rtol=1e-3), result, expected)
