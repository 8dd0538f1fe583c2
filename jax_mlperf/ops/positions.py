"""Sinusoidal positional encoding."""

import math

import jax
import jax.numpy as jnp


def sinusoidal_encoding(positions: jax.Array, dim: int) -> jax.Array:
    """Sines of d/2 wavelengths, then their cosines, as in model/*.py of the reference.

    The reference is `mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`; the paper
    (Vaswani et al. 2017, section 3.5) interleaves sines and cosines.

    Args:
      positions: int [...], counted from 0.
      dim: even and at least 4; the wavelengths run from 2 pi to 10,000 * 2 pi in dim/2 - 1 equal ratios.

    Returns:
      float32 [..., dim].

    Raises:
      ValueError: dim is odd or below 4.
    """
    if dim % 2 or dim < 4:
        raise ValueError(f"the positional encoding needs an even dimension of at least 4, got {dim}")
    half = dim // 2
    inverse_timescales = jnp.exp(jnp.arange(half, dtype=jnp.float32) * (-math.log(10_000.0) / (half - 1)))
    angles = positions[..., None].astype(jnp.float32) * inverse_timescales
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
