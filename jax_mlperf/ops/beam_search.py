"""Beam search in fixed shapes on the device, for any model that gives next-token logits.

Shapes: B sentences, K beams, L slots of output, V vocabulary. "The reference" is MLPerf's,
`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

EOS = 1
START = 0

_BARRED = -1e7  # the reference's stand-in for minus infinity among the hypotheses

PyTree = Any


class Cache(NamedTuple):
    """What a model remembers between steps.

    Attributes:
      beams: arrays [B, K, ...] that belong to the hypothesis: when hypotheses change places, these follow.
      shared: arrays that stay in place, whatever they hold. Keys and values of past steps belong here,
        together with a small array in `beams` that says which of them are the hypothesis's own (`ancestry`
        below): the large arrays are then never copied.
    """

    beams: PyTree
    shared: PyTree


DecodeFn = Callable[[jax.Array, Cache, jax.Array], tuple[jax.Array, Cache]]


class BeamResult(NamedTuple):
    """Best first: ids int32 [B, K, L] (EOS included, then 0), scores float32 [B, K], -1e7 for none."""

    ids: jax.Array
    scores: jax.Array


class _State(NamedTuple):
    step: jax.Array  # tokens generated so far
    alive_ids: jax.Array  # [B, K, L]
    alive_log_probs: jax.Array  # [B, K], best first
    finished_ids: jax.Array  # [B, K, L]
    finished_scores: jax.Array  # [B, K], best first
    done: jax.Array  # bool [B]
    cache: Cache


def length_norm(length: jax.typing.ArrayLike, alpha: float) -> jax.Array:
    """((5 + length) / 6) ** alpha, length counting EOS (Wu et al. 2016, equation 14)."""
    return ((5.0 + jnp.asarray(length, jnp.float32)) / 6.0) ** alpha


def new_ancestry(batch: int, beams: int, length: int) -> jax.Array:
    """int32 [B, K, L] for `Cache.beams`: the beam whose key and value the hypothesis owns at each step."""
    return jnp.zeros((batch, beams, length), jnp.int32)


def record_ancestry(ancestry: jax.Array, index: jax.Array) -> jax.Array:
    """Step `index` of every hypothesis is being computed in its own beam."""
    own = jnp.broadcast_to(jnp.arange(ancestry.shape[1])[:, None], (*ancestry.shape[:2], 1))
    return jax.lax.dynamic_update_slice_in_dim(ancestry, own, index, axis=2)


def ancestry_mask(ancestry: jax.Array, index: jax.Array) -> jax.Array:
    """bool [B, K, L, K]: may hypothesis k see what beam j stored at step l: its own history up to `index`."""
    _, beams, length = ancestry.shape
    own = ancestry[..., None] == jnp.arange(beams)
    return own & (jnp.arange(length) <= index)[:, None]


def _take_beams(tree: PyTree, beams: jax.Array) -> PyTree:
    """Of every array [B, K, ...] the rows that `beams` [B, N] names: [B, N, ...]."""
    rows = jnp.arange(beams.shape[0])[:, None]
    return jax.tree.map(lambda array: array[rows, beams], tree)


def _best_continuations(logits: jax.Array, log_probs: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The 2K most probable of all K * V continuations: log-probabilities, beams and tokens, each [B, 2K].

    The best 2K of every beam first (they include the best of all), then the best among those, with ties as in
    one sort. Log-softmax keeps the order of the logits, so only the selected ones are normalised.
    """
    batch, beams, vocab = logits.shape
    count = min(2 * beams, vocab)
    best, tokens = jax.lax.top_k(logits.reshape(batch * beams, vocab), count)
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    totals = best.reshape(batch, beams, count) - normaliser[..., None] + log_probs[..., None]
    total, place = jax.lax.top_k(totals.reshape(batch, beams * count), 2 * beams)
    return total, place // count, jnp.take_along_axis(tokens.reshape(batch, beams * count), place, axis=1)


def _is_done(state: _State, alpha: float) -> jax.Array:
    """bool [B]: none alive can beat the worst finished one, even at full length (probabilities fall)."""
    exists = state.finished_scores > _BARRED
    worst = jnp.where(exists, state.finished_scores, 0.0).min(axis=1)
    bound = state.alive_log_probs[:, 0] / length_norm(state.alive_ids.shape[-1], alpha)
    return exists.any(axis=1) & (worst > bound)


def _step(state: _State, decode_fn: DecodeFn, alpha: float, early_stop: bool) -> _State:
    """One more token for every hypothesis; sentences that are done keep what they have."""
    beams = state.alive_log_probs.shape[1]
    last = jax.lax.dynamic_index_in_dim(
        state.alive_ids, jnp.maximum(state.step - 1, 0), axis=2, keepdims=False
    )
    logits, cache = decode_fn(jnp.where(state.step == 0, START, last), state.cache, state.step)
    log_probs, parents, tokens = _best_continuations(logits.astype(jnp.float32), state.alive_log_probs)
    ids = _take_beams(state.alive_ids, parents)
    ids = jax.lax.dynamic_update_slice_in_dim(ids, tokens[..., None], state.step, axis=2)
    ends = tokens == EOS

    alive_log_probs, alive = jax.lax.top_k(jnp.where(ends, _BARRED, log_probs), beams)
    alive_parents = jnp.take_along_axis(parents, alive, axis=1)

    # A hypothesis whose probability is 0 (the copies of the start) has not finished, though it may end in
    # EOS.
    complete = ends & (log_probs > _BARRED) & ~state.done[:, None]
    new_scores = jnp.where(complete, log_probs / length_norm(state.step + 1, alpha), _BARRED)
    finished_scores, finished = jax.lax.top_k(
        jnp.concatenate([state.finished_scores, new_scores], axis=1), beams
    )
    state = _State(
        step=state.step + 1,
        alive_ids=_take_beams(ids, alive),
        alive_log_probs=alive_log_probs,
        finished_ids=_take_beams(jnp.concatenate([state.finished_ids, ids], axis=1), finished),
        finished_scores=finished_scores,
        done=state.done,
        cache=Cache(_take_beams(cache.beams, alive_parents), cache.shared),
    )
    return state._replace(done=state.done | _is_done(state, alpha)) if early_stop else state


def beam_search(
    decode_fn: DecodeFn,
    cache: Cache,
    *,
    batch: int,
    beams: int,
    max_length: int,
    alpha: float,
    early_stop: bool = True,
) -> BeamResult:
    """Beam search of the reference's model/beam_search.py.

    Every step takes the 2K best continuations; those that end in EOS compete for the K finished places by
    log-probability / length_norm, the others go on. A sentence is done when its worst finished hypothesis
    (one is enough) cannot be beaten by any still alive; its results are frozen then, so they do not depend on
    the other sentences of the batch. The search stops when all sentences are done or `max_length` is reached.
    A sentence of which nothing finished returns its hypotheses alive, scored as if finished at max_length.

    Args:
      decode_fn: (ids int32 [B, K] (0 at the first step), cache, index of the step) -> (logits [B, K, V],
        cache).
      cache: the cache before the first step.
      batch, beams, max_length: B, K and L; L counts EOS.
      alpha: exponent of the length norm; 0.6 in the benchmark.
      early_stop: False always runs `max_length` steps; the best hypothesis is the same.
    """
    ids = jnp.zeros((batch, beams, max_length), jnp.int32)
    barred = jnp.full((batch, beams), _BARRED, jnp.float32)
    # One start only: K equal ones would give K equal hypotheses.
    start = jnp.full((batch, beams), -jnp.inf, jnp.float32).at[:, 0].set(0.0)
    initial = _State(jnp.int32(0), ids, start, ids, barred, jnp.zeros((batch,), bool), cache)

    state = jax.lax.while_loop(
        lambda state: (state.step < max_length) & ~jnp.all(state.done),
        lambda state: _step(state, decode_fn, alpha, early_stop),
        initial,
    )
    unfinished = ~(state.finished_scores > _BARRED).any(axis=1)
    alive_scores = state.alive_log_probs / length_norm(max_length, alpha)
    return BeamResult(
        jnp.where(unfinished[:, None, None], state.alive_ids, state.finished_ids),
        jnp.where(unfinished[:, None], alive_scores, state.finished_scores),
    )
