"""The device mesh, and where batches and parameters lie on it.

Two axes: "data" splits the batch; "fsdp" splits the batch too, and the parameters and optimizer state besides.
"""

from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_mlperf.errors import UserError
from jax_mlperf.types import PyTree

BATCH_AXES = ("data", "fsdp")
# Smaller arrays cost more in latency when they are gathered than they take in memory.
MIN_SHARDED_ELEMENTS = 2**12


def make_mesh(data: int, fsdp: int, devices: Sequence[jax.Device] | None = None) -> Mesh:
    """A mesh [data, fsdp] over the devices, in their order; -1 for one axis means all that the other one leaves.

    Raises:
      UserError: the two sizes do not multiply to the number of devices.
    """
    devices = list(jax.devices() if devices is None else devices)
    count = len(devices)
    sizes = [data, fsdp]
    if -1 in sizes:
        known = -data * fsdp if sizes.count(-1) == 1 else 1
        sizes[sizes.index(-1)] = count // known if known > 0 and count % known == 0 else -1
    if min(sizes) < 1 or sizes[0] * sizes[1] != count:
        raise UserError(f"config.mesh (data={data}, fsdp={fsdp}) does not fit {count} devices: "
                        f"data * fsdp must be {count}; set one of them to -1 for all that remain")
    return Mesh(np.asarray(devices).reshape(sizes), BATCH_AXES, axis_types=(jax.sharding.AxisType.Auto,) * 2)


def replicated(mesh: Mesh) -> NamedSharding:
    """The whole array on every device."""
    return NamedSharding(mesh, PartitionSpec())


def batch_shardings(mesh: Mesh, batch: PyTree, leading: int = 0) -> PyTree:
    """Splits the first axis of each leaf (the one after `leading` stacked axes) over all devices; scalars are copied.

    Args:
      mesh: the mesh.
      batch: pytree of arrays or ShapeDtypeStructs, without the stacked axes.
      leading: axes that will stand before the batch axis (steps of one dispatch).
    """
    def sharding(leaf: Any) -> NamedSharding:
        axes = (BATCH_AXES,) if leaf.ndim else ()
        return NamedSharding(mesh, PartitionSpec(*(None,) * leading, *axes))

    return jax.tree.map(sharding, batch)


def state_shardings(mesh: Mesh, state: PyTree) -> PyTree:
    """Splits each large array of the state over "fsdp", along its largest axis that divides; the rest is replicated."""
    size = mesh.shape["fsdp"]

    def sharding(leaf: Any) -> NamedSharding:
        divisible = [axis for axis in range(leaf.ndim) if leaf.shape[axis] % size == 0]
        if size == 1 or leaf.size < MIN_SHARDED_ELEMENTS or not divisible:
            return replicated(mesh)
        axis = max(divisible, key=lambda axis: leaf.shape[axis])
        return NamedSharding(mesh, PartitionSpec(*(None,) * axis, "fsdp"))

    return jax.tree.map(sharding, state)


def placed_like(tree: PyTree, like: PyTree) -> PyTree:
    """Host arrays, the same on every process, with dtypes and shardings of the device arrays `like`."""
    def place(array: Any, target: jax.Array) -> jax.Array:
        values = np.asarray(array, target.dtype)
        return jax.make_array_from_callback(target.shape, target.sharding, lambda index: values[index])

    return jax.tree.map(place, tree, like)


def check_batch_divides(rows: int, parts: int, what: str) -> None:
    """Refuses a number of rows that does not split evenly over the devices.

    Raises:
      UserError: names the nearest sizes that would do.
    """
    if rows % parts:
        lower = rows // parts * parts
        nearest = f"{lower} or {lower + parts}" if lower else f"{parts}"
        raise UserError(f"{what} {rows} does not divide over {parts} devices; {nearest} would")


def summed_over_devices(function: Callable[..., PyTree], mesh: Mesh | None) -> Callable[..., PyTree]:
    """`function(params, batch, data) -> sums over the batch`, computed on each device for its own rows and added up.

    Left to itself the partitioner moves the operands of look-ups and loops between the devices.
    """
    if mesh is None or mesh.size == 1:
        return function

    def summed(params: PyTree, batch: PyTree, data: PyTree) -> PyTree:
        rows = jax.tree.map(lambda leaf: PartitionSpec(BATCH_AXES) if leaf.ndim else PartitionSpec(), batch)
        whole = PartitionSpec()
        return jax.shard_map(lambda *arguments: jax.lax.psum(function(*arguments), BATCH_AXES), mesh=mesh,
                             in_specs=(whole, rows, whole), out_specs=whole, check_vma=False)(params, batch, data)

    return summed
