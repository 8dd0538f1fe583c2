"""Dropout from 16 random bits an element."""

import jax
import jax.numpy as jnp


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes elements of x with probability `rate` and divides the others by 1 - rate (Srivastava et al. 2014).

    Args:
      x: any float array.
      rate: in [0, 1); rounded to a multiple of 2**-16 (half the random bits of a comparison of floats), and the scale is that of the
        rounded rate, so the expectation is exactly x.
      key: a key of any implementation ("hash32" costs least), or None for evaluation: x is returned unchanged.

    Returns:
      Array of x's shape and dtype.

    Raises:
      ValueError: rate is outside [0, 1).
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout rate must be in [0, 1), got {rate}")
    threshold = min(round(rate * 2**16), 2**16 - 1)
    if key is None or threshold == 0:
        return x
    scale = jnp.asarray(1.0 / (1.0 - threshold / 2**16), x.dtype)
    if x.ndim == 0 or x.shape[-1] % 2:
        keep = jax.random.bits(key, x.shape, jnp.uint32) >= jnp.uint32(threshold << 16)
        return jnp.where(keep, x * scale, jnp.zeros((), x.dtype))
    folded = x.reshape(*x.shape[:-1], 2, x.shape[-1] // 2)
    words = jax.random.bits(key, (*x.shape[:-1], x.shape[-1] // 2), jnp.uint32)
    # Shifted left by 16, a word compares by its lower half, not shifted by its upper half.
    shift = jnp.array([0, 16], jnp.uint32)[:, None]
    keep = (words[..., None, :] << shift) >= jnp.uint32(threshold << 16)
    return jnp.where(keep, folded * scale, jnp.zeros((), x.dtype)).reshape(x.shape)
