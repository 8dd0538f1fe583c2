"""Layer norm against NumPy and its written gradient against the automatic one."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.layer_norm import layer_norm


def arrays(dtype=jnp.float32):
    rng = np.random.default_rng(0)
    x = jnp.asarray(rng.normal(3.0, 2.0, (2, 5, 8)), dtype)
    return x, jnp.asarray(rng.normal(1.0, 0.3, 8), jnp.float32), jnp.asarray(rng.normal(size=8), jnp.float32)


def automatic(x, scale, bias):
    wide = x.astype(jnp.float32)
    centred = wide - wide.mean(-1, keepdims=True)
    deviation = jnp.sqrt(jnp.square(centred).mean(-1, keepdims=True) + 1e-6)
    return (centred / deviation * scale + bias).astype(x.dtype)


def test_by_hand():
    x, scale, bias = (np.asarray(array, np.float64) for array in arrays())
    expected = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-6) * scale + bias
    np.testing.assert_allclose(layer_norm(*arrays()), expected, atol=1e-5)


def test_epsilon():
    """Rows of deviation 1e-3, which epsilon 1e-6 would shrink by the root of two."""
    x, _, _ = arrays()
    x = 1e-3 * (x - x.mean(-1, keepdims=True)) / x.std(-1, keepdims=True)
    ones, zeros = jnp.ones(8), jnp.zeros(8)
    np.testing.assert_allclose(layer_norm(x, ones, zeros, 1e-12), 1e3 * x, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(layer_norm(x, ones, zeros), 1e3 * x / 2**0.5, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("dtype", "tolerance"), [(jnp.float32, 2e-6), (jnp.bfloat16, 2e-2)])
def test_gradient_equals_the_automatic_one(dtype, tolerance):
    probe = jnp.asarray(np.random.default_rng(1).normal(size=(2, 5, 8)), jnp.float32)

    def gradients(norm):
        return jax.jit(jax.grad(lambda *args: (norm(*args) * probe).sum(), argnums=(0, 1, 2)))(*arrays(dtype))

    for written, wanted in zip(gradients(layer_norm), gradients(automatic), strict=True):
        assert written.dtype == wanted.dtype
        np.testing.assert_allclose(
            written.astype(jnp.float32), wanted.astype(jnp.float32), atol=tolerance, rtol=tolerance
        )


def test_only_rows_statistics_are_kept_in_float32():
    saved = jax.tree.leaves(jax.eval_shape(lambda *args: jax.vjp(layer_norm, *args)[1], *arrays(jnp.bfloat16)))
    assert [leaf.shape for leaf in saved if leaf.dtype == jnp.bfloat16] == [(2, 5, 8)]
    assert all(leaf.size <= 10 for leaf in saved if leaf.dtype == jnp.float32)
