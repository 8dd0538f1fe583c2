"""Self-play of Go in the manner of pgx's own AlphaZero example: the peer of perf/selfplay.py.

What `sotetsuk/pgx:examples/alphazero/train.py` does: stock environments, each started anew where its game ends, mctx's Gumbel
search with its defaults, the moves of a round in one scan. As there, a game that was started anew is still marked as ended
when it becomes the root of a search, so its first move is not really searched; the work is the same. Nothing of jax_mlperf is
imported.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import mctx
import pgx
from pgx.experimental import auto_reset

Variables = Any  # of the network: a pytree of arrays
# (variables, observations bool [B, 9, 9, 17]) -> (logits float32 [B, 82], value float32 [B] of the side to move)
Forward = Callable[[Variables, jax.Array], tuple[jax.Array, jax.Array]]
# Not made while a function is traced: with it pgx imports a module that makes arrays.
ENVIRONMENT = pgx.make("go_9x9")


class Learned(NamedTuple):
    """What the example keeps of a move of every game, each [B, ...]."""

    observation: jax.Array
    policy: jax.Array
    reward: jax.Array
    ended: jax.Array
    discount: jax.Array


def start(games: int, key: jax.Array) -> pgx.State:
    """So many games at their first move."""
    return jax.vmap(ENVIRONMENT.init)(jax.random.split(key, games))


def make_play(forward: Forward, readouts: int, moves: int) -> Callable[..., tuple[pgx.State, Learned]]:
    """A function (variables, games, key) -> (games after so many moves of each, what is learned from, [moves, B, ...]).

    Args:
      forward: the network.
      readouts: simulations for each move.
      moves: of every game in a call.
    """
    restarting_step = jax.vmap(auto_reset(ENVIRONMENT.step, ENVIRONMENT.init))
    recurrent = _recurrent_fn(forward)

    def play_move(variables: Variables, games: pgx.State, key: jax.Array) -> tuple[pgx.State, Learned]:
        search_key, reset_key = jax.random.split(key)
        logits, value = forward(variables, games.observation)
        found = mctx.gumbel_muzero_policy(
            variables, search_key, mctx.RootFnOutput(prior_logits=logits, value=value, embedding=games), recurrent,
            num_simulations=readouts, invalid_actions=~games.legal_action_mask,
            qtransform=mctx.qtransform_completed_by_mix_value, gumbel_scale=1.0)
        after = restarting_step(games, found.action, jax.random.split(reset_key, len(value)))
        return after, Learned(games.observation, found.action_weights, _reward(after, games.current_player), after.terminated,
                              _discount(after))

    def play(variables: Variables, games: pgx.State, key: jax.Array) -> tuple[pgx.State, Learned]:
        return jax.lax.scan(lambda games, key: play_move(variables, games, key), games, jax.random.split(key, moves))

    return play


def _recurrent_fn(forward: Forward) -> Callable[..., tuple[mctx.RecurrentFnOutput, pgx.State]]:
    """The model of the search: the environment itself, and the network on what it shows."""

    def step(variables: Variables, _: jax.Array, action: jax.Array, games: pgx.State
             ) -> tuple[mctx.RecurrentFnOutput, pgx.State]:
        mover = games.current_player
        games = jax.vmap(ENVIRONMENT.step)(games, action)
        logits, value = forward(variables, games.observation)
        logits = jnp.where(games.legal_action_mask, logits - logits.max(axis=-1, keepdims=True), jnp.finfo(logits.dtype).min)
        output = mctx.RecurrentFnOutput(reward=_reward(games, mover), discount=_discount(games), prior_logits=logits,
                                        value=jnp.where(games.terminated, 0.0, value))
        return output, games

    return step


def _reward(games: pgx.State, player: jax.Array) -> jax.Array:
    return jnp.take_along_axis(games.rewards, player[:, None], axis=1)[:, 0]


def _discount(games: pgx.State) -> jax.Array:
    """-1, as the sides alternate, and 0 behind the end."""
    return jnp.where(games.terminated, 0.0, -1.0)
