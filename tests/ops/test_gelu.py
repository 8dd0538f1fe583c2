"""GELU and its gradient against the normal distribution."""

import math

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.ops.gelu import gelu, gelu_tanh


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


def test_tanh_form_and_its_gradient():
    """Values of section 9 of the BERT facts; the gradient is the automatic one of the formula."""
    np.testing.assert_allclose(gelu_tanh(jnp.array([-3.0, -1.0, 0.5, 1.0])),
                               [-0.00363739, -0.15880801, 0.34571401, 0.84119199], atol=1e-7)
    x = jnp.linspace(-6, 6, 101)
    written = jax.jit(jax.vmap(jax.grad(gelu_tanh)))(x)
    np.testing.assert_allclose(written, jax.jit(jax.vmap(jax.grad(lambda x: jax.nn.gelu(x, approximate=True))))(x), atol=5e-6)
    assert gelu_tanh(x.astype(jnp.bfloat16)).dtype == jnp.bfloat16
