"""A batched Monte Carlo tree search: the part of `mctx.search`, with backups whose cost does not grow with the tree.

One loop runs the evaluation of the root and the readouts; all games make their s-th simulation together. A simulation walks
down along the nodes' picks (`Tree.next_node`), makes and evaluates one node, and updates the whole path, a block of nodes of
all games at a time: means and counts first, then what those nodes will pick next.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_mlperf.search.tree import NONE, Node, Tree, at, empty_tree, nodes_at, put, put_column
from jax_mlperf.search.types import EvaluateFn, Game, State

# Nodes of a path that are handled at once: an iteration of a loop is dear on a GPU (the host decides whether there is another),
# padding of short paths is on a CPU.
BLOCK, SHALLOW_BLOCK, SHALLOW_READOUTS = 8, 4, 64

SelectFn = Callable[[Node], jax.Array]  # the actions to try next, int32 [B] or [B, K]
# (logits [B, A], legal [B, A], whether these are roots, bool []) -> what is stored as Tree.priors, float32 [B, A]
PriorFn = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]

_Walk = tuple[jax.Array, jax.Array, jax.Array, jax.Array]  # nodes passed, node now, index of the last, start of the block


class Selection(NamedTuple):
    """How a search picks actions: pure functions of the nodes' statistics."""

    priors: PriorFn
    interior: SelectFn
    root: SelectFn | None = None  # None: as interior


class Path(NamedTuple):
    """The nodes that a simulation came through."""

    nodes: jax.Array  # int32 [B, D]: from the root on; what is after the last is not to be read
    last: jax.Array  # int32 [B]: index into nodes of the last


def search(game: Game, state: State, evaluate: EvaluateFn, selection: Selection, key: jax.Array, readouts: int) -> Tree:
    """Trees of readouts + 1 nodes over the positions `state` [B, ...].

    A node where the game has ended gets no children: a simulation that reaches it backs its outcome up again, and leaves its
    slot unused. Values alternate in sign along a path.

    Args:
      game: the rules.
      state: the root positions.
      evaluate: called once a simulation with all B new positions and a key of the simulation.
      selection: picks the actions.
      key: for `evaluate`.
      readouts: simulations after the root's evaluation.
    """
    block = SHALLOW_BLOCK if readouts < SHALLOW_READOUTS else BLOCK

    def simulate(slot: jax.Array, tree: Tree) -> Tree:
        path = _descend(tree, block)
        parent = at(path.nodes, path.last)
        action = at(tree.next_action, parent)
        tree = _expand(game, state, evaluate, selection.priors, jax.random.fold_in(key, slot), tree, slot, parent, action)
        path, tree = _attach(tree, path, slot, parent, action)
        return _backup(tree, path, selection, block)

    return jax.lax.fori_loop(0, readouts + 1, simulate, empty_tree(state, game.actions, readouts + 1))


def _descend(tree: Tree, block: int) -> Path:
    """From the roots to the nodes that get the next child, or are terminal."""
    batch, nodes = tree.visits.shape

    def walk(carry: _Walk) -> _Walk:
        walked, node, last, start = carry
        steps = []
        for _ in range(block):
            steps.append(node)
            node = jnp.where(node == NONE, NONE, at(tree.next_node, jnp.maximum(node, 0)))
            last += node != NONE
        return jax.lax.dynamic_update_slice_in_dim(walked, jnp.stack(steps, 1), start, 1), node, last, start + block

    start = (jnp.zeros((batch, -(-nodes // block) * block), jnp.int32), jnp.zeros(batch, jnp.int32),
             jnp.zeros(batch, jnp.int32), jnp.int32(0))  # fmt: skip
    walked, _, last, _ = jax.lax.while_loop(lambda carry: jnp.any(carry[1] != NONE), walk, start)
    return Path(walked, last)


def _expand(game: Game, roots: State, evaluate: EvaluateFn, priors: PriorFn, key: jax.Array, tree: Tree, slot: jax.Array,
            parent: jax.Array, action: jax.Array) -> Tree:  # fmt: skip
    """Makes node `slot` of every tree: the position after the action, or the root itself as node 0."""
    first = slot == 0
    played = jax.vmap(game.play)(jax.tree.map(lambda states: at(states, parent), tree.states), action)
    state = jax.tree.map(lambda root, after: jnp.where(first, root, after), roots, played)
    evaluation = evaluate(state, key)
    ended = jax.vmap(game.ended)(state)
    value = jnp.where(ended, jax.vmap(game.outcome)(state), evaluation.value)
    return tree._replace(
        raw_values=put_column(tree.raw_values, slot, value),
        terminal=put_column(tree.terminal, slot, ended),
        passed=put_column(tree.passed, slot, jax.vmap(game.passed)(state)),
        priors=put_column(tree.priors, slot, priors(evaluation.logits, jax.vmap(game.legal)(state), first)),
        states=jax.tree.map(lambda states, new: put_column(states, slot, new), tree.states, state))  # fmt: skip


def _attach(tree: Tree, path: Path, slot: jax.Array, parent: jax.Array, action: jax.Array) -> tuple[Path, Tree]:
    """The paths with the new node at their end, and the trees with it as a child; neither below a terminal node."""
    rows = jnp.arange(len(parent))
    new = ~at(tree.terminal, parent) & (slot > 0)
    beyond = tree.visits.shape[1]
    children = tree.children.at[rows, jnp.where(new, parent, beyond), action].set(slot.astype(tree.children.dtype), mode="drop")
    last = path.last + new
    nodes = path.nodes.at[rows, last].set(jnp.where(new, slot, parent), mode="promise_in_bounds")
    return Path(nodes, last), tree._replace(children=children)


def _backup(tree: Tree, path: Path, selection: Selection, block: int) -> Tree:
    """Counts and means along the paths with the last node's value, and what the nodes pick next; from the last block up."""
    beyond = tree.visits.shape[1]
    value = at(tree.raw_values, at(path.nodes, path.last))

    def update(step: jax.Array, tree: Tree) -> Tree:
        start = (blocks - 1 - step) * block
        depth = start + jnp.arange(block)
        used = depth <= path.last[:, None]
        nodes = jnp.where(used, jax.lax.dynamic_slice_in_dim(path.nodes, start, block, 1), 0)
        target = jnp.where(used, nodes, beyond + jnp.arange(block))
        sign = 1 - 2 * ((path.last[:, None] - depth) % 2)
        count = at(tree.visits, nodes)
        mean = (at(tree.values, nodes) * count + sign * value[:, None]) / (count + 1.0)
        tree = tree._replace(visits=put(tree.visits, target, count + 1), values=put(tree.values, target, mean))
        return _pick(tree, nodes, target, start, selection)

    blocks = jnp.max(path.last) // block + 1
    return jax.lax.fori_loop(0, blocks, update, tree)


def _pick(tree: Tree, nodes: jax.Array, target: jax.Array, start: jax.Array, selection: Selection) -> Tree:
    """The next actions of nodes [B, K], stored at target [B, K]; the first column is the roots where start is 0."""
    node, children = nodes_at(tree, nodes)
    action = selection.interior(node)
    if selection.root is not None:
        root = selection.root(jax.tree.map(lambda leaf: leaf[:, 0], node))
        action = action.at[:, 0].set(jnp.where(start == 0, root, action[:, 0]))
    child = jnp.take_along_axis(children, action[..., None], -1)[..., 0]
    child = jnp.where(at(tree.terminal, nodes), NONE, child)
    return tree._replace(next_action=put(tree.next_action, target, action), next_node=put(tree.next_node, target, child))
