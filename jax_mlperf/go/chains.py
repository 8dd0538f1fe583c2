"""Neighbours and liberties of all points of a board at once."""

import jax
import jax.numpy as jnp


def liberties(board: jax.Array, size: int) -> jax.Array:
    """How many empty points the chain of each stone touches, int32 [P]; 0 where there is no stone.

    Args:
      board: int8 or int16 [P], chain ids.
      size: points on a side.
    """
    # [P, P]: whether the chain of one point touches the other, once however often; a single fused reduction, nothing is stored.
    touched = jnp.any(neighbours(board, size)[:, None, :] == board[None, :, None], axis=0) & (board == 0)
    return jnp.where(board == 0, 0, jnp.sum(touched, axis=-1, dtype=jnp.int32))


def neighbours(values: jax.Array, size: int) -> jax.Array:
    """The values above, below, left and right of every point, [4, P]; 0 or False beyond the edge."""
    grid = jnp.pad(values.reshape(size, size), 1)
    return jnp.stack([grid[:-2, 1:-1], grid[2:, 1:-1], grid[1:-1, :-2], grid[1:-1, 2:]]).reshape(4, size * size)
