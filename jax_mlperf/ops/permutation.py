"""A uniform shuffle without storage: a pseudo-random permutation of range(n) that can be evaluated anywhere."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.ops.counter_bits import bits_at, integers_below

# Three make a pseudo-random permutation, four a strong one (Luby and Rackoff 1988); five and more stay so although all of the
# small domain is read (Patarin, CRYPTO 2004, "Security of Random Feistel Schemes with 5 or More Rounds").
ROUNDS = 6  # even, so that both halves end where they began


def permute(key_data: jax.Array, index: jax.Array, n: int | jax.Array, *, most: int = 0) -> jax.Array:
    """Where a pseudo-random permutation of range(n) takes some indices, uint32 [...].

    A generalised Feistel network on Z_a x Z_b with a b >= n, whose round function is threefry; the few values that leave the
    range go through it again until they are back (Black and Rogaway, CT-RSA 2002, "Ciphers with Arbitrary Finite Domains").

    Args:
      key_data: uint32 [2], the data of a threefry2x32 key: which permutation.
      index: integers [...] in [0, n); what is beyond stands for n - 1.
      n: at most 2^31; a traced integer [] needs `most`.
      most: the greatest value that a traced n may have; values take most / n walks on average.
    """
    left_size, right_size = _sides(most or int(n))

    def one_round(number: int, state: tuple[jax.Array, ...]) -> tuple[jax.Array, ...]:
        """Adds a function of one half to the other; then they change places."""
        left, right, size, other_size = state
        moved = left + integers_below(bits_at(key_data, right, number), size).astype(jnp.uint32)
        return right, jnp.where(moved < size, moved, moved - size), other_size, size

    def walk(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        values, outside = state
        halves = values // right_size, values % right_size, jnp.uint32(left_size), jnp.uint32(right_size)
        left, right, *_ = jax.lax.fori_loop(0, ROUNDS, one_round, halves)
        values = jnp.where(outside, left * right_size + right, values)
        return values, values >= n

    n = jnp.asarray(n).astype(jnp.uint32)
    start = jnp.minimum(jnp.asarray(index).astype(jnp.uint32), n - 1)
    # Loops throughout, of the first walk and the rare others too: XLA's CPU compiler takes long over every copy of threefry.
    return jax.lax.while_loop(lambda state: jnp.any(state[1]), walk, (start, jnp.full(start.shape, True)))[0]


@functools.cache
def _sides(n: int) -> tuple[int, int]:
    """(a, b), both about sqrt(n), with the least a b >= n: a second walk is then rare, or never needed."""
    root = math.isqrt(n - 1) + 1
    left = np.arange(root, root + root // 8 + 1, dtype=np.int64)
    right = -(-n // left)
    best = int(np.argmin(left * right))
    return int(left[best]), int(right[best])
