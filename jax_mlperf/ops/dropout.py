"""Dropout whose random numbers cost little: a keyed counter hash that fuses into the surrounding arithmetic.

`jax.random.bits` runs 20 rounds of threefry (or philox) per pair of words. A dropout mask needs no
cryptographic strength: one multiply-xorshift permutation of the element's index is enough, is computed where
the mask is used, needs no memory and no communication when the array is sharded, and is recomputed in the
backward pass.
"""

import jax
import jax.numpy as jnp
from jax import lax

# The multipliers and shifts of Chris Wellons' "lowbias32" integer hash (bias 0.17, found by search over
# hashes of this form; https://nullprogram.com/blog/2018/07/31/). The second key word goes in between the two
# multiplications, so that masks of two keys are not shifted copies of one sequence.
_FIRST_MULTIPLIER = 0x7FEB352D
_SECOND_MULTIPLIER = 0x846CA68B


def hash_bits(key: jax.Array, shape: tuple[int, ...]) -> jax.Array:
    """Uniform random uint32 [*shape], a pure function of the key and of each element's flat index modulo
    2**32.

    The values do not depend on how the array is sharded.
    """
    start, middle = jax.random.bits(key, (2,), jnp.uint32)
    counter = jnp.full(shape, start)
    stride = 1
    for axis in reversed(range(len(shape))):
        counter += lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    bits = (counter ^ (counter >> 16)) * jnp.uint32(_FIRST_MULTIPLIER) + middle
    bits = (bits ^ (bits >> 15)) * jnp.uint32(_SECOND_MULTIPLIER)
    return bits ^ (bits >> 16)


def dropout(x: jax.Array, rate: float, key: jax.Array | None) -> jax.Array:
    """Zeroes elements of x with probability `rate` and divides the others by 1 - rate (Srivastava et al.
    2014).

    Args:
      x: any float array.
      rate: in [0, 1); rounded to a multiple of 2**-32, and the scale is that of the rounded rate, so the
        expectation is exactly x.
      key: a key of any implementation, or None for evaluation: x is returned unchanged.

    Returns:
      Array of x's shape and dtype.

    Raises:
      ValueError: rate is outside [0, 1).
    """
    if not 0.0 <= rate < 1.0:
        raise ValueError(f"dropout rate must be in [0, 1), got {rate}")
    threshold = round(rate * 2**32)
    if key is None or threshold == 0:
        return x
    keep = hash_bits(key, x.shape) >= jnp.uint32(threshold)
    return jnp.where(keep, x * jnp.asarray(1.0 / (1.0 - threshold / 2**32), x.dtype), jnp.zeros((), x.dtype))
