"""Max-pooling whose gradient is a gather."""

import functools

import jax
import jax.numpy as jnp
from jax import lax

Padding = tuple[tuple[int, int], tuple[int, int]]


def _taps(x: jax.Array, window: int, stride: int, padding: Padding) -> list[jax.Array]:
    """The window * window strided slices [B, H', W', C] whose maximum is the result, row by row."""
    lowest = jnp.array(-jnp.inf, x.dtype)
    padded = lax.pad(x, lowest, [(0, 0, 0), (*padding[0], 0), (*padding[1], 0), (0, 0, 0)])
    rows, columns = ((size - window) // stride + 1 for size in padded.shape[1:3])
    return [
        lax.slice(padded, (0, top, left, 0),
                  (x.shape[0], top + (rows - 1) * stride + 1, left + (columns - 1) * stride + 1, x.shape[3]),
                  (1, stride, stride, 1))
        for top in range(window) for left in range(window)
    ]


def _forward(x: jax.Array, window: int, stride: int, padding: Padding) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    first, *others = _taps(x, window, stride, padding)
    largest, index = first, jnp.zeros(first.shape, jnp.uint8)
    for number, tap in enumerate(others, 1):
        index = jnp.where(tap > largest, jnp.uint8(number), index)
        largest = jnp.maximum(largest, tap)
    return largest, (index, jnp.zeros((0, *x.shape[1:3]), x.dtype))  # the latter only carries the shape


def _backward(
    window: int, stride: int, padding: Padding, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array]:
    """Every position adds the gradients of the windows whose first maximum it is.

    XLA's own gradient scatters, on GPUs with atomic operations; this reads one byte and one gradient a window.
    """
    index, shape = residuals
    zero = jnp.zeros((), gradient.dtype)

    def spread(axis: int, tap: int) -> tuple[int, int, int]:
        low = tap - padding[axis - 1][0]
        covered = (gradient.shape[axis] - 1) * stride + 1
        return low, shape.shape[axis] - covered - low, stride - 1

    def placed(number: int) -> jax.Array:
        chosen = jnp.where(index == number, gradient, zero)
        return lax.pad(chosen, zero, [(0, 0, 0), spread(1, number // window), spread(2, number % window), (0, 0, 0)])

    return (functools.reduce(jnp.add, [placed(number) for number in range(window * window)]),)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def max_pool(x: jax.Array, window: int, stride: int, padding: Padding) -> jax.Array:
    """The maximum of each window; where it is reached twice, the gradient goes to the first, row by row.

    Args:
      x: float [B, H, W, C].
      window, stride: of both axes.
      padding: (low, high) of each of the two axes; padding is never the maximum.

    Returns:
      [B, H', W', C] in x's dtype.
    """
    first, *others = _taps(x, window, stride, padding)
    for tap in others:
        first = jnp.maximum(first, tap)
    return first


max_pool.defvjp(_forward, _backward)
