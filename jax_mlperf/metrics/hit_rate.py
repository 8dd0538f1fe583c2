"""Hit rate and gain of one held-out item per user among drawn candidates, as MLPerf counts duplicates and ties."""

import math

import jax
import jax.numpy as jnp


def only_rivals_once(candidates: jax.Array, positive: jax.Array) -> jax.Array:
    """Candidates, repetitions of which have become the positive, which is no rival of itself: int32 [U, C].

    The reference keeps scores in a dict keyed by item (`mlcommons/training:recommendation/pytorch/ncf.py`), so a repeated
    negative takes one place, and a negative that is the test item none.

    Args:
      candidates: int32 [U, C], each user's in any order.
      positive: int32 [U], the held-out item.
    """
    ordered = jnp.sort(candidates, axis=1)
    repeated = jnp.pad(ordered[:, 1:] == ordered[:, :-1], ((0, 0), (1, 0)))
    return jnp.where(repeated, positive[:, None], ordered)


def rank(scores: jax.Array, candidates: jax.Array, positive_score: jax.Array, positive: jax.Array) -> jax.Array:
    """How many rivals stand before the positive, which comes last in a tie (MLPerf rules v0.5, FAQ): int32 [U].

    Args:
      scores: float32 [U, C], of the candidates.
      candidates: int32 [U, C] of `only_rivals_once`.
      positive_score: float32 [U].
      positive: int32 [U].
    """
    # "not below": a NaN is before the positive, and beside a NaN everything is.
    before = (candidates != positive[:, None]) & ~(scores < positive_score[:, None])
    return jnp.sum(before, axis=1, dtype=jnp.int32)


def gain(ranks: jax.Array, top: int) -> jax.Array:
    """NDCG of one relevant item: ln 2 / ln(rank + 2) within the `top` places, else 0; float32 [U]."""
    return jnp.where(ranks < top, math.log(2.0) / jnp.log(ranks.astype(jnp.float32) + 2.0), 0.0)
