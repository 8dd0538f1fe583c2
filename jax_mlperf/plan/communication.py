"""The collectives of a compiled program: kind, bytes, group, whether they can run beside the computation."""

import dataclasses
import math
import re
from typing import Any

import jax
import numpy as np

from jax_mlperf.plan import hlo

KINDS = (
    "all-reduce",
    "all-gather",
    "reduce-scatter",
    "all-to-all",
    "ragged-all-to-all",
    "collective-permute",
    "collective-broadcast",
)
_IOTA = r"\[[\d,]*\](?:T\([\d,]*\))?"  # an iota of device numbers, perhaps transposed: [4,8]T(1,0)


@dataclasses.dataclass(frozen=True)
class Collective:
    """One collective instruction.

    Attributes:
      kind: "all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute", ...
      dtype: of its (first) array, as HLO names it.
      bytes: per device: the larger of what goes in and what comes out, all combined arrays together.
      tensors: arrays that XLA combined into this one.
      group: partitions of the first of its groups, in the order of the mesh's devices.
      asynchronous: whether the compiler lets it run while other kernels do.
      count: executions in one call of the program.
      op_name: the JAX operation it came from, where XLA says.
    """

    kind: str
    dtype: str
    bytes: int
    tensors: int
    group: tuple[int, ...]
    asynchronous: bool
    count: int
    op_name: str

    def axes(self, mesh: jax.sharding.Mesh) -> tuple[str, ...]:
        """The mesh axes along which its group lies."""
        places = np.unravel_index(np.asarray(self.group), mesh.devices.shape)
        named = zip(mesh.axis_names, places, strict=True)
        return tuple(str(name) for name, place in named if len(set(place)) > 1)


def collectives(compiled: jax.stages.Compiled | hlo.Module) -> list[Collective]:
    """The collectives of a compiled program in program order; those over a single device are left out."""
    module = compiled if isinstance(compiled, hlo.Module) else hlo.parse(str(compiled.as_text()))
    found: list[Collective] = []
    fused_channels: set[str] = set()
    for execution in hlo.executions(module):
        kind = execution.instruction.opcode.removesuffix("-start")
        if kind not in KINDS:
            continue
        channel = hlo.attribute(execution.instruction, r"channel_id=(\d+)")
        if execution.caller is not None and channel in fused_channels:
            continue  # TPU: the pieces of one asynchronous collective share its channel
        if execution.caller is not None:
            fused_channels.add(channel)
        collective = _collective(kind, execution, module.partitions)
        if len(collective.group) > 1:
            found.append(collective)
    return found


def seconds(collective: Collective, devices_per_host: int, link: float, network: float) -> float:
    """Seconds of all executions by bandwidth alone: inside each host, then between hosts over every device.

    A ring over n devices sends (n-1)/n of the buffer for an all-gather or a reduce-scatter and twice that for
    an all-reduce; between hosts each device carries its share of the buffer.
    """
    size = len(collective.group)
    hosts = len({place // devices_per_host for place in collective.group})
    local = max(size // hosts, 1)
    passes = 2 if collective.kind == "all-reduce" else 1
    inside = collective.bytes * (local - 1) / local / link
    between = collective.bytes / local * (hosts - 1) / hosts / network
    return collective.count * passes * (inside + between)


def _collective(kind: str, execution: hlo.Execution, partitions: int) -> Collective:
    instruction = execution.instruction
    inputs = [array for operand in hlo.operands(execution) for array in operand.arrays]
    outputs = list(instruction.arrays)
    started = instruction.opcode.endswith("-start")
    if started and kind in ("all-gather", "reduce-scatter", "collective-permute"):
        outputs = outputs[len(inputs) : 2 * len(inputs)]  # a start returns (operands, results, contexts)
    inputs, outputs = inputs or outputs, outputs or inputs
    caller = execution.caller
    if caller is not None and "all-reduce-scatter" in caller.attributes:
        kind, outputs = "reduce-scatter", list(caller.arrays)  # TPU's fused form
    in_async = caller is not None and ("async" in caller.name or caller.opcode == "async-start")
    return Collective(
        kind=kind,
        dtype=(inputs or outputs)[0].dtype,
        bytes=max(sum(array.bytes for array in arrays) for arrays in (inputs, outputs)),
        tensors=len(inputs),
        group=_group(instruction, partitions),
        asynchronous=(started and '"is_sync":true' not in instruction.attributes) or in_async,
        count=execution.times,
        op_name=instruction.op_name,
    )


def _group(instruction: hlo.Instruction, partitions: int) -> tuple[int, ...]:
    """Partitions of the first replica group, from any of the forms in which XLA prints them."""
    text = instruction.attributes
    if found := re.search(r"source_target_pairs=\{\{(.*?)\}\}", text):
        return tuple(sorted({int(number) for number in re.findall(r"\d+", found[1])}))
    if found := re.search(r"replica_groups=\{\{([\d,]*)\}", text):
        return tuple(int(number) for number in found[1].split(","))
    if found := re.search(rf"replica_groups=(\[[\d,]*\])<=({_IOTA})", text):
        return tuple(_iota(found[2]).reshape(_numbers(found[1]))[0].tolist())
    if found := re.search(rf"replica_groups=mesh\[(.*?)\](?:, device_ids=\(({_IOTA})\))? \{{(.*?)\}}", text):
        return _mesh_group(found[1], found[2], found[3])
    return tuple(range(partitions))


def _iota(text: str) -> np.ndarray:
    """The device numbers of "[4,8]T(1,0)": an iota of that shape, transposed."""
    shape, _, order = text.partition("T")
    dims = _numbers(shape)
    numbers = np.arange(math.prod(dims)).reshape(dims)
    return numbers.transpose(_numbers(order)) if order else numbers


def _mesh_group(mesh: str, device_ids: str | None, axes: str) -> tuple[int, ...]:
    """First group of "mesh['a'=4,'b'=2], device_ids=(...) {'b'}"; 'a':(2)2 is the part of axis a behind 2."""
    names: list[str] = []
    sizes: list[int] = []
    parts = dict(re.findall(r"'([^']+)'(?::\((\d+\)\d+))?", axes))
    for name, size in re.findall(r"'([^']+)'=(\d+)", mesh):
        if parts.get(name):
            before, length = (int(number) for number in parts[name].split(")"))
            names += [f"{name}/before", name, f"{name}/behind"]
            sizes += [before, length, int(size) // (before * length)]
        else:
            names.append(name)
            sizes.append(int(size))
    devices = _iota(device_ids) if device_ids else np.arange(math.prod(sizes))
    index: tuple[Any, ...] = tuple(slice(None) if name in parts else 0 for name in names)
    return tuple(devices.reshape(sizes)[index].ravel().tolist())


def _numbers(text: str) -> list[int]:
    return [int(number) for number in re.findall(r"\d+", text)]
