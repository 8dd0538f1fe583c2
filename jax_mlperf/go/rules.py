"""The rules of Go on one board, vmappable.

Our own and not pgx's (2.6.0), for the cost: on 9x9, batches of 256, a CPU spends 5 us a move and game where pgx's environment
takes 59 (`perf/go_rules.py`) and its rules alone 36; for an H200 `play` and `legal` compile to 11 and 4 kernels, pgx's to 25
and 10. And pgx counts a captured chain twice if the last stone touches it on two sides. Otherwise they agree: see the tests.
"""

import dataclasses
import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.errors import UserError
from jax_mlperf.go.area import area
from jax_mlperf.go.moves import legal_points, place

SIZES = range(2, 20)
# Chain ids are point numbers from 1, signed: up to 11x11 they fit an int8.
_LARGEST_INT8_SIZE = 11


class Position(NamedTuple):
    """One game, or, with a leading axis on all leaves, many. P points, numbered row by row from the top left; H boards."""

    board: jax.Array  # int8 [P], int16 above 11x11: each stone's chain, its smallest point + 1; negative for white, 0 where empty
    history: jax.Array  # int8 [H, P]: the newest H boards, newest first: +1 black, -1 white; zeros before the start
    moves: jax.Array  # int16 []: moves and passes so far; black is to move when even
    ko: jax.Array  # int16 []: the point that must not be retaken, or -1
    passes: jax.Array  # int8 []: consecutive passes up to now
    captured: jax.Array  # int16 [2]: stones captured by black, by white
    repeated: jax.Array  # bool []: superko only: the last move recreated an earlier board
    hashes: jax.Array  # uint32 [K, 2]: superko only: of the board after each move, K = max_moves + 1; otherwise one zero


@dataclasses.dataclass(frozen=True)
class Rules:
    """Area scoring without removal of dead stones; suicide and the retaking of a single ko are illegal.

    Args:
      size: points on a side.
      komi: what white's area is raised by.
      max_moves: the game ends after so many moves and passes, and is scored as it stands.
      history: boards kept in a position.
      superko: whether who recreates an earlier board loses at once (positional superko, as pgx has it). Such moves stay legal.
    """

    size: int = 9
    komi: float = 7.5
    max_moves: int = 114
    history: int = 8
    superko: bool = False

    def __post_init__(self) -> None:
        if self.size not in SIZES:
            raise UserError(f"board size {self.size}: must be from {SIZES.start} to {SIZES.stop - 1}")

    @property
    def points(self) -> int:
        """How many points the board has."""
        return self.size**2

    @property
    def actions(self) -> int:
        """How many actions there are: every point, and the pass."""
        return self.points + 1

    @property
    def pass_action(self) -> int:
        """The action that passes."""
        return self.points

    def start(self) -> Position:
        """The empty board, black to move."""
        return Position(board=jnp.zeros(self.points, jnp.int8 if self.size <= _LARGEST_INT8_SIZE else jnp.int16),
                        history=jnp.zeros((self.history, self.points), jnp.int8),
                        moves=jnp.zeros((), jnp.int16), ko=jnp.full((), -1, jnp.int16), passes=jnp.zeros((), jnp.int8),
                        captured=jnp.zeros(2, jnp.int16), repeated=jnp.zeros((), jnp.bool_),
                        hashes=jnp.zeros((self.max_moves + 1 if self.superko else 1, 2), jnp.uint32))

    def play(self, position: Position, action: jax.Array) -> Position:
        """The position after a legal action, int32 []; also of a game that has ended, as when a record is replayed."""
        mover = self.to_play(position)
        played = place(position.board, action, mover.astype(position.board.dtype), self.size)
        stones = jnp.sign(played.board).astype(jnp.int8)
        passed = action == self.pass_action
        by_mover = jnp.where(jnp.arange(2) == position.moves % 2, played.taken, 0).astype(jnp.int16)
        after = position._replace(board=played.board, history=jnp.concatenate([stones[None], position.history[:-1]]),
                                  moves=position.moves + jnp.int16(1), ko=played.ko.astype(jnp.int16),
                                  passes=jnp.where(passed, position.passes + 1, 0).astype(jnp.int8),
                                  captured=position.captured + by_mover)
        return _remember(after, passed) if self.superko else after

    def legal(self, position: Position) -> jax.Array:
        """Which actions are legal, bool [actions]; the pass always is, and superko bars nothing."""
        mover = self.to_play(position).astype(position.board.dtype)
        return jnp.append(legal_points(position.board, position.ko, mover, self.size), True)

    def ended(self, position: Position) -> jax.Array:
        """Whether the game is over, bool []: by two passes, too many moves, or a repetition under superko."""
        return (position.passes >= 2) | (position.moves >= self.max_moves) | position.repeated

    def passed(self, position: Position) -> jax.Array:
        """Whether the last move was a pass, bool []."""
        return position.passes > 0

    def score(self, position: Position) -> jax.Array:
        """Black's area less white's and komi, float32 [], the board taken as it stands."""
        black, white = area(position.history[0], self.size)
        return (black - white).astype(jnp.float32) - self.komi

    def winner(self, position: Position) -> jax.Array:
        """+1 for black, -1 for white (also at a score of 0), int8 []; who repeated a board has lost."""
        by_area = jnp.where(self.score(position) > 0, 1, -1).astype(jnp.int8)
        return jnp.where(position.repeated, self.to_play(position), by_area)

    def to_play(self, position: Position) -> jax.Array:
        """Who moves: +1 black, -1 white, int8 []."""
        return jnp.where(position.moves % 2 == 0, 1, -1).astype(jnp.int8)

    def outcome(self, position: Position) -> jax.Array:
        """+1 if the side to move has won, -1 if it has lost, float32 []; 0 while the game goes on."""
        ended = self.ended(position)
        # Area's loop ends when the last board of a batch is done: boards that nobody asks for are emptied.
        masked = position._replace(history=jnp.where(ended, position.history, 0))
        return jnp.where(ended, self.winner(masked) * self.to_play(position), 0).astype(jnp.float32)

    def skip_turn(self, position: Position) -> Position:
        """Gives the move to the other side, as records with a repeated colour need: no pass, no new board, no ko.

        What is read from stored boards, `features.ko_point`, does not know of it.
        """
        return position._replace(moves=position.moves + jnp.int16(1), ko=jnp.full_like(position.ko, -1))


def _remember(position: Position, passed: jax.Array) -> Position:
    """Compares the newest board's hash with all before it, and keeps it; a pass repeats nothing."""
    stones = position.history[0]
    keys = jnp.asarray(_hash_keys(len(stones)))
    # Zobrist's hash with sums in place of exclusive ors: 64 bits, a key for each colour and point.
    coloured = jnp.stack([stones > 0, stones < 0])[..., None]
    board_hash = jnp.sum(jnp.where(coloured, keys, jnp.uint32(0)), axis=(0, 1), dtype=jnp.uint32)
    repeated = ~passed & jnp.any(jnp.all(position.hashes == board_hash, axis=-1))
    return position._replace(repeated=repeated, hashes=position.hashes.at[position.moves - 1].set(board_hash, mode="drop"))


@functools.cache
def _hash_keys(points: int) -> np.ndarray:
    """Random uint32 [2, P, 2]: two words for a black and for a white stone on each point."""
    return np.random.default_rng(0).integers(2**32, size=(2, points, 2), dtype=np.uint32)
