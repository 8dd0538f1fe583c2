"""Matches: two players, every pair of games with either's colours, all games at once."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_mlperf.go.rules import Position, Rules
from jax_mlperf.selfplay.agent import Agent, Variables
from jax_mlperf.selfplay.games import moved_where, starts


class Choices(NamedTuple):
    """What a player does in B positions.

    Attributes:
      action: int32 [B].
      resigns: bool [B].
    """

    action: jax.Array
    resigns: jax.Array


ChooseFn = Callable[[Position, jax.Array], Choices]  # a player: (positions [B], key)


class _Board(NamedTuple):
    """B games in which the same player has black; winner is +1 for black, -1 for white, 0 while the game goes on."""

    position: Position
    winner: jax.Array


def searching_player(agent: Agent, variables: Variables, readouts: int, resign_threshold: float) -> ChooseFn:
    """Plays the most visited move, without noise, and resigns when its root's mean value is below the threshold."""
    def choose(positions: Position, key: jax.Array) -> Choices:
        found = agent.search(variables, positions, key, readouts)
        return Choices(found.action, found.value < resign_threshold)

    return choose


def random_player(rules: Rules) -> ChooseFn:
    """Plays any legal move, the pass among them, with equal probability, and never resigns."""
    def choose(positions: Position, key: jax.Array) -> Choices:
        legal = jax.vmap(rules.legal)(positions)
        action = jax.random.categorical(key, jnp.where(legal, 0.0, -jnp.inf)).astype(jnp.int32)
        return Choices(action, jnp.zeros(action.shape, bool))

    return choose


def play_match(rules: Rules, first: ChooseFn, second: ChooseFn, pairs: int, key: jax.Array) -> jax.Array:
    """Games that `first` wins as black and as white, int32 [2, pairs] of 0 and 1.

    In each turn either player moves in one half of the games, so that both work on batches of `pairs`.

    Args:
      rules: of the game.
      first, second: the players; called inside a loop on the devices.
      pairs: half of the games.
      key: of the players.
    """
    board = _Board(starts(rules, pairs), jnp.zeros((pairs,), jnp.int8))

    def turn(carry: tuple[_Board, _Board, jax.Array]) -> tuple[_Board, _Board, jax.Array]:
        as_black, as_white, number = carry
        keys = jax.random.split(jax.random.fold_in(key, number), 4)
        as_black = _moved(rules, as_black, first, keys[0])
        as_white = _moved(rules, as_white, second, keys[1])
        as_black = _moved(rules, as_black, second, keys[2])
        return as_black, _moved(rules, as_white, first, keys[3]), number + 1

    def goes_on(carry: tuple[_Board, _Board, jax.Array]) -> jax.Array:
        return jnp.any(carry[0].winner == 0) | jnp.any(carry[1].winner == 0)

    as_black, as_white, _ = jax.lax.while_loop(goes_on, turn, (board, board, jnp.int32(0)))
    return jnp.stack([as_black.winner > 0, as_white.winner < 0]).astype(jnp.int32)


def _moved(rules: Rules, board: _Board, player: ChooseFn, key: jax.Array) -> _Board:
    """The games after the player's move, in those that go on."""
    choice = player(board.position, key)
    side = jax.vmap(rules.to_play)(board.position)
    after = jax.vmap(rules.play)(board.position, choice.action)
    plays = (board.winner == 0) & ~choice.resigns
    over = plays & jax.vmap(rules.ended)(after)
    resigned = (board.winner == 0) & choice.resigns
    winner = jnp.where(over, jax.vmap(rules.winner)(after), jnp.where(resigned, -side, board.winner)).astype(jnp.int8)
    return _Board(moved_where(plays, after, board.position), winner)
