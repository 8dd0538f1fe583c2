"""Batch norm over groups of samples with its gradient written out, optionally with a shortcut and a ReLU behind it."""

import math
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

# The mesh axis along which neighbouring devices may share statistics.
GROUP_AXIS = "data"
# Numbers in a row that XLA's CPU backend adds up fast; 256 to 2,048 are alike.
_CPU_ROW = 512

Outputs = tuple[jax.Array, jax.Array, jax.Array]


class _Settings(NamedTuple):
    groups: int
    group_devices: int
    epsilon: float
    relu: bool


class _Vectors(NamedTuple):
    """What the result is computed with: (x - mean) * factor + bias; factor = scale * inverse_deviation. [G, C]; bias [C]."""

    mean: jax.Array
    inverse_deviation: jax.Array
    factor: jax.Array
    bias: jax.Array


class _Residuals(NamedTuple):
    x: jax.Array
    y: jax.Array | None
    weights: jax.Array | None
    samples: jax.Array
    vectors: _Vectors


def _grouped(array: jax.Array, groups: int) -> jax.Array:
    """[B, ..., C] -> [G, n, C], n = B/G * pixels: sums over one axis, which the CPU does faster than over three."""
    return array.reshape(groups, -1, array.shape[-1])


def _sum_products(array: jax.Array) -> jax.Array:
    """[G, n, C] -> [G, C] of a product of several arrays; on the CPU first over rows of several pixels.

    XLA's CPU backend does not vectorise the sum over short rows of such a product: on ResNet-20's activations it takes 38 ms
    for what the sum of one array, or of its squares, does in 3 (jaxlib 0.10.2).
    """
    def over_wide_rows(array: jax.Array) -> jax.Array:
        groups, rows, channels = array.shape
        pixels = math.gcd(rows, 2 ** max(0, (_CPU_ROW // channels).bit_length() - 1))
        return array.reshape(groups, -1, pixels * channels).sum(axis=1).reshape(groups, pixels, channels).sum(axis=1)

    return lax.platform_dependent(array, cpu=over_wide_rows, default=lambda array: array.sum(axis=1))


def _row_weights(weights: jax.Array, x: jax.Array, groups: int) -> jax.Array:
    """[B] -> float32 [G, B/G * pixels, 1], every pixel with the weight of its row."""
    wide = weights.astype(jnp.float32).reshape(-1, *[1] * (x.ndim - 1))
    return _grouped(jnp.broadcast_to(wide, (*x.shape[:-1], 1)), groups)


def _sum_over_devices(local: tuple[jax.Array, ...], group_devices: int) -> tuple[jax.Array, ...]:
    """The sums over each run of `group_devices` neighbours on the mesh axis "data"."""
    if group_devices == 1:
        return local
    size = lax.axis_size(GROUP_AXIS)
    if size % group_devices:
        raise ValueError(f"{size} devices on mesh axis {GROUP_AXIS!r} do not split into groups of {group_devices}")
    neighbours = [list(range(first, first + group_devices)) for first in range(0, size, group_devices)]
    return lax.psum(local, GROUP_AXIS, axis_index_groups=neighbours)


def _statistics(
    rows: jax.Array, weights: jax.Array | None, settings: _Settings
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Mean [G, C], biased variance [G, C] and count of x [G, n, C], float32.

    One pass: E[x^2] - E[x]^2 loses digits where |mean| is large beside the deviation, by 6e-8 (mean / deviation)^2 of the
    variance. In bfloat16 x itself has lost more by then (4e-3 mean / deviation), and a convolution's output has no such mean.
    """
    wide = rows.astype(jnp.float32)
    if weights is None:
        sums = _sum_over_devices((wide.sum(axis=1), jnp.square(wide).sum(axis=1)), settings.group_devices)
        samples = jnp.float32(rows.shape[1] * settings.group_devices)
    else:
        weighted = wide * weights
        local = (_sum_products(weighted), _sum_products(weighted * wide), weights.sum(axis=1))
        sums = _sum_over_devices(local, settings.group_devices)
        samples = jnp.maximum(sums[2], 1.0)
    mean = sums[0] / samples
    return mean, jnp.maximum(sums[1] / samples - jnp.square(mean), 0.0), samples


def _affine(rows: jax.Array, vectors: _Vectors) -> jax.Array:
    return (rows.astype(jnp.float32) - vectors.mean[:, None]) * vectors.factor[:, None] + vectors.bias


def _forward(
    settings: _Settings, x: jax.Array, scale: jax.Array, bias: jax.Array, shortcut: jax.Array | None, weights: jax.Array | None
) -> tuple[Outputs, _Residuals]:
    rows = _grouped(x, settings.groups)
    row_weights = None if weights is None else _row_weights(weights, x, settings.groups)
    mean, variance, samples = _statistics(rows, row_weights, settings)
    inverse_deviation = lax.rsqrt(variance + settings.epsilon)
    vectors = _Vectors(mean, inverse_deviation, inverse_deviation * scale, bias)
    # The sum is one of x's dtype: in float32 XLA would carry the unrounded shortcut over from the block that made it.
    y = _affine(rows, vectors).astype(x.dtype).reshape(x.shape)
    y = y if shortcut is None else y + shortcut
    y = jnp.maximum(y, 0) if settings.relu else y
    return (y, mean, variance), _Residuals(x, None if shortcut is None else y, weights, samples, vectors)


def _before_relu(settings: _Settings, residuals: _Residuals, gradient: jax.Array) -> jax.Array:
    """The gradient [G, n, C] of what went into the ReLU, in x's dtype.

    With a shortcut the sign comes from y, which the next layer keeps anyway; without, from x, which the sums read anyway.
    """
    gradient = _grouped(gradient, settings.groups)
    if not settings.relu:
        return gradient
    if residuals.y is not None:
        # Not "> 0": XLA makes of max(a, 0) > 0 a test of a, and reads x and the shortcut for it.
        return jnp.where(_grouped(residuals.y, settings.groups) != 0, gradient, 0)
    return jnp.where(_affine(_grouped(residuals.x, settings.groups), residuals.vectors) > 0, gradient, 0)


def _backward(
    settings: _Settings, residuals: _Residuals, gradients: Outputs
) -> tuple[jax.Array, jax.Array, jax.Array, jax.Array | None, None]:
    """Two passes over x and the gradient: the sums over each group, then the gradient of x.

    With n the normed x, g the gradient and N the group's count, the gradient of x is
    (g - w/N sum(g) - w/N sum(g n) n) scale / deviation (Ioffe and Szegedy 2015, section 3; w: the row's weight).

    XLA stores what several reductions have in common, here the ReLU's mask of all pixels, rather than compute it again; behind
    a barrier each, they have nothing in common. With a shortcut the masked gradient is a result, and stored once.
    """
    rows = _grouped(residuals.x, settings.groups).astype(jnp.float32)

    def recomputed(vectors: _Vectors, *others: jax.Array) -> tuple[Any, ...]:
        vectors, *others = lax.optimization_barrier((vectors, *others))
        masked = _before_relu(settings, residuals._replace(vectors=vectors), gradients[0])
        return masked.astype(jnp.float32), rows - vectors.mean[:, None], vectors, *others

    masked, centred, vectors = recomputed(residuals.vectors)
    total = _sum_products(masked)
    if residuals.y is None:
        masked, centred, vectors = recomputed(vectors)
    projection = _sum_products(masked * centred) * vectors.inverse_deviation
    sums = _sum_over_devices((total, projection), settings.group_devices)
    constant, slope = sums[0] / residuals.samples, sums[1] / residuals.samples * vectors.inverse_deviation
    if residuals.y is None:
        masked, centred, vectors, constant, slope = recomputed(vectors, constant, slope)
    through_statistics = constant[:, None] + centred * slope[:, None]
    if residuals.weights is not None:
        through_statistics *= _row_weights(residuals.weights, residuals.x, settings.groups)
    gradient_x = (masked - through_statistics) * vectors.factor[:, None]

    def ungrouped(array: jax.Array) -> jax.Array:
        return array.astype(residuals.x.dtype).reshape(residuals.x.shape)

    shortcut = None if residuals.y is None else ungrouped(masked)
    return ungrouped(gradient_x), projection.sum(axis=0), total.sum(axis=0), shortcut, None


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _batch_norm(
    settings: _Settings, x: jax.Array, scale: jax.Array, bias: jax.Array, shortcut: jax.Array | None, weights: jax.Array | None
) -> Outputs:
    return _forward(settings, x, scale, bias, shortcut, weights)[0]


_batch_norm.defvjp(_forward, _backward)


def batch_norm(
    x: jax.Array, scale: jax.Array, bias: jax.Array, *, group_size: int, epsilon: float, weights: jax.Array | None = None,
    group_devices: int = 1, shortcut: jax.Array | None = None, relu: bool = False,
) -> Outputs:
    """Normalises each channel with the statistics of its group of samples (Ioffe and Szegedy 2015).

    No group spans devices unless `group_devices` asks for it, so no collective is hidden in it. The backward pass keeps x, two
    numbers a channel and, with a shortcut, y (which the next layer keeps too); it recomputes the rest, the ReLU's sign included.

    Args:
      x: any float array [B, ..., C].
      scale, bias: float32 [C].
      group_size: samples that share statistics: rows i * group_size to (i + 1) * group_size - 1 of x; 0 for all rows.
      epsilon: added to the variance.
      weights: [B], 1 for a sample and 0 for a padding row, which does not count in the statistics; None: all count.
      group_devices: neighbours on the mesh axis "data" whose rows are one group (inside shard_map); needs group_size 0 or B.
      shortcut: array of x's shape and dtype to add to the result, before the ReLU.
      relu: whether negative results become 0.

    Returns:
      (array of x's shape and dtype, mean [G, C], biased variance [G, C]), the latter two float32; no gradient flows
      through them. A group without samples has mean and variance 0.

    Raises:
      ValueError: group_size does not divide the batch, groups on a device are combined with groups of devices, or the devices
        do not split into such groups.
    """
    rows = x.shape[0]
    size = group_size or rows
    if rows % size:
        raise ValueError(f"group_size must divide the {rows} rows of the batch, got {group_size}")
    if group_devices > 1 and size != rows:
        raise ValueError(f"a group of {group_devices} devices needs all their rows: group_size 0 or {rows}, got {group_size}")
    return _batch_norm(_Settings(rows // size, group_devices, epsilon, relu), x, scale, bias, shortcut, weights)
