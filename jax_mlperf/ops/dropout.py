"""Dropout from 16 random bits an element, two elements to a word of the generator."""

import jax
import jax.numpy as jnp


def _threshold(rate: float) -> int:
    """The 16-bit numbers below this drop an element."""
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout rate must be in [0, 1), got {rate}")
    return min(round(rate * 2**16), 2**16 - 1)


def survivors_scale(rate: float) -> float:
    """What `dropout` multiplies the elements with that it keeps."""
    return 1.0 / (1.0 - _threshold(rate) / 2**16)


def scaled_survivors(x: jax.Array, rate: float) -> jax.Array:
    """x times `survivors_scale` in x's dtype, multiplied in float32: bfloat16 would round 1 / 0.9 itself, 0.16 % down."""
    return (x.astype(jnp.float32) * survivors_scale(rate)).astype(x.dtype)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes elements of x with probability `rate`, divides the others by 1 - rate (Srivastava et al. 2014).

    Args:
      x: any float array.
      rate: in [0, 1); rounded to a multiple of 2**-16, and the scale is that of the rounded rate, so the
        expectation is exactly x.
      key: of any implementation ("hash32" costs least), or None for evaluation: x is returned unchanged.
        Where the last axis has an even length, the elements of its two halves share words, so that a
        generator is run half as often; the mask is the same however x is sharded.

    Returns:
      Array of x's shape and dtype.

    Raises:
      ValueError: rate is outside [0, 1).
    """
    threshold = _threshold(rate)
    if key is None or threshold == 0:
        return x
    folds = 2 if x.ndim and x.shape[-1] % 2 == 0 else 1
    leading, last = x.shape[:-1], x.shape[-1] if x.ndim else 1
    words = jax.random.bits(key, (*leading, 1, last // folds), jnp.uint32)
    # A word is compared by its upper half, and shifted left by its lower one: no integer changes its width.
    shift = jnp.arange(folds, dtype=jnp.uint32)[:, None] * 16
    keep = (words << shift) >= jnp.uint32(threshold << 16)
    scaled = scaled_survivors(x, rate).reshape(*leading, folds, last // folds)
    return jnp.where(keep, scaled, jnp.zeros((), x.dtype)).reshape(x.shape)
