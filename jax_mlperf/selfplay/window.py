"""The replay window: the games of the newest iterations, on the devices that played them.

A position is its board and the policy to learn; older boards are those of the game's earlier positions. On 9x9 that is 245
bytes. The shape does not depend on how long games are, nor on the number of devices.
"""

import dataclasses
import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from jax_mlperf.go.features import PlaneKind, boards_seen, ko_point, planes
from jax_mlperf.go.rules import Rules
from jax_mlperf.go.symmetries import SYMMETRIES, apply_planes, apply_policy
from jax_mlperf.ops.permutation import permute
from jax_mlperf.selfplay.games import Games, Recorded


class Window(NamedTuple):
    """G games of each of W iterations, at most T positions each; every leaf has axis G first, so that devices split the games.

    Attributes:
      boards: int8 or int16 [G, W, T, P], as `Position.board`.
      policies: float16 [G, W, T, A].
      lengths: int32 [G, W], positions to learn from: 0 for games that have not ended or are held out.
      winners: int8 [G, W].
    """

    boards: jax.Array
    policies: jax.Array
    lengths: jax.Array
    winners: jax.Array


class Examples(NamedTuple):
    """Positions to learn from.

    Attributes:
      planes: bool [B, s, s, C].
      policy: float32 [B, A].
      winner: float32 [B], +1 where black won the game, -1 where white did.
    """

    planes: jax.Array
    policy: jax.Array
    winner: jax.Array


@dataclasses.dataclass(frozen=True)
class SampleSettings:
    """What is drawn from a window; names as in the config's section `replay`.

    Attributes:
      positions: of the newest games, how many are drawn from, on each device; 0 for all.
      kept: share of them that an iteration learns from.
      symmetries: transform each example by a random symmetry.
      planes: what the network reads.
    """

    positions: int
    kept: float
    symmetries: bool
    planes: PlaneKind


def empty_window(rules: Rules, games: int, iterations: int) -> Window:
    """A window without a position."""
    start = rules.start()
    shape = (games, iterations, rules.max_moves)
    return Window(jnp.zeros((*shape, rules.points), start.board.dtype), jnp.zeros((*shape, rules.actions), jnp.float16),
                  jnp.zeros(shape[:2], jnp.int32), jnp.zeros(shape[:2], jnp.int8))


def record(window: Window, slot: jax.Array, number: jax.Array, recorded: Recorded, games: Games) -> Window:
    """The window after move `number` of the games whose iteration has the place `slot`, both int32 [].

    Positions behind a game's end are written too, and never read.
    """
    def put(array: jax.Array, values: jax.Array) -> jax.Array:
        zero = jnp.zeros((), jnp.int32)
        return jax.lax.dynamic_update_slice(array, values[:, None, None], (zero, slot, number, zero))

    lengths = jnp.where(games.ended & ~games.held_out, games.position.moves, 0).astype(jnp.int32)
    return Window(put(window.boards, recorded.board), put(window.policies, recorded.policy),
                  jax.lax.dynamic_update_index_in_dim(window.lengths, lengths, slot, 1),
                  jax.lax.dynamic_update_index_in_dim(window.winners, games.winner, slot, 1))


def _newest_first(lengths: jax.Array, newest: jax.Array) -> jax.Array:
    """Lengths [G, W] as one row [W * G], the iteration at place `newest` first, then the one before it."""
    places = (newest - jnp.arange(lengths.shape[1])) % lengths.shape[1]
    return lengths[:, places].T.reshape(-1)


def positions_to_learn(window: Window, newest: jax.Array, settings: SampleSettings) -> tuple[jax.Array, jax.Array]:
    """How many positions an iteration learns from, and of how many: the newest games, whole ones. Both int32 []."""
    ends = jnp.cumsum(_newest_first(window.lengths, newest))
    seen = ends[-1]
    if settings.positions:  # the last game may reach beyond
        seen = ends[jnp.minimum(jnp.searchsorted(ends, settings.positions), len(ends) - 1)]
    most_learned, _ = _most(window, settings)
    return jnp.minimum(jnp.ceil(seen * jnp.float32(settings.kept)).astype(jnp.int32), most_learned), seen


def _most(window: Window, settings: SampleSettings) -> tuple[int, int]:
    """What `positions_to_learn` gives at most: a permutation of far fewer numbers than it is made for takes many walks."""
    games, places, moves = window.boards.shape[:3]
    seen = games * places * moves
    if settings.positions:
        seen = min(seen, settings.positions + moves)
    return math.ceil(seen * settings.kept), seen


def drawn(window: Window, newest: jax.Array, first: jax.Array, count: int, key: jax.Array, settings: SampleSettings,
          rules: Rules) -> Examples:
    """The examples number first, first + 1, ... of an iteration: a shuffle of its positions, then another one, and so on.

    Args:
      window: holds at least one position, or the examples are meaningless.
      newest: int32 [], place of the newest iteration.
      first: int32 [], examples drawn before.
      count: B.
      key: of the iteration, typed; the same for all its draws.
      settings: what is drawn.
      rules: of the game.
    """
    subset_key, order_key, symmetry_key = jax.random.split(key, 3)
    learned, seen = positions_to_learn(window, newest, settings)
    most_learned, most_seen = _most(window, settings)
    numbers = first + jnp.arange(count, dtype=jnp.int32)
    index = _shuffled(order_key, numbers, jnp.maximum(learned, 1), most_learned)
    chosen = permute(_words(subset_key), index, jnp.maximum(seen, 1), most=most_seen).astype(jnp.int32)
    game, place, number = _located(window, newest, chosen)
    symmetries = jnp.zeros((count,), jnp.int32)
    if settings.symmetries:
        symmetries = jax.vmap(lambda i: jax.random.randint(jax.random.fold_in(symmetry_key, i), (), 0, SYMMETRIES))(numbers)
    return jax.vmap(functools.partial(_example, window, settings, rules))(game, place, number, symmetries)


def _example(window: Window, settings: SampleSettings, rules: Rules, game: jax.Array, place: jax.Array, number: jax.Array,
             symmetry: jax.Array) -> Examples:
    """Position `number` of one game; boards from before its start are empty."""
    before = number - jnp.arange(max(2, boards_seen(settings.planes, rules.history)))
    boards = jnp.where(before[:, None] >= 0, window.boards[game, place, jnp.maximum(before, 0)], 0)
    stones = jnp.sign(boards).astype(jnp.int8)
    inputs = planes(settings.planes, stones, boards[0], ko_point(stones, rules.size), number % 2 == 0, rules.size)
    policy = window.policies[game, place, number].astype(jnp.float32)
    return Examples(apply_planes(inputs, symmetry), apply_policy(policy, symmetry),
                    window.winners[game, place].astype(jnp.float32))


def _located(window: Window, newest: jax.Array, index: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Game, place and move number of the positions `index`, counted from the newest iteration's first game."""
    games, places = window.lengths.shape
    lengths = _newest_first(window.lengths, newest)
    ends = jnp.cumsum(lengths)
    row = jnp.minimum(jnp.searchsorted(ends, index, side="right"), len(ends) - 1)
    return row % games, (newest - row // games) % places, index - (ends[row] - lengths[row])


def _shuffled(key: jax.Array, numbers: jax.Array, count: jax.Array, most: int) -> jax.Array:
    """Where numbers [B] stand in an endless row of shuffles of range(count); count, int32 [], is at most `most`."""
    # A shuffle's key must be the same for all its numbers: the batched keys of rbg are not.
    shuffles = jax.random.wrap_key_data(_words(key), impl="threefry2x32")

    def one(number: jax.Array) -> jax.Array:
        words = jax.random.key_data(jax.random.fold_in(shuffles, number // count))
        return permute(words, number % count, count, most=most)

    return jax.vmap(one)(numbers)


def _words(key: jax.Array) -> jax.Array:
    """Two words of a key, whatever its implementation: uint32 [2]."""
    return jax.random.bits(key, (2,), jnp.uint32)
