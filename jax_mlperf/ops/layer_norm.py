"""Layer norm with its gradient written out."""

from functools import partial

import jax
import jax.numpy as jnp

# The Transformer reference's model/*.py (`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`).
EPSILON = 1e-6

_Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


def _normed(x: jax.Array, mean: jax.Array, inverse_deviation: jax.Array) -> jax.Array:
    return (x.astype(jnp.float32) - mean) * inverse_deviation


def _forward(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float) -> tuple[jax.Array, _Residuals]:
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=-1, keepdims=True)
    variance = jnp.square(wide - mean).mean(axis=-1, keepdims=True)
    inverse_deviation = jax.lax.rsqrt(variance + epsilon)
    out = (_normed(x, mean, inverse_deviation) * scale + bias).astype(x.dtype)
    return out, (x, scale, mean, inverse_deviation)


def _backward(
    epsilon: float, residuals: _Residuals, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Keeps x in its own dtype and two numbers a row, where autodiff keeps float32 arrays of x's shape.

    With n the normed rows and h = gradient * scale, the gradient of x is
    (h - mean(h) - n * mean(h * n)) / deviation.
    """
    x, scale, mean, inverse_deviation = residuals
    dim = x.shape[-1]
    # As one matrix: sums over one axis instead of several, which the CPU does faster.
    mean, inverse_deviation = mean.reshape(-1, 1), inverse_deviation.reshape(-1, 1)
    normed = _normed(x.reshape(-1, dim), mean, inverse_deviation)
    gradient = gradient.reshape(-1, dim).astype(jnp.float32)
    inner = gradient * scale
    projection = normed * (inner * normed).mean(axis=-1, keepdims=True)
    gradient_x = inverse_deviation * (inner - inner.mean(axis=-1, keepdims=True) - projection)
    return gradient_x.astype(x.dtype).reshape(x.shape), (gradient * normed).sum(axis=0), gradient.sum(axis=0)


@partial(jax.custom_vjp, nondiff_argnums=(3,))
def layer_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, epsilon: float = EPSILON) -> jax.Array:
    """Normalises the last axis (Ba et al. 2016): float32 statistics, biased variance.

    Args:
      x: any float array [..., d].
      scale, bias: float32 [d].
      epsilon: added to the variance, in the root.

    Returns:
      Array of x's shape and dtype.
    """
    return _forward(x, scale, bias, epsilon)[0]


layer_norm.defvjp(_forward, _backward)
