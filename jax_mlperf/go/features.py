"""What the networks see of a position: stones of the newest boards, who moves, liberties, captures."""

from typing import Literal, get_args

import jax
import jax.numpy as jnp

from jax_mlperf.errors import UserError
from jax_mlperf.go.chains import liberties, neighbours

PlaneKind = Literal["agz", "mlperf07"]
# The second kind is of MLPerf 0.7 and later (`tensorflow/minigo:cc/model/features.h`): four boards, three planes of liberties
# and one of captures.
_MLPERF07_BOARDS = 4


def boards_seen(kind: PlaneKind, history: int) -> int:
    """How many boards the planes of a kind are made of; `history` is what the kind "agz" has."""
    if kind not in get_args(PlaneKind):
        raise UserError(f"input planes {kind!r}: must be one of {', '.join(get_args(PlaneKind))}")
    return history if kind == "agz" else _MLPERF07_BOARDS


def plane_count(kind: PlaneKind, history: int) -> int:
    """How many planes a kind has: 17 for "agz" with 8 boards, 13 for "mlperf07"."""
    return 2 * boards_seen(kind, history) + 1 + (4 if kind == "mlperf07" else 0)


def planes(kind: PlaneKind, history: jax.Array, board: jax.Array, ko: jax.Array, black_to_move: jax.Array,
           size: int) -> jax.Array:
    """All planes of a position, bool [size, size, plane_count].

    Args:
      kind: "agz" reads nothing but `history` and `black_to_move`.
      history: int8 [H, P], newest first, as in a Position; "mlperf07" reads the newest four.
      board: int8 or int16 [P], chain ids.
      ko: integer [], the point that must not be retaken or -1; for stored boards see `ko_point`.
      black_to_move: bool [].
      size: points on a side.
    """
    stones = stone_planes(history[:boards_seen(kind, len(history))], black_to_move, size)
    if kind == "agz":
        return stones
    return jnp.concatenate([stones, liberty_planes(board, ko, black_to_move, size)], axis=-1)


def stone_planes(history: jax.Array, black_to_move: jax.Array, size: int) -> jax.Array:
    """The planes of AlphaGo Zero, bool [size, size, 2H + 1].

    Planes 2t and 2t + 1 are the stones, t moves ago, of the side to move and of its opponent; the last is all ones if black is
    to move (`tensorflow/minigo:features.py`; the opposite of pgx's).

    Args:
      history: int8 [H, P], newest first: +1 black, -1 white.
      black_to_move: bool [].
      size: points on a side.
    """
    own = jnp.where(black_to_move, 1, -1).astype(history.dtype)
    stones = jnp.stack([history == own, history == -own], axis=1).reshape(-1, size * size)
    colour = jnp.broadcast_to(black_to_move, (1, size * size))
    return jnp.concatenate([stones, colour]).T.reshape(size, size, -1)


def liberty_planes(board: jax.Array, ko: jax.Array, black_to_move: jax.Array, size: int) -> jax.Array:
    """The last four planes of "mlperf07", bool [size, size, 4].

    Stones of either colour whose chains have 1, 2, 3 or more liberties (the C++ reference; the Python one has exactly 3 in the
    third); and the legal points where the side to move would capture.

    Args:
      board: int8 or int16 [P], chain ids.
      ko: integer [], the point that must not be retaken, or -1.
      black_to_move: bool [].
      size: points on a side.
    """
    count = liberties(board, size)
    enemy = jnp.where(black_to_move, board < 0, board > 0)
    captures = jnp.any(neighbours(enemy & (count == 1), size), axis=0) & (board == 0) & (jnp.arange(size * size) != ko)
    return jnp.stack([count == 1, count == 2, count >= 3, captures], axis=-1).reshape(size, size, 4)


def ko_point(history: jax.Array, size: int) -> jax.Array:
    """The point that must not be retaken, int32 [], or -1, from the newest two boards alone.

    That is where the only stone that has just vanished was, if all other neighbours of the stone that took it are of the
    vanished stone's colour: putting it back would recreate the board before. After `Rules.skip_turn`, which clears the ko and
    makes no board, it is wrong: it is for games without skipped turns, as those of self-play are.

    Args:
      history: int8 [H >= 2, P], newest first: +1 black, -1 white.
      size: points on a side.
    """
    now, before = history[0], history[1]
    vanished = (before != 0) & (now == 0)
    placed = (before == 0) & (now != 0)
    # The taker would be captured in return: no neighbour of its own colour, and no empty one but the vanished stone's point.
    safe = jnp.any((neighbours(now, size) == now) | neighbours((now == 0) & ~vanished, size), axis=0)
    retaken = (jnp.sum(vanished) == 1) & jnp.any(placed & ~safe)
    return jnp.where(retaken, jnp.argmax(vanished), -1).astype(jnp.int32)
