"""The GELU, exact and by tanh, with its gradient written out."""

import math

import jax
import jax.numpy as jnp

# Section 2 of Hendrycks and Gimpel 2016, "Gaussian error linear units".
_ROOT, _CUBIC = math.sqrt(2 / math.pi), 0.044715


def _cumulative(x: jax.Array) -> jax.Array:
    """The standard normal distribution's cumulative function of float32 x, by erf: erfc costs GPUs much more."""
    return 0.5 * (1 + jax.lax.erf(x * math.sqrt(0.5)))


def _forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    wide = x.astype(jnp.float32)
    return (wide * _cumulative(wide)).astype(x.dtype), x


def _backward(x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """Keeps x alone, in its own dtype; the derivative is Phi(x) + x phi(x)."""
    wide = x.astype(jnp.float32)
    density = jnp.exp(-0.5 * jnp.square(wide)) * math.sqrt(0.5 / math.pi)
    return ((gradient.astype(jnp.float32) * (_cumulative(wide) + wide * density)).astype(x.dtype),)


@jax.custom_vjp
def gelu(x: jax.Array) -> jax.Array:
    """x Phi(x) (Hendrycks and Gimpel 2016, not the tanh approximation), computed in float32, of any float array."""
    return _forward(x)[0]


gelu.defvjp(_forward, _backward)


def _tanh(x: jax.Array) -> jax.Array:
    return jnp.tanh(_ROOT * (x + _CUBIC * x * x * x))


def _tanh_forward(x: jax.Array) -> tuple[jax.Array, jax.Array]:
    wide = x.astype(jnp.float32)
    return (0.5 * wide * (1 + _tanh(wide))).astype(x.dtype), x


def _tanh_backward(x: jax.Array, gradient: jax.Array) -> tuple[jax.Array]:
    """Keeps x alone; with t the tanh, the derivative is (1 + t) / 2 + x (1 - t^2) / 2 sqrt(2 / pi) (1 + 3 * 0.044715 x^2)."""
    wide = x.astype(jnp.float32)
    tanh = _tanh(wide)
    derivative = 0.5 * (1 + tanh) * (1 + wide * (1 - tanh) * (_ROOT * (1 + 3 * _CUBIC * wide * wide)))
    return ((gradient.astype(jnp.float32) * derivative).astype(x.dtype),)


@jax.custom_vjp
def gelu_tanh(x: jax.Array) -> jax.Array:
    """0.5 x (1 + tanh(sqrt(2 / pi) (x + 0.044715 x^3))), BERT's GELU, computed in float32, of any float array.

    `gelu` in modeling.py of the reference (`mlcommons/training:retired_benchmarks/bert`).
    """
    return _tanh_forward(x)[0]


gelu_tanh.defvjp(_tanh_forward, _tanh_backward)
