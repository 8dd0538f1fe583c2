"""A quota of games that start together: all make their t-th move in the same step, those that have ended stand still.

A pool that replaces ended games would deliver the short ones first (spec: no length bias), so every iteration plays its own
games to their ends. Facts: `mlcommons/training@ea50328d:reinforcement/tensorflow/minigo/{selfplay_mcts,strategies}.py`.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_mlperf.go.rules import Position, Rules
from jax_mlperf.search.types import DirichletNoise, Found
from jax_mlperf.selfplay.agent import Agent, Variables

NO_ACTION = -1


@dataclasses.dataclass(frozen=True)
class PlaySettings:
    """How an iteration's games are played; the names are those of the config's section `selfplay`.

    Attributes:
      readouts: simulations for each move.
      noise: on the root's priors.
      sampled_moves: so many moves of a game are drawn in proportion to the visits, the others are the most visited.
      pass_is_sampled: whether a pass can be drawn like any move (v0.5), or only when nothing else was visited; then draws are in
        proportion to visits ** target_exponent (v0.6: `tensorflow/minigo:cc/mcts_player.cc`).
      target_moves, target_exponent: the policy to learn is visits ** exponent, normalised, for so many first moves.
      resign_threshold: a side resigns when its root's mean value is below.
      resign_disabled: share of the games in which nobody resigns.
      holdout: share of the games that are not learned from.
    """

    readouts: int
    noise: DirichletNoise
    sampled_moves: int
    pass_is_sampled: bool
    target_moves: int
    target_exponent: float
    resign_threshold: float
    resign_disabled: float
    holdout: float


class Games(NamedTuple):
    """The games of an iteration; every leaf has their axis G first.

    Attributes:
      position: where each game stands.
      actions: int16 [G, T], what was played; -1 behind the end.
      ended: bool [G].
      winner: int8 [G], +1 black, -1 white; 0 while the game goes on.
      resigned: bool [G], whether it ended so.
      may_resign: bool [G].
      held_out: bool [G].
      would_resign: int8 [G], the first side whose value fell below the threshold, 0 for none.
    """

    position: Position
    actions: jax.Array
    ended: jax.Array
    winner: jax.Array
    resigned: jax.Array
    may_resign: jax.Array
    held_out: jax.Array
    would_resign: jax.Array


class Recorded(NamedTuple):
    """What is learned from one move of every game.

    Attributes:
      board: [G, P], the board before the move, as `Position.board`.
      policy: float16 [G, A].
    """

    board: jax.Array
    policy: jax.Array


def starts(rules: Rules, games: int) -> Position:
    """The empty board, [games] times."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (games, *leaf.shape)), rules.start())


def moved_where(plays: jax.Array, after: Position, before: Position) -> Position:
    """The positions after a move in the games that make one, bool [G], and those before it in the others."""
    return jax.tree.map(functools.partial(jax.vmap(jnp.where), plays), after, before)


def no_games(rules: Rules, games: int) -> Games:
    """Games that have all ended without a move: what there is before the first iteration."""
    no, none = jnp.zeros((games,), bool), jnp.zeros((games,), jnp.int8)
    actions = jnp.full((games, rules.max_moves), NO_ACTION, jnp.int16)
    return Games(starts(rules, games), actions, ~no, none, no, no, no, none)


def new_games(rules: Rules, settings: PlaySettings, games: int, key: jax.Array) -> Games:
    """Games at their start, with their lots drawn."""
    resign_key, holdout_key = jax.random.split(key)
    fresh = no_games(rules, games)
    return fresh._replace(ended=~fresh.ended,
                          may_resign=jax.random.uniform(resign_key, (games,)) >= settings.resign_disabled,
                          held_out=jax.random.uniform(holdout_key, (games,)) < settings.holdout)


def play_move(agent: Agent, settings: PlaySettings, variables: Variables, games: Games, number: jax.Array,
              key: jax.Array) -> tuple[Games, Recorded]:
    """One move of every game that goes on.

    Args:
      agent: who plays both sides.
      settings: how.
      variables: of the network.
      games: at move `number`, as far as they have not ended.
      number: int32 [], moves made in every game that goes on.
      key: of noise, symmetries and draws.
    """
    rules, position = agent.rules, games.position
    search_key, draw_key = jax.random.split(key)
    found = agent.search(variables, position, search_key, settings.readouts, noise=settings.noise)
    side = jax.vmap(rules.to_play)(position)
    hopeless = ~games.ended & (found.value < settings.resign_threshold)
    resigns = hopeless & games.may_resign
    plays = ~games.ended & ~resigns
    action = found.action
    if agent.settings.kind == "puct":
        action = jnp.where(number < settings.sampled_moves, _drawn(found.visits, draw_key, settings), action)
    moved = jax.vmap(rules.play)(position, action)
    over = plays & jax.vmap(rules.ended)(moved)
    winner = jnp.where(over, jax.vmap(rules.winner)(moved), jnp.where(resigns, -side, games.winner))
    recorded = Recorded(position.board, _target(agent, settings, found, number).astype(jnp.float16))
    return Games(
        moved_where(plays, moved, position),
        jax.lax.dynamic_update_index_in_dim(games.actions, jnp.where(plays, action, NO_ACTION).astype(jnp.int16), number, 1),
        games.ended | resigns | over, winner.astype(jnp.int8), games.resigned | resigns, games.may_resign, games.held_out,
        jnp.where(hopeless & (games.would_resign == 0), side, games.would_resign).astype(jnp.int8)), recorded


def _drawn(visits: jax.Array, key: jax.Array, settings: PlaySettings) -> jax.Array:
    """An action of each game by its visits int32 [G, A]; the last action is the pass."""
    exponent = 1.0
    if not settings.pass_is_sampled:
        exponent = settings.target_exponent
        others = visits.at[:, -1].set(0)
        visits = jnp.where(jnp.any(others, axis=-1, keepdims=True), others, visits)
    return jax.random.categorical(key, exponent * jnp.log(visits.astype(jnp.float32))).astype(jnp.int32)


def _target(agent: Agent, settings: PlaySettings, found: Found, number: jax.Array) -> jax.Array:
    """The policy to learn, float32 [G, A]."""
    if agent.settings.kind != "puct":
        return found.policy
    flattened = found.policy**settings.target_exponent
    flattened = flattened / flattened.sum(axis=-1, keepdims=True)
    return jnp.where(number < settings.target_moves, flattened, found.policy)
