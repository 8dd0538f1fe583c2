"""Reductions over sequences of many lengths that lie one after another in a flat array, without padding them to the longest.

A sequence is cut into slots of `width` positions; a loop takes as many slots at once as `slots_at_once` says, and ends after the
last one: the work follows the sum of the lengths. The gradients are written out, because a loop of unknown length has none.
"""

from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jax_mlperf.types import PyTree

_NOWHERE = jnp.iinfo(jnp.int32).max


class Ragged(NamedTuple):
    """Sequences in a flat array; sequence i is tokens[starts[i] : starts[i] + lengths[i]].

    Attributes:
      tokens: unsigned or signed integers [T].
      starts, lengths: int32 [B]; a length of 0 is an empty sequence (a row of padding).
    """

    tokens: jax.Array
    starts: jax.Array
    lengths: jax.Array

    def at(self, sequence: jax.Array, position: jax.Array, missing: int) -> jax.Array:
        """int32 tokens at positions of sequences (both int32, of shapes that broadcast); `missing` outside a sequence."""
        inside = (position >= 0) & (position < self.lengths[sequence])
        token = self.tokens[jnp.where(inside, self.starts[sequence] + position, 0)].astype(jnp.int32)
        return jnp.where(inside, token, missing)


class _Slots(NamedTuple):
    """Slots g of one turn: their sequences int32 [G], and the positions that they cover, int32 [G, width].

    Where none is left, the sequence is B and the positions lie behind the last one's end, which look-ups clamp B to.
    """

    sequence: jax.Array
    positions: jax.Array


def _over_slots(ragged: Ragged, width: int, slots_at_once: int, body: Any, start: PyTree) -> PyTree:
    """body(slots, carry) -> carry for all slots, so many at once."""
    counts = -(-ragged.lengths // width)
    ends = jnp.cumsum(counts)

    def turn(carry: tuple[jax.Array, PyTree]) -> tuple[jax.Array, PyTree]:
        number = carry[0] * slots_at_once + jnp.arange(slots_at_once)
        sequence = jnp.searchsorted(ends, number, side="right").astype(jnp.int32)
        first = (number - (ends - counts)[jnp.minimum(sequence, len(counts) - 1)]) * width
        return carry[0] + 1, body(_Slots(sequence, first[:, None] + jnp.arange(width)), carry[1])

    return lax.while_loop(lambda carry: carry[0] * slots_at_once < ends[-1], turn, (jnp.zeros((), jnp.int32), start))[1]


def distinct_tokens(ragged: Ragged, vocab_size: int, *, width: int = 64, slots_at_once: int = 256) -> jax.Array:
    """Which tokens occur in the sequences: bool [vocab_size]."""
    def mark(slots: _Slots, present: jax.Array) -> jax.Array:
        tokens = ragged.at(slots.sequence[:, None], slots.positions, missing=vocab_size)
        return present.at[tokens].set(True, mode="drop")

    return _over_slots(ragged, width, slots_at_once, mark, jnp.zeros(vocab_size, bool))


def ragged_sum(values: jax.Array, ragged: Ragged, *, width: int = 64, slots_at_once: int = 1024) -> jax.Array:
    """Sums of the values of each sequence's tokens.

    Args:
      values: float32 [V], one for each token.
      ragged: the sequences.
      width, slots_at_once: see the module.

    Returns:
      float32 [B]; differentiable in `values`.
    """
    return _sum(values, ragged, width, slots_at_once)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _sum(values: jax.Array, ragged: Ragged, width: int, slots_at_once: int) -> jax.Array:
    def add(slots: _Slots, sums: jax.Array) -> jax.Array:
        tokens = ragged.at(slots.sequence[:, None], slots.positions, missing=len(values))
        return sums.at[slots.sequence].add(values.at[tokens].get(mode="fill", fill_value=0).sum(axis=1), mode="drop")

    return _over_slots(ragged, width, slots_at_once, add, jnp.zeros(ragged.lengths.shape, values.dtype))


def _sum_forward(values: jax.Array, ragged: Ragged, width: int, slots_at_once: int) -> tuple[jax.Array, tuple]:
    return _sum(values, ragged, width, slots_at_once), (ragged, jnp.zeros((len(values), 0)))


def _sum_backward(width: int, slots_at_once: int, residuals: tuple, gradient: jax.Array) -> tuple[jax.Array, None]:
    ragged, like = residuals

    def add(slots: _Slots, total: jax.Array) -> jax.Array:
        tokens = ragged.at(slots.sequence[:, None], slots.positions, missing=len(like))
        share = jnp.broadcast_to(gradient[jnp.minimum(slots.sequence, len(gradient) - 1)][:, None], tokens.shape)
        return total.at[tokens].add(share, mode="drop")

    return _over_slots(ragged, width, slots_at_once, add, jnp.zeros(len(like), gradient.dtype)), None


_sum.defvjp(_sum_forward, _sum_backward)


def windowed_max(tables: jax.Array, rows: jax.Array, ragged: Ragged, first_offset: int, *, width: int = 64,
                 slots_at_once: int = 0) -> jax.Array:
    """The largest value over time of a convolution over tokens, given as one table of products for each place in its window.

      max over t in [0, length) of sum_k tables[rows[token(t + first_offset + k)], k]

    Places outside a sequence add nothing. The gradient of an element goes to the first position that has the largest value.

    Args:
      tables: float [R + 1, K, F]: what a token (by its row) adds to each of the F filters at place k; row R is zero, it stands
        for places outside. Added up and compared in float32.
      rows: int32 [V], the row of each token that occurs.
      ragged: the sequences.
      first_offset: position of the window's first place relative to t.
      width, slots_at_once: see the module; 0: as many as keep a CPU's caches, or an accelerator, busy.

    Returns:
      float32 [B, F], 0 for empty sequences; differentiable in `tables`.
    """
    if slots_at_once:
        return _max(tables, rows, ragged, first_offset, width, slots_at_once)
    return lax.platform_dependent(tables, rows, ragged, cpu=lambda *operands: _max(*operands, first_offset, width, 16),
                                  default=lambda *operands: _max(*operands, first_offset, width, 256))


@partial(jax.custom_vjp, nondiff_argnums=(3, 4, 5))
def _max(tables: jax.Array, rows: jax.Array, ragged: Ragged, first_offset: int, width: int, slots_at_once: int) -> jax.Array:
    def step(slots: _Slots, best: jax.Array) -> jax.Array:
        sums = _window_sums(tables, rows, ragged, slots, first_offset)
        return best.at[slots.sequence].max(sums.max(axis=1), mode="drop")

    best = jnp.full((len(ragged.lengths), tables.shape[2]), -jnp.inf, jnp.float32)
    best = _over_slots(ragged, width, slots_at_once, step, best)
    return jnp.where(ragged.lengths[:, None] > 0, best, 0.0)


def _window_sums(tables: jax.Array, rows: jax.Array, ragged: Ragged, slots: _Slots, first_offset: int) -> jax.Array:
    """float32 [G, width, F]; -inf at positions outside a sequence."""
    places = tables.shape[1]
    flat = tables.reshape(-1, tables.shape[2])
    total: jax.Array | float = 0.0
    for place in range(places):
        row = _row(tables, rows, ragged, slots.sequence[:, None], slots.positions + first_offset + place)
        total += flat[row * places + place].astype(jnp.float32)
    inside = slots.positions < ragged.lengths[jnp.minimum(slots.sequence, len(ragged.lengths) - 1)][:, None]
    return jnp.where(inside[..., None], total, -jnp.inf)


def _row(tables: jax.Array, rows: jax.Array, ragged: Ragged, sequence: jax.Array, position: jax.Array) -> jax.Array:
    """The tables' rows for positions of sequences, the zero row outside."""
    token = ragged.at(sequence, position, missing=len(rows))
    return rows.at[token].get(mode="fill", fill_value=tables.shape[0] - 1)


def _max_forward(tables: jax.Array, rows: jax.Array, ragged: Ragged, first_offset: int, width: int,
                 slots_at_once: int) -> tuple[jax.Array, tuple]:
    def step(slots: _Slots, carry: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        best, where = carry
        sums = _window_sums(tables, rows, ragged, slots, first_offset)
        own = sums.max(axis=1)
        position = jnp.where(sums == own[:, None], slots.positions[..., None], _NOWHERE).min(axis=1)
        now = best.at[slots.sequence].max(own, mode="drop")
        reached = own == now.at[slots.sequence].get(mode="fill", fill_value=jnp.inf)
        where = jnp.where(best == now, where, _NOWHERE)
        return now, where.at[slots.sequence].min(jnp.where(reached, position, _NOWHERE), mode="drop")

    shape = (len(ragged.lengths), tables.shape[2])
    start = (jnp.full(shape, -jnp.inf, jnp.float32), jnp.full(shape, _NOWHERE, jnp.int32))
    best, where = _over_slots(ragged, width, slots_at_once, step, start)
    value = jnp.where(ragged.lengths[:, None] > 0, best, 0.0)
    return value, (rows, ragged, where, jnp.zeros((*tables.shape, 0), tables.dtype))  # the tables' shape and type, in no bytes


def _max_backward(first_offset: int, width: int, slots_at_once: int, residuals: tuple,
                  gradient: jax.Array) -> tuple[jax.Array, None, None]:
    rows, ragged, where, like = residuals
    total = jnp.zeros(like.shape[:-1], jnp.float32)
    sequence = jnp.arange(len(ragged.lengths))[:, None]
    where = jnp.where(where == _NOWHERE, ragged.lengths[:, None], where)  # of empty sequences: outside
    filters = jnp.arange(total.shape[2])
    for place in range(total.shape[1]):
        row = _row(total, rows, ragged, sequence, where + first_offset + place)
        total = total.at[row, place, filters].add(gradient)
    return total.astype(like.dtype), None, None


_max.defvjp(_max_forward, _max_backward)
