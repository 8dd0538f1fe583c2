"""A little game of placing stones, with a network that is a table of random numbers: jax.numpy for the searches, NumPy beside it."""

import dataclasses
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.search import Evaluation


class Place(NamedTuple):
    board: jax.Array  # int8 [P], +1 first player, -1 second, 0 empty
    moves: jax.Array
    passes: jax.Array


@dataclasses.dataclass(frozen=True)
class Placing:
    """A move puts a stone on any point that is not one's own; two passes or max_moves end the game; more stones win."""

    points: int = 4
    max_moves: int = 10
    endless: bool = False

    @property
    def actions(self):
        return self.points + 1

    @property
    def pass_action(self):
        return self.points

    def after(self, moves):
        """The position after some moves, in NumPy."""
        board, passes = np.zeros(self.points, np.int8), 0
        for number, move in enumerate(moves):
            passes = passes + 1 if move == self.points else 0
            if move < self.points:
                board[move] = 1 if number % 2 == 0 else -1
        return Place(board, np.int32(len(moves)), np.int32(passes))

    def side(self, state):
        return (1 - 2 * (state.moves % 2)).astype(jnp.int8)

    def play(self, state, action):
        stone = jnp.arange(self.points) == action
        return Place(jnp.where(stone, self.side(state), state.board), state.moves + 1,
                     jnp.where(action == self.points, state.passes + 1, 0))

    def legal(self, state):
        return jnp.append(state.board != self.side(state), True)

    def ended(self, state):
        return jnp.bool_(not self.endless) & ((state.passes >= 2) | (state.moves >= self.max_moves))

    def outcome(self, state):
        return jnp.where(jnp.sum(state.board) * self.side(state) > 0, 1, -1).astype(jnp.float32)

    def passed(self, state):
        return state.passes > 0


class Table:
    """Logits and value of every position by its number."""

    def __init__(self, game, seed=0, scale=1.0):
        rng = np.random.default_rng(seed)
        count = 3**game.points * 2 * 3
        self.logits = (scale * rng.standard_normal((count, game.actions))).astype(np.float32)
        self.value = rng.uniform(-0.9, 0.9, count).astype(np.float32)

    def __call__(self, state, key):
        weights = 3 ** jnp.arange(state.board.shape[-1])
        number = (jnp.sum((state.board + 1) * weights, -1) * 2 + state.moves % 2) * 3 + jnp.minimum(state.passes, 2)
        return Evaluation(jnp.asarray(self.logits)[number], jnp.asarray(self.value)[number])


def batch(*states):
    return jax.tree.map(lambda *leaves: np.stack(leaves), *states)
