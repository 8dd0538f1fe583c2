"""GELU and its gradient against the normal distribution."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.ops.gelu import gelu


def test_values_and_gradient():
    x = np.linspace(-6, 6, 101)
    cumulative = np.array([0.5 * (1 + math.erf(value / math.sqrt(2))) for value in x])
    density = np.exp(-x**2 / 2) / math.sqrt(2 * math.pi)
    value_and_gradient = jax.jit(lambda x: jax.vjp(gelu, x)[0:1] + jax.vjp(gelu, x)[1](jnp.ones_like(x)))
    y, gradient = value_and_gradient(jnp.asarray(x, jnp.float32))
    np.testing.assert_allclose(y, x * cumulative, atol=1e-6)
    np.testing.assert_allclose(gradient, cumulative + x * density, atol=1e-6)
    rounded = jnp.asarray(x, jnp.bfloat16)
    assert [array.dtype for array in value_and_gradient(rounded)] == [jnp.bfloat16] * 2
