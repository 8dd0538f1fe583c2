"""The eight symmetries of the board, on input planes and on policies; the pass stays where it is."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np

# Quarter turns counterclockwise of the board 0 to 3 times, then of its transpose (`tensorflow/minigo:symmetries.py`).
SYMMETRIES = 8


@functools.cache
def tables(size: int) -> np.ndarray:
    """Which action of the original board each of a transformed board is, int32 [8, size * size + 1]."""
    points = np.arange(size * size, dtype=np.int32).reshape(size, size)
    boards = [np.rot90(board, turns) for board in (points, points.T) for turns in range(4)]
    return np.stack([np.append(board.ravel(), np.int32(size * size)) for board in boards])


@functools.cache
def inverse_tables(size: int) -> np.ndarray:
    """Which action of a transformed board each of the original board is, int32 [8, size * size + 1]."""
    return np.argsort(tables(size), axis=1).astype(np.int32)


def apply_planes(planes: jax.Array, symmetry: jax.Array) -> jax.Array:
    """Transforms planes [size, size, C] by a symmetry, int32 [] in [0, 8)."""
    size = planes.shape[0]
    source = jnp.asarray(tables(size)[:, :-1])[symmetry]
    return planes.reshape(size * size, -1)[source].reshape(planes.shape)


def apply_policy(policy: jax.Array, symmetry: jax.Array) -> jax.Array:
    """A policy [A] of the original board, A = size * size + 1, as one of the transformed board."""
    return policy[jnp.asarray(tables(_size(policy)))[symmetry]]


def undo_policy(policy: jax.Array, symmetry: jax.Array) -> jax.Array:
    """A policy [A] of the transformed board, A = size * size + 1, as one of the original board."""
    return policy[jnp.asarray(inverse_tables(_size(policy)))[symmetry]]


def _size(policy: jax.Array) -> int:
    return math.isqrt(policy.shape[0] - 1)
