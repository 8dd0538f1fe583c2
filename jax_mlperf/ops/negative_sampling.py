"""Items that a user has not rated, uniformly and without retries: a bisection of the gaps between the rated ones.

With a user's positives p_0 < p_1 < ... and below_k = p_k - k, the number of non-positives below p_k, the r-th non-positive is
r + #{k: below_k <= r} (TensorFlow models, official/recommendation/data_pipeline.py). Static shapes: the form for a compiled step.
"""

import jax
import jax.numpy as jnp

from jax_mlperf.ops.counter_bits import bits_at, integers_below


def gaps_below(items: jax.Array, starts: jax.Array) -> jax.Array:
    """Of each positive, how many of its user's non-positives lie below it: int32 [P].

    Args:
      items: int32 [P], user after user, ascending and distinct inside each.
      starts: int32 [P], where the segment of each positive's user begins.
    """
    return items - (jnp.arange(len(items), dtype=jnp.int32) - starts)


def nth_nonpositive(number: jax.Array, below: jax.Array, start: jax.Array, count: jax.Array, most: int) -> jax.Array:
    """The items that `number` of their users' non-positives are smaller than, int32 [...].

    Args:
      number: int32 [...], in [0, items - count).
      below: int32 [P] of `gaps_below`.
      start, count: int32 [...], the segments of `below` of the users asked for.
      most: a static bound of `count`: about its logarithm is the number of halvings.
    """
    rank, last = jnp.zeros_like(number), below.shape[0] - 1
    for bit in reversed(range(max(most, 1).bit_length())):
        wider = rank + (1 << bit)
        fits = (wider <= count) & (below[jnp.minimum(start + wider - 1, last)] <= number)
        rank = jnp.where(fits, wider, rank)
    return number + rank


def draw_negatives(key_data: jax.Array, counter: tuple[jax.Array, jax.Array | int], below: jax.Array, start: jax.Array,
                   count: jax.Array, items: int) -> jax.Array:
    """One of `items` that is no positive of its user for each counter, uniform and independent: int32 [...].

    Args:
      key_data: uint32 [2], the data of a threefry2x32 key.
      counter: integers [...] (low word, high word): the place of each draw in the stream of the key.
      below, start, count: see `nth_nonpositive`; a user must leave at least one item.
      items: their number.
    """
    number = integers_below(bits_at(key_data, *counter), items - count)
    return nth_nonpositive(number, below, start, count, items)
