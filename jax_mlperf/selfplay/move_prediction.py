"""The professional games as positions, and how many of their moves a network finds (MLPerf v0.5's metric).

Facts: `mlcommons/training@ea50328d:reinforcement/tensorflow/minigo/{predict_games,sgf_wrapper}.py`.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_mlperf.go.rules import Position, Rules
from jax_mlperf.selfplay.agent import Agent, Variables


class Predictions(NamedTuple):
    """Positions of recorded games, and what was played in them; R of them.

    Attributes:
      positions: before the moves.
      actions: int32 [R].
    """

    positions: Position
    actions: jax.Array


def replayed(rules: Rules, actions: jax.Array) -> Predictions:
    """All positions of recorded games before each of their moves, [games * moves], game by game; -1 where a game has ended.

    Only legal moves may be recorded; nothing ends a game but its record.

    Args:
      rules: of the board that was played on.
      actions: int [games, moves], -1 behind the last one.
    """
    def one(actions: jax.Array) -> Position:
        def move(position: Position, action: jax.Array) -> tuple[Position, Position]:
            return rules.play(position, jnp.maximum(action, 0).astype(jnp.int32)), position

        return jax.lax.scan(move, rules.start(), actions)[1]

    positions = jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), jax.vmap(one)(actions))
    return Predictions(positions, actions.reshape(-1).astype(jnp.int32))


def found(agent: Agent, variables: Variables, predictions: Predictions, rows: jax.Array, key: jax.Array,
          readouts: int) -> jax.Array:
    """Whether the search finds the recorded moves, bool [B], in the positions `rows`, int32 [B]; mirror images do not count."""
    positions = jax.tree.map(lambda leaf: leaf[rows], predictions.positions)
    return agent.search(variables, positions, key, readouts).action == predictions.actions[rows]
