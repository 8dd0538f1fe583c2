"""What a move does to a board of chain ids, and which moves are legal: array operations without loops."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.go.chains import neighbours


class Played(NamedTuple):
    """What `place` gives."""

    board: jax.Array  # as it was given, [P]
    taken: jax.Array  # int32 []: how many stones the move captured
    ko: jax.Array  # int32 []: the point that must not be retaken, or -1


def place(board: jax.Array, action: jax.Array, to_play: jax.Array, size: int) -> Played:
    """Puts a stone on a point where that is legal; a pass, action P, changes nothing.

    Args:
      board: int8 or int16 [P], each stone's chain: its smallest point + 1, negative for white; 0 where empty.
      action: int32 [], in [0, P].
      to_play: +1 or -1, of the board's type, [].
      size: points on a side.
    """
    points = jnp.arange(size * size)
    here = points == action
    # The board from the mover's side: its own chains are positive.
    sided = board * to_play
    around = jnp.append(sided, jnp.zeros(1, board.dtype))[jnp.asarray(_around(size))[action]]  # [4]: chains next to the move
    free = (board == 0) & ~here
    beside = neighbours(sided, size)  # [4, P]
    # [4], over [4, 4, P]: whether the chain on one side has a liberty other than the move.
    alive = jnp.any((beside == around[:, None, None]) & free, axis=(1, 2))
    member = sided == around[:, None]  # [4, P]
    dead = (around < 0) & ~alive
    taken = jnp.any(member & dead[:, None], axis=0)
    joined = jnp.any(member & (around > 0)[:, None], axis=0) | here
    chain = jnp.min(jnp.where(around > 0, around, (action + 1).astype(board.dtype)), initial=(action + 1).astype(board.dtype))
    after = jnp.where(joined, chain, jnp.where(taken, 0, sided)) * to_play
    count = jnp.sum(taken, dtype=jnp.int32)
    # Retaking it would recreate the board if the new stone is alone and was surrounded.
    surrounded = jnp.all((around < 0) | jnp.asarray(_outside(size))[action])
    return Played(after, count, jnp.where((count == 1) & surrounded, jnp.argmax(taken), -1).astype(jnp.int32))


def legal_points(board: jax.Array, ko: jax.Array, to_play: jax.Array, size: int) -> jax.Array:
    """Where a stone may be put, bool [P]: empty points that are neither suicide nor the ko.

    Args:
      board: int8 or int16 [P], chain ids as for `place`.
      ko: integer [], the point that must not be retaken, or -1.
      to_play: +1 or -1, of the board's type, [].
      size: points on a side.
    """
    sided = board * to_play
    # A neighbour makes a point playable: an empty one, an own chain with another liberty, an enemy one without.
    helps = (board == 0) | ((sided > 0) ^ in_atari(board, size))
    return (board == 0) & jnp.any(neighbours(helps, size), axis=0) & (jnp.arange(size * size) != ko)


def in_atari(board: jax.Array, size: int) -> jax.Array:
    """Whether each stone's chain has a single liberty, bool [P]; undefined where there is no stone."""
    end = size * size + 1
    order, empty = jnp.arange(1, end), board == 0
    # The last liberty beside each point, and the first counted from the end; 0 for none.
    beside = [jnp.max(neighbours(jnp.where(empty, number, 0), size), axis=0) for number in (order, end - order)]
    # Scatters are slow on accelerators; on CPUs XLA would make the board of a move just played anew for each pair of points.
    last, first = jax.lax.platform_dependent(board, *beside, cpu=chain_maxima, default=chain_maxima_by_pairs)
    return last + first == end


def chain_maxima(board: jax.Array, *values: jax.Array) -> tuple[jax.Array, ...]:
    """The largest of integers [P] >= 0 within each point's chain, [P], for each of several; undefined where there is no stone."""
    chain, columns = jnp.abs(board).astype(jnp.int32), jnp.stack(values, axis=1)
    return tuple(jnp.zeros((len(board) + 1, len(values)), columns.dtype).at[chain].max(columns)[chain].T)


def chain_maxima_by_pairs(board: jax.Array, *values: jax.Array) -> tuple[jax.Array, ...]:
    """The same from all pairs of points: [P, P], but inside the reductions only."""
    same = board == board[:, None]
    return tuple(jnp.max(jnp.where(same, each, 0), axis=1) for each in values)


def _around(size: int) -> np.ndarray:
    """The points around each, int32 [P + 1, 4]; P beyond the edge and around the pass."""
    points = np.pad(np.arange(size * size, dtype=np.int32).reshape(size, size), 1, constant_values=size * size)
    beside = np.stack([points[:-2, 1:-1], points[2:, 1:-1], points[1:-1, :-2], points[1:-1, 2:]], axis=-1)
    return np.append(beside.reshape(-1, 4), np.full((1, 4), size * size, np.int32), axis=0)


def _outside(size: int) -> np.ndarray:
    """Which of them are beyond the edge, bool [P + 1, 4]."""
    return _around(size) == size * size
