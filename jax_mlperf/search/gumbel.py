"""Gumbel AlphaZero's search (Danihelka et al., ICLR 2022) with mctx's public selection functions on our loop."""

import functools

import jax
import jax.numpy as jnp
import mctx

from jax_mlperf.search.search import Selection, search
from jax_mlperf.search.tree import Node, root_of
from jax_mlperf.search.types import EvaluateFn, Found, Game, State

# Value scale 0.1 and initial visits 50, both mctx's defaults.
_complete = functools.partial(mctx.qtransform_completed_by_mix_value, value_scale=0.1, maxvisit_init=50.0)


def gumbel_search(game: Game, state: State, evaluate: EvaluateFn, key: jax.Array, *, readouts: int, considered_actions: int = 16,
                  gumbel_scale: float = 1.0) -> Found:  # fmt: skip
    """Searches the positions `state` [B, ...] of B games; equal to `mctx.gumbel_muzero_policy` where no game ends on the way.

    Args:
      game: the rules.
      state: the root positions; of games that have ended nothing but finite numbers is promised.
      evaluate: the network.
      key: of the Gumbel noise and of `evaluate`; a different one on each device under shard_map.
      readouts: simulations, at least 1.
      considered_actions: at most as many actions are tried at the root.
      gumbel_scale: 1 for self-play, 0 for play without chance.

    Returns:
      `Found` whose policy is the improved one, of logits and completed Q-values, and whose action is the winner of the
      sequential halving.
    """
    legal = jax.vmap(game.legal)(state)
    search_key, gumbel_key = jax.random.split(key)
    gumbel = gumbel_scale * jax.random.gumbel(gumbel_key, legal.shape, jnp.float32)
    selection = Selection(_priors, _select, functools.partial(_select_root, gumbel=gumbel, legal=legal, readouts=readouts,
                                                              considered=considered_actions))  # fmt: skip
    tree = search(game, state, evaluate, selection, search_key, readouts)
    root = root_of(tree)
    improved = root.priors + jax.vmap(lambda node: _complete(_as_mctx(node), jnp.int32(0)))(root)
    last = legal & (root.visits == jnp.max(root.visits, -1, keepdims=True))
    action = jnp.argmax(jnp.where(last, gumbel + improved, -jnp.inf), -1).astype(jnp.int32)
    policy = jax.nn.softmax(jnp.where(legal, improved, jnp.finfo(jnp.float32).min))
    return Found(root.visits, policy, tree.values[:, 0], action)


def _priors(logits: jax.Array, legal: jax.Array, first: jax.Array) -> jax.Array:
    """Logits, float32 [B, A], with the least finite number for illegal actions."""
    logits = logits.astype(jnp.float32)
    return jnp.where(legal, logits - jnp.max(logits, -1, keepdims=True), jnp.finfo(jnp.float32).min)


def _select(node: Node) -> jax.Array:
    """The actions, int32 [B, K], that bring the visits of nodes [B, K] nearest to the improved policy."""
    def one(node: Node) -> jax.Array:
        action: jax.Array = mctx.gumbel_muzero_interior_action_selection(_NO_KEY, _as_mctx(node), jnp.int32(0), jnp.int32(1),
                                                                         qtransform=_complete)  # fmt: skip
        return action
    return jax.vmap(jax.vmap(one))(node)


def _select_root(node: Node, gumbel: jax.Array, legal: jax.Array, readouts: int, considered: int) -> jax.Array:
    """The actions, int32 [B], of the sequential halving at roots [B]."""
    def one(node: Node, gumbel: jax.Array, legal: jax.Array) -> jax.Array:
        action: jax.Array = mctx.gumbel_muzero_root_action_selection(
            _NO_KEY, _as_mctx(node, gumbel, legal), jnp.int32(0), num_simulations=readouts,
            max_num_considered_actions=considered, qtransform=_complete)  # fmt: skip
        return action
    return jax.vmap(one)(node, gumbel, legal)


_NO_KEY = None  # these selections draw nothing


def _as_mctx(node: Node, gumbel: jax.Array | None = None, legal: jax.Array | None = None) -> mctx.Tree:
    """One node as the tree of one node that mctx's functions read."""
    def row(array: jax.Array) -> jax.Array:
        return array[None]

    values = row(node.values)
    return mctx.Tree(
        node_visits=row(node.own_visits), raw_values=row(node.raw_value), node_values=row(node.raw_value),
        parents=jnp.full(1, mctx.Tree.NO_PARENT), action_from_parent=jnp.full(1, mctx.Tree.NO_PARENT),
        children_index=row(node.visits), children_prior_logits=row(node.priors), children_visits=row(node.visits),
        children_rewards=jnp.zeros_like(values), children_discounts=-jnp.ones_like(values), children_values=-values,
        embeddings=None, root_invalid_actions=None if legal is None else (~legal).astype(jnp.int32),
        extra_data=None if gumbel is None else mctx.GumbelMuZeroExtraData(root_gumbel=gumbel))  # fmt: skip
