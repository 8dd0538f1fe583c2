"""How long the gradients' all-reduce alone takes: what a step would save on one device."""

import statistics
import time

import jax
import jax.numpy as jnp
from jax.sharding import Mesh, PartitionSpec

from jax_mlperf.parallel.mesh import BATCH_AXES, replicated
from jax_mlperf.types import PyTree

_REPEATS = 10


def all_reduce_bytes(params: PyTree) -> int:
    """Bytes of the gradients that each device contributes: those of the parameters, float32."""
    return sum(leaf.size * 4 for leaf in jax.tree.leaves(params))


def all_reduce_seconds(mesh: Mesh, params: PyTree) -> float:
    """Seconds of one sum over all devices of arrays shaped like `params` (arrays or shapes); 0 on one device.

    The median of several; in training, part of it may hide behind the backward pass.
    """
    if mesh.size == 1:
        return 0.0

    def reduce(gradients: PyTree) -> PyTree:
        return jax.tree.map(lambda leaf: jax.lax.psum(leaf, BATCH_AXES), gradients)

    whole = PartitionSpec()
    function = jax.jit(jax.shard_map(reduce, mesh=mesh, in_specs=(whole,), out_specs=whole, check_vma=False))
    make = jax.jit(lambda: jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, jnp.float32), params), out_shardings=replicated(mesh))
    gradients = jax.block_until_ready(function(make()))
    seconds = []
    for _ in range(_REPEATS):
        start = time.perf_counter()
        jax.block_until_ready(function(gradients))
        seconds.append(time.perf_counter() - start)
    return statistics.median(seconds)
