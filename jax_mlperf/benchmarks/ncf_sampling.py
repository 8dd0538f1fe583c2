"""NCF's examples and evaluation candidates, made on the devices from the ratings that lie there."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_mlperf.metrics.hit_rate import only_rivals_once
from jax_mlperf.ops.counter_bits import bits_at
from jax_mlperf.ops.negative_sampling import draw_negatives, gaps_below
from jax_mlperf.ops.permutation import permute
from jax_mlperf.types import PyTree

# Evaluation negatives drawn at a time: enough for any device, and a few megabytes of memory.
_DRAWS_AT_ONCE = 2**20


class Pairs(NamedTuple):
    """User-item pairs: users, items int32 [B], labels bool [B], weights bool [B] (False: padding)."""

    users: jax.Array
    items: jax.Array
    labels: jax.Array
    weights: jax.Array


def resident_data(host: PyTree, *, items: int, negatives: int, seed: int) -> PyTree:
    """What the steps get as data: the ratings in the form that sampling needs, and each user's evaluation candidates.

    Args:
      host: "offsets" int32 [U + 1], "items" int32 [P] (ascending inside a user), "test_items" int32 [U].
      items: how many there are.
      negatives: drawn for each user's evaluation, with replacement, from the items that it has not rated in training.
      seed: of these draws.

    Returns:
      offsets, test_items as they are; users int32 [P], of each rating; below int32 [P], see `gaps_below`; candidates int32
      [>= U, negatives], see `only_rivals_once`.
    """
    offsets, test_items = host["offsets"], host["test_items"]
    users = jnp.repeat(jnp.arange(len(test_items), dtype=jnp.int32), jnp.diff(offsets), total_repeat_length=len(host["items"]))
    data = {"offsets": offsets, "test_items": test_items, "users": users, "below": gaps_below(host["items"], offsets[users])}
    return {**data, "candidates": _candidates(data, items, negatives, _key(seed))}


def _candidates(data: PyTree, items: int, negatives: int, key_data: jax.Array) -> jax.Array:
    users = len(data["test_items"])
    together = min(users, max(1, _DRAWS_AT_ONCE // negatives))
    blocks = -(-users // together)

    def block(first: jax.Array) -> jax.Array:
        rows = jnp.minimum(first + jnp.arange(together, dtype=jnp.int32), users - 1)
        user, draw = (jnp.broadcast_to(axis, (together, negatives)) for axis in (rows[:, None], jnp.arange(negatives)))
        start, count = _segment(data, rows[:, None])
        drawn = draw_negatives(key_data, (user, draw), data["below"], start, count, items)
        return only_rivals_once(drawn, data["test_items"][rows])

    firsts = jnp.arange(blocks, dtype=jnp.int32) * together
    return jax.lax.map(block, firsts).reshape(blocks * together, negatives)


def training_pairs(data: PyTree, batch: PyTree, *, rows: int, items: int, negatives: int) -> Pairs:
    """The pairs of a batch: an epoch is every rating once and `negatives` unrated items for it, all shuffled together.

    The order and the negatives are new in each epoch. Each pair is a function of (seed, epoch, its place in the epoch), so any
    number of devices makes the same batches.

    Args:
      data: of `resident_data`.
      batch: "first" int32 [D]: places in the epoch where D runs of `rows` pairs begin; "epoch", "seed" int32 [].
      rows: see above.
      items, negatives: how many items there are, and negatives to a rating.
    """
    words = bits_at(_key(batch["seed"]), jnp.arange(4), batch["epoch"])
    order_key, draw_key = words[:2], words[2:]
    place = (batch["first"][:, None] + jnp.arange(rows, dtype=jnp.int32)).ravel()
    total = len(data["users"]) * (1 + negatives)
    example = permute(order_key, place, total).astype(jnp.int32)
    rating, slot = example // (1 + negatives), example % (1 + negatives)
    user = data["users"][rating]
    start, count = _segment(data, user)
    rated = data["below"][rating] + rating - start
    drawn = draw_negatives(draw_key, (example, 0), data["below"], start, count, items)
    return Pairs(user, jnp.where(slot == 0, rated, drawn), slot == 0, place < total)


def _segment(data: PyTree, users: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Where the ratings of users begin, and how many they are."""
    start = data["offsets"][users]
    return start, data["offsets"][users + 1] - start


def _key(seed: jax.Array | int) -> jax.Array:
    """Key data uint32 [2] of threefry, whatever generator initialises the model: it can be evaluated at any place."""
    return jax.random.key_data(jax.random.key(seed, impl="threefry2x32"))
