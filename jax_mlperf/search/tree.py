"""Storage of B search trees of N nodes each.

Not `mctx.Tree`: that holds six [B, N, A] arrays (rewards, discounts, visits and values of children among them), of which a
two-player game needs two. A child's visits and value are those of its node, so they stand in [B, N] arrays only and a backup
touches nothing large; rewards are 0 and discounts -1 throughout. Each node also remembers which action its selection picks
next: that depends on the node's own statistics alone, so it changes only when a backup comes by, and a descent is a walk
along pointers.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.search.types import State

NONE = -1  # no node


class Tree(NamedTuple):
    """B trees; node 0 is the root, node s was made by simulation s."""

    visits: jax.Array  # int32 [B, N]: simulations that came through, the node's own evaluation included
    values: jax.Array  # float32 [B, N]: mean value for the node's side to move
    raw_values: jax.Array  # float32 [B, N]: its evaluation, or the outcome where the game has ended
    terminal: jax.Array  # bool [B, N]
    passed: jax.Array  # bool [B, N]: the last move was a pass
    priors: jax.Array  # float32 [B, N, A]: probabilities or logits, as the selection reads them
    children: jax.Array  # int16 or int32 [B, N, A]: the node behind an action, NONE before its first visit
    next_action: jax.Array  # int32 [B, N]: what the selection picks on the next visit
    next_node: jax.Array  # int32 [B, N]: the node behind it; NONE: not made yet, or this one is terminal
    states: State  # [B, N, ...]


class Node(NamedTuple):
    """What a selection reads about nodes, [B] or [B, K] of them; values are for the side to move at the node."""

    visits: jax.Array  # int32 [..., A]: of the children
    values: jax.Array  # float32 [..., A]: mean values of the actions, 0 where not visited
    priors: jax.Array  # float32 [..., A]
    raw_value: jax.Array  # float32 [...]: the node's own evaluation
    own_visits: jax.Array  # int32 [...]: of the node itself
    passed: jax.Array  # bool [...]: the last move before it was a pass


def empty_tree(state: State, actions: int, nodes: int) -> Tree:
    """Trees without a visit for the root positions `state` [B, ...], which are not stored yet."""
    batch = jax.tree.leaves(state)[0].shape[0]
    index = np.int16 if nodes <= np.iinfo(np.int16).max else np.int32

    def zeros(dtype: type, *more: int) -> jax.Array:
        return jnp.zeros((batch, nodes, *more), dtype)

    return Tree(
        visits=zeros(np.int32), values=zeros(np.float32), raw_values=zeros(np.float32), terminal=zeros(np.bool_),
        passed=zeros(np.bool_), priors=zeros(np.float32, actions), children=jnp.full((batch, nodes, actions), NONE, index),
        next_action=zeros(np.int32), next_node=jnp.full((batch, nodes), NONE, np.int32),
        states=jax.tree.map(lambda leaf: zeros(leaf.dtype, *leaf.shape[1:]), state))  # fmt: skip


def at(array: jax.Array, index: jax.Array) -> jax.Array:
    """array [B, N, ...] at the nodes index [B] or [B, K] of each tree: [B, (K,) ...]."""
    batch, nodes = array.shape[:2]
    rows = jnp.arange(batch).reshape(-1, *[1] * (index.ndim - 1))
    # Flat, as indices of two numbers would be written to memory first.
    return array.reshape(batch * nodes, *array.shape[2:]).at[rows * nodes + index].get(mode="promise_in_bounds")


def put(array: jax.Array, index: jax.Array, values: jax.Array) -> jax.Array:
    """array [B, N] with values at the nodes index [B, K], which differ within a tree; what lies beyond N is dropped."""
    return array.at[jnp.arange(len(array))[:, None], index].set(values, mode="drop", unique_indices=True)


def put_column(array: jax.Array, slot: jax.Array, values: jax.Array) -> jax.Array:
    """array [B, N, ...] with values [B, ...] as the node `slot` of every tree."""
    return jax.lax.dynamic_update_index_in_dim(array, values.astype(array.dtype), slot, 1)


def nodes_at(tree: Tree, index: jax.Array) -> tuple[Node, jax.Array]:
    """The nodes index [B] or [B, K], and their children's indices [B, (K,) A]."""
    children = at(tree.children, index).astype(jnp.int32)
    visited = children != NONE
    flat = jnp.maximum(children, 0).reshape(len(children), -1)
    visits, values = (at(array, flat).reshape(children.shape) for array in (tree.visits, tree.values))
    node = Node(jnp.where(visited, visits, 0), jnp.where(visited, -values, 0), at(tree.priors, index),
                at(tree.raw_values, index), at(tree.visits, index), at(tree.passed, index))  # fmt: skip
    return node, children


def root_of(tree: Tree) -> Node:
    """The roots, [B]."""
    return nodes_at(tree, jnp.zeros(len(tree.visits), jnp.int32))[0]
