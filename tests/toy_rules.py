"""Rules of a little game of stones, which compile in no time."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

PASS, ACTIONS = 9, 10


class Position(NamedTuple):
    board: jax.Array
    moves: jax.Array
    passes: jax.Array


class Rules:
    """Nine points, stones that stay, six moves at most; more stones win, white where there are as many."""

    max_moves = 6

    def start(self):
        return Position(jnp.zeros(9, jnp.int8), jnp.int16(0), jnp.int8(0))

    def to_play(self, position):
        return (1 - 2 * (position.moves % 2)).astype(jnp.int8)

    def play(self, position, action):
        board = jnp.where(jnp.arange(9) == action, self.to_play(position), position.board)
        return Position(board, position.moves + jnp.int16(1), jnp.where(action == PASS, position.passes + jnp.int8(1), jnp.int8(0)))

    def legal(self, position):
        return jnp.append(position.board == 0, True)

    def ended(self, position):
        return (position.passes == 2) | (position.moves == self.max_moves)

    def winner(self, position):
        return jnp.where(jnp.sum(position.board) > 0, 1, -1).astype(jnp.int8)
