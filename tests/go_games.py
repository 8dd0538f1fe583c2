"""Games that `jax_mlperf.go.rules` plays all at once, every position on the host, and the referee that follows one of them."""

import functools
import re
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from go_referee import Referee

from jax_mlperf.go.area import area
from jax_mlperf.go.rules import Position, Rules

NINE = Rules()
FIVE = Rules(size=5, komi=0.5, max_moves=110, history=2, superko=True)
GAMES, MOVES = 6, 110
# Games made by hand for the first places of a batch. One ko each on the upper and the lower edge: black takes one and white the
# other, black passes, both retake: a board repeated by black.
CYCLE = ((0, 0), (0, 3), (1, 1), (1, 2), (-2, 2), (0, 1), (-1, 3), (-1, 0), (-1, 1), (-2, 1), (0, 2), (-1, 2), None, (0, 1), (-1, 1))
KO = (1, 2, 9, 12, 19, 20, 11, 10)  # of spec section 13
PROFESSIONAL = ("YKSH", "IYMD", "YSIY", "IYHN")


class Games(NamedTuple):
    """T moves of B games: the axes [T, B] come first, and entry t is what there is after move t."""

    action: np.ndarray
    position: Position
    legal: np.ndarray
    ended: np.ndarray
    score: np.ndarray | None
    outcome: np.ndarray | None


@functools.partial(jax.jit, static_argnums=(0, 2))
def _play(rules, noise, counted):
    """Plays, in each game and move, the legal action with the largest noise [T, B, A]."""
    def move(before, noise):
        position, legal = before
        action = jnp.argmax(jnp.where(legal, noise, -1), axis=-1).astype(jnp.int32)
        position = rules.play(position, action)
        legal = rules.legal(position)
        return (position, legal), (action, position, legal)

    start = rules.start(), jnp.full(rules.actions, True)
    start = jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (noise.shape[1], *leaf.shape)), start)
    action, position, legal = jax.lax.scan(jax.vmap(move), start, noise)[1]
    every = [jax.vmap(jax.vmap(fact)) for fact in (rules.ended, *((rules.score, rules.outcome) if counted else ()))]
    return Games(action, position, legal, *([fact(position) for fact in every] + [None, None])[:3])


def cycle(rules):
    """The actions of `CYCLE` on a board of any size."""
    return tuple(rules.pass_action if point is None else point[0] % rules.size * rules.size + point[1] for point in CYCLE)


HAND_MADE = {NINE: ((*KO, 70, 71, 11), (81, 81), (40, 81, 81), cycle(NINE)), FIVE: (cycle(FIVE), (25, 25), (12, 25, 25))}


@functools.cache
def play(rules, games=GAMES, moves=MOVES, seed=0, forced=None, counted=None, passes=0.98):
    """Random games with few passes, the fewer the smaller `passes` is; the first ones begin with the actions of `forced`, as far as these are legal.

    Games go on after their end, as replayed records may. Counted, by default where that compiles fast, they have scores and
    outcomes.
    """
    forced = HAND_MADE.get(rules, ()) if forced is None else forced
    noise = np.random.default_rng(seed).random((moves, games, rules.actions), np.float32)
    noise[..., rules.pass_action] *= passes
    for game, actions in enumerate(forced):
        noise[np.arange(len(actions)), game, list(actions)] = 2
    return jax.device_get(_play(rules, noise, rules.size < 9 if counted is None else counted))


_areas = jax.jit(jax.vmap(area, in_axes=(0, None)), static_argnums=1)


def areas(stones, size):
    """Black's and white's areas of boards [N, P], by one program for all N."""
    batches = -(-len(stones) // (GAMES * MOVES))
    padded = np.zeros((batches * GAMES * MOVES, size**2), np.int8)
    padded[:len(stones)] = stones
    return np.concatenate([_areas(batch, size) for batch in np.split(padded, batches)])[:len(stones)]


def as_point(rules, action):
    return None if action == rules.pass_action else divmod(int(action), rules.size)


def follow(rules, actions):
    """The referee after each of the actions."""
    referee = Referee(rules.size)
    for action in actions:
        referee.play(as_point(rules, action))
        yield referee


def professional_games(shared_data):
    """The actions of the four games, by a pattern; their main line is all there is in the files."""
    texts = [(shared_data / "go9x9_pro" / f"9x9_pro_{name}.sgf").read_text() for name in PROFESSIONAL]
    moves = [re.findall(r";[BW]\[([a-i])([a-i])\]", text) for text in texts]
    return tuple(tuple(9 * (ord(row) - ord("a")) + ord(column) - ord("a") for column, row in game) for game in moves)
