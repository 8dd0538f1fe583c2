"""Random bits at given places: the threefry block function of JAX's own generator, of a key and a 64-bit counter.

Each number is a function of its place alone, so the draws of a data set's examples do not depend on how they are cut into
batches and spread over devices.
"""

import jax
import jax.numpy as jnp
from jax.extend.random import threefry_2x32


def bits_at(key_data: jax.Array, low: jax.Array, high: jax.Array | int = 0) -> jax.Array:
    """Uniform random bits, uint32 [...]: a pseudo-random function of the counter (low, high).

    The first word of threefry2x32 with 20 rounds (Salmon et al. 2011, "Parallel Random Numbers: As Easy as 1, 2, 3"), which
    is what jax.random draws from under its default implementation.

    Args:
      key_data: uint32 [2], the data of a threefry2x32 key.
      low: uint32 [...].
      high: uint32, broadcast to the shape of `low`.
    """
    low = jnp.asarray(low, jnp.uint32)
    counter = jnp.concatenate([low.ravel(), jnp.broadcast_to(jnp.asarray(high, jnp.uint32), low.shape).ravel()])
    return threefry_2x32((key_data[0], key_data[1]), counter)[:low.size].reshape(low.shape)


def integers_below(bits: jax.Array, bound: jax.Array) -> jax.Array:
    """floor(bits * bound / 2^32), int32 [...]: bits made into integers in [0, bound).

    The probabilities differ by at most a factor of 1 + bound / 2^32: by 6e-6 for MovieLens-20M's 26,744 items (Lemire 2019,
    "Fast Random Integer Generation in an Interval", without the rejection that removes even that).

    Args:
      bits: uint32 [...], uniform.
      bound: int [...], in [1, 2^31).
    """
    bound = jnp.asarray(bound).astype(jnp.uint32)  # the 64-bit product, of 16-bit halves: JAX's integers have 32 bits
    bits_high, bits_low, bound_high, bound_low = bits >> 16, bits & 0xFFFF, bound >> 16, bound & 0xFFFF
    middle = bits_high * bound_low + (bits_low * bound_low >> 16)
    other = bits_low * bound_high + (middle & 0xFFFF)
    return (bits_high * bound_high + (middle >> 16) + (other >> 16)).astype(jnp.int32)
