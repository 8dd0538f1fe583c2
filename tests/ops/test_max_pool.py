"""Max-pooling against known values, and its gradient against XLA's."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.max_pool import max_pool

SAME, AROUND = ((0, 1), (0, 1)), ((1, 1), (1, 1))


def by_xla(x, padding):
    return jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), *padding, (0, 0)))


@pytest.mark.parametrize("padding, expected", [(SAME, [[10, 11], [14, 15]]), (AROUND, [[5, 7], [13, 15]])])
def test_spec_points(padding, expected):
    x = jnp.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(max_pool(x, 3, 2, padding)[0, :, :, 0], expected)


@pytest.mark.parametrize("padding", [SAME, AROUND])
def test_gradient_with_ties(padding):
    rng = np.random.default_rng(0)
    x = rng.integers(0, 3, (2, 8, 6, 3)).astype(np.float32)  # many windows reach their maximum twice
    cotangent = rng.normal(size=(2, 4, 3, 3)).astype(np.float32)

    def gradient(pool):
        return jax.jit(jax.value_and_grad(lambda x: (pool(x) * cotangent).sum()))(x)

    value, ours = gradient(lambda x: max_pool(x, 3, 2, padding))
    expected, theirs = gradient(lambda x: by_xla(x, padding))
    assert float(value) == pytest.approx(float(expected), rel=1e-5)
    np.testing.assert_allclose(ours, theirs, atol=1e-6)
