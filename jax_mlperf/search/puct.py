"""minigo's PUCT search as in MLPerf v0.5 and as in v0.6, for one leaf at a time; every search starts from an empty tree.

Sources: mlcommons/training, reinforcement/tensorflow/minigo, `mcts.py` at ea50328d (v0.5); tensorflow/minigo, `cc/mcts_node.cc`
of 2019 (v0.6) and `cc/mcts_tree.cc` (v0.7 and later: the same without the forced double pass).
"""

import functools
from typing import Literal, NamedTuple

import jax
import jax.numpy as jnp

from jax_mlperf.search.search import Selection, search
from jax_mlperf.search.tree import Node, root_of
from jax_mlperf.search.types import DirichletNoise, EvaluateFn, Found, Game, State

Version = Literal["v0.5", "v0.6"]

ILLEGAL = -1.0  # stored as the prior of an illegal action
ILLEGAL_SCORE = -1000.0  # what the references add to its score
# v0.6: AlphaZero's exploration rate (Silver et al., Science 2018, supplement), twice, and values of unvisited children.
BASE, INIT, SCALE, VALUE_PENALTY = 19652.0, 1.25, 2.0, 0.2
C_PUCT = 1.38  # v0.5


class _Noise(NamedTuple):
    """Noise of the roots: float32 [B, A] log-gammas and the weight."""

    log_gamma: jax.Array
    weight: float


def puct_search(game: Game, state: State, evaluate: EvaluateFn, key: jax.Array, *, readouts: int, version: Version,
                noise: DirichletNoise | None = None) -> Found:  # fmt: skip
    """Searches the positions `state` [B, ...] of B games with as many simulations each, after the root's evaluation.

    After a pass the double pass is tried once before anything else. v0.5: priors are a softmax over all actions; Q starts
    at the parent's network value. v0.6: over the legal ones; Q starts 0.2 below. The most visited action is returned, the
    first of several (v0.5) or the one with the best score (v0.6).

    Args:
      game: the rules.
      state: the root positions; of games that have ended nothing but finite numbers is promised.
      evaluate: the network.
      key: of the noise and of `evaluate`; a different one on each device under shard_map.
      readouts: simulations, at least 1.
      version: "v0.5" or "v0.6".
      noise: at the root; None for none.
    """
    noise_key, search_key = jax.random.split(key)
    batch = jax.tree.leaves(state)[0].shape[0]
    drawn = None
    if noise is not None:
        # The logarithm, as a gamma variate of alpha 0.1 is often less than the least float32.
        drawn = _Noise(jax.random.loggamma(noise_key, noise.alpha, (batch, game.actions), jnp.float32), noise.weight)
    select = functools.partial(_select, version=version, pass_action=game.pass_action)
    tree = search(game, state, evaluate, Selection(functools.partial(_priors, version=version, noise=drawn), select),
                  search_key, readouts)  # fmt: skip
    root = root_of(tree)
    total = jnp.maximum(jnp.sum(root.visits, -1, keepdims=True), 1)
    return Found(root.visits, root.visits / total.astype(jnp.float32), tree.values[:, 0], most_visited(root, version))


def exploration(count: jax.Array, version: Version) -> jax.Array:
    """The factor of P / (1 + n) in a node's scores, float32 [...], where `count` [...] is the node's own visits."""
    visits = count.astype(jnp.float32)
    if version == "v0.5":  # sqrt(1 + N) where N was counted up already by the visit under way
        return C_PUCT * jnp.sqrt(visits + 2)
    return exploration_rate(visits) * jnp.sqrt(jnp.maximum(1, visits - 1))


def exploration_rate(visits: jax.Array) -> jax.Array:
    """v0.6's slowly growing coefficient, float32 [...], for a node's visits."""
    return SCALE * (jnp.log((1 + visits + BASE) / BASE) + INIT)


def _scores(node: Node, factor: jax.Array, version: Version) -> jax.Array:
    """Q + factor P / (1 + n) of every action, float32 [..., A]; ILLEGAL_SCORE for illegal ones."""
    start = node.raw_value if version == "v0.5" else jnp.clip(node.raw_value - VALUE_PENALTY, -1, 1)
    visits = node.visits.astype(jnp.float32)
    scores = (start[..., None] + visits * node.values + factor[..., None] * node.priors) / (1 + visits)
    return jnp.where(node.priors < 0, ILLEGAL_SCORE, scores)


def _select(node: Node, version: Version, pass_action: int) -> jax.Array:
    """The best scored action, int32 [...], or the pass that has to be tried first."""
    best = jnp.argmax(_scores(node, exploration(node.own_visits, version), version), -1).astype(jnp.int32)
    return jnp.where(node.passed & (node.visits[..., pass_action] == 0), pass_action, best)


def most_visited(root: Node, version: Version) -> jax.Array:
    """The action to play, int32 [B]: of several with the most visits the first (v0.5), or the one with the best score (v0.6)."""
    if version == "v0.5":
        return jnp.argmax(root.visits, -1).astype(jnp.int32)
    visits = root.own_visits.astype(jnp.float32)
    scores = _scores(root, exploration_rate(visits) * jnp.sqrt(1 + visits), version)  # not quite the factor of the search
    most = root.visits == jnp.max(root.visits, -1, keepdims=True)
    return jnp.argmax(jnp.where(most, scores, -jnp.inf), -1).astype(jnp.int32)


def _priors(logits: jax.Array, legal: jax.Array, first: jax.Array, version: Version, noise: _Noise | None) -> jax.Array:
    """Probabilities, float32 [B, A], with noise if these are the roots; ILLEGAL for illegal actions."""
    allowed = legal if version == "v0.6" else jnp.full(legal.shape, True)
    lowest = jnp.finfo(jnp.float32).min  # finite: a row without a legal action must not become NaN
    priors = jax.nn.softmax(jnp.where(allowed, logits.astype(jnp.float32), lowest))
    if noise is not None:
        weight = jnp.where(first, noise.weight, 0)
        priors = (1 - weight) * priors + weight * jax.nn.softmax(jnp.where(allowed, noise.log_gamma, lowest))
    return jnp.where(legal, priors, ILLEGAL)
