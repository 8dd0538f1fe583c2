"""Muon: momentum whose matrices are orthogonalised, with renormalised weights.

Facts: `KellerJordan/cifar10-airbench:airbench94_muon.py`.
"""

import math
from collections import defaultdict
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jax_mlperf.ops.newton_schulz import newton_schulz
from jax_mlperf.types import PyTree


class MuonState(NamedTuple):
    """int32 [] updates made, and the momentum of every parameter, float32."""

    updates_made: jax.Array
    momentum: PyTree


def muon(
    learning_rate: optax.Schedule, *, momentum: float = 0.6, dtype: jax.typing.DTypeLike = jnp.bfloat16
) -> optax.GradientTransformation:
    """Muon for kernels [..., in, out], each taken as the matrix [taps * in, out].

    m <- momentum * m + g; the kernel is scaled to Frobenius norm sqrt(out) and then moves by learning rate times the
    Newton-Schulz iterate of g + momentum * m (Nesterov). No weight decay. Kernels of one shape are orthogonalised in one call.

    Args:
      learning_rate: from the number of updates made before this one.
      momentum: see above.
      dtype: of the products; see ops.newton_schulz.

    Returns:
      a transformation whose `update` needs the parameters and returns what to add to them.
    """

    def init(params: PyTree) -> MuonState:
        return MuonState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))

    def update(gradients: PyTree, state: MuonState, params: PyTree | None = None) -> tuple[PyTree, MuonState]:
        if params is None:
            raise ValueError("muon renormalises the parameters: give them to update")
        average = jax.tree.map(lambda m, g: momentum * m + g, state.momentum, gradients)
        ahead = jax.tree.map(lambda m, g: g + momentum * m, average, gradients)
        leaves, structure = jax.tree.flatten(ahead)
        directions = jax.tree.unflatten(structure, _orthogonalised(leaves, dtype))
        rate = learning_rate(state.updates_made)

        def change(kernel: jax.Array, direction: jax.Array) -> jax.Array:
            scale = math.sqrt(kernel.shape[-1]) / jnp.linalg.norm(kernel.reshape(-1))
            return kernel * (scale - 1) - rate * direction

        return jax.tree.map(change, params, directions), MuonState(state.updates_made + 1, average)

    return optax.GradientTransformation(init, update)


def _orthogonalised(kernels: list[jax.Array], dtype: jax.typing.DTypeLike) -> list[jax.Array]:
    """The Newton-Schulz iterate of each kernel, float32, all of one shape in one batched product."""
    by_shape: dict[tuple[int, ...], list[int]] = defaultdict(list)
    for number, kernel in enumerate(kernels):
        by_shape[kernel.shape].append(number)
    results = list(kernels)
    for shape, numbers in by_shape.items():
        stacked = jnp.stack([kernels[number].reshape(-1, shape[-1]) for number in numbers])
        directions = newton_schulz(stacked, dtype=dtype)
        for number, direction in zip(numbers, directions.astype(jnp.float32), strict=True):
            results[number] = direction.reshape(shape)
    return results
