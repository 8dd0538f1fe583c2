"""Area scoring: stones, and the empty regions that touch one colour only."""

import jax
import jax.numpy as jnp

# A row of the board is a bit mask in a uint32.
_LARGEST_SIZE = 32


def area(stones: jax.Array, size: int) -> jax.Array:
    """Black's and white's area, int32 [2]; regions that touch both colours, or none, belong to nobody.

    From its stones each colour spreads over whatever is not the other's: it thus reaches its stones and all empty regions that
    touch one of them, and its area is what it alone reaches. A sweep goes down and up all rows and spreads along each; sweeps
    follow until no board of the batch has a reached point beside a free one that is not. That is what the definition asks for,
    so the result is exact. A path that turns k times between up and down needs at most k / 2 + 1 sweeps; a batch whose boards
    are all empty needs none.

    Args:
      stones: signed integers [size * size]: positive for black, negative for white.
      size: points on a side, at most 32.
    """
    if size > _LARGEST_SIZE:
        raise ValueError(f"rows of {size} points do not fit 32 bits")
    grid = stones.reshape(size, size)
    columns = jnp.uint32(1) << jnp.arange(size, dtype=jnp.uint32)
    own = jnp.sum(jnp.where(jnp.stack([grid > 0, grid < 0]), columns, jnp.uint32(0)), axis=-1, dtype=jnp.uint32)
    free = jnp.uint32(2**size - 1) & ~own[::-1]
    free_rows = list(free.T)

    def sweep(state: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array]:
        down = _spread_down(list(state[0].T), free_rows)
        rows = _spread_down(down[::-1], free_rows[::-1])[::-1]
        return jnp.stack(rows, axis=1), _unfinished(rows, free_rows)

    reached, _ = jax.lax.while_loop(lambda state: state[1], sweep, (own, jnp.any(own != 0)))
    return jnp.sum(jax.lax.population_count(reached & ~reached[::-1]), axis=1, dtype=jnp.int32)


def _spread_down(reached: list[jax.Array], free: list[jax.Array]) -> list[jax.Array]:
    """Along every row, and from each to the next; rows uint32 [2]."""
    above = jnp.zeros_like(reached[0])
    result = []
    for row, allowed in zip(reached, free, strict=True):
        above = _spread_along((row | above) & allowed, allowed, len(free))
        result.append(above)
    return result


def _spread_along(row: jax.Array, allowed: jax.Array, size: int) -> jax.Array:
    """Fills every run of allowed points that has a reached one."""
    # The carry of an addition runs from a run's lowest reached bit to its end.
    row = row | (allowed & ~(allowed + row))
    # No carry runs the other way: steps of 1, 2, 4, ... as in a parallel prefix sum.
    step = 1
    while step < size:
        row = row | (allowed & (row >> step))
        allowed = allowed & (allowed >> step)
        step *= 2
    return row


def _unfinished(reached: list[jax.Array], free: list[jax.Array]) -> jax.Array:
    """Whether a sweep left something to reach, bool []: that can only be downwards, for it ended with rows and upwards."""
    left = jnp.zeros_like(reached[0])
    for row, below, allowed in zip(reached[:-1], reached[1:], free[1:], strict=True):
        left |= row & allowed & ~below
    return jnp.any(left != 0)
