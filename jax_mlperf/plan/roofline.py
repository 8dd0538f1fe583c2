"""Lower bound of a step's time from FLOPs, bytes and collectives.

Assumptions: every kernel reaches either the published peak of its unit or the published memory bandwidth; its
operands are read once and its result written once, and nothing stays in a cache between kernels; kernels run
one after another without gaps; asynchronous collectives hide behind all kernels, the others behind none. No
real step is as fast: compare plans with each other.
"""

import dataclasses
from collections.abc import Iterator

from jax_mlperf.plan import hlo
from jax_mlperf.plan.communication import KINDS, Collective, seconds
from jax_mlperf.plan.products import Product, product
from jax_mlperf.plan.targets import Target

# Instructions that move nothing: plumbing, control flow whose bodies count themselves, ends of pairs.
_FREE = frozenset(
    {
        "parameter",
        "constant",
        "tuple",
        "get-tuple-element",
        "bitcast",
        "while",
        "conditional",
        "call",
        "after-all",
        "partition-id",
        "replica-id",
        "opt-barrier",
        "async-done",
        "async-update",
        "copy-done",
        "slice-done",
        "domain",
    }
)
_SLICES = frozenset({"dynamic-slice", "gather", "slice"})


@dataclasses.dataclass(frozen=True)
class Kernel:
    """One kernel of the schedule.

    Attributes:
      name: HLO instruction.
      op_name: the JAX operation it came from.
      count: executions in one step.
      flops, bytes, seconds: of all executions on one device.
    """

    name: str
    op_name: str
    count: int
    flops: int
    bytes: int
    seconds: float


@dataclasses.dataclass(frozen=True)
class Roofline:
    """Bounds of one step on one device, seconds.

    Attributes:
      flops, bytes: of products, and moved to and from device memory.
      flops_seconds, bytes_seconds: each alone, at the peak of each product's dtype.
      kernel_seconds: sum over kernels of the larger of the two.
      collective_seconds: all collectives; exposed_seconds: those that no kernel can hide.
      step_seconds: kernel_seconds + exposed_seconds.
      kernels: number of kernel launches.
    """

    flops: int
    bytes: int
    flops_seconds: float
    bytes_seconds: float
    kernel_seconds: float
    collective_seconds: float
    exposed_seconds: float
    step_seconds: float
    kernels: int


def kernels(module: hlo.Module, target: Target) -> list[Kernel]:
    """Every kernel with its bound, in program order; collectives are not among them."""
    return [_kernel(module, execution, inside, target) for execution, inside in _group(module)]


def roofline(found: list[Kernel], comms: list[Collective], module: hlo.Module, target: Target) -> Roofline:
    """Sums up kernels and collectives."""
    rates = (target.devices_per_host, target.link_bandwidth, target.network_bandwidth)
    all_products = [p for _, inside in _group(module) for p in inside]
    hidden = sum(seconds(c, *rates) for c in comms if c.asynchronous)
    blocking = sum(seconds(c, *rates) for c in comms if not c.asynchronous)
    kernel_seconds = sum(kernel.seconds for kernel in found)
    exposed = blocking + max(0.0, hidden - kernel_seconds)
    moved = sum(kernel.bytes for kernel in found)
    return Roofline(
        flops=sum(p.flops * p.count for p in all_products),
        bytes=moved,
        flops_seconds=sum(p.flops * p.count / target.peak(p.dtype) for p in all_products),
        bytes_seconds=moved / target.memory_bandwidth,
        kernel_seconds=kernel_seconds,
        collective_seconds=hidden + blocking,
        exposed_seconds=exposed,
        step_seconds=kernel_seconds + exposed,
        kernels=sum(kernel.count for kernel in found),
    )


def _group(module: hlo.Module) -> Iterator[tuple[hlo.Execution, list[Product]]]:
    """Kernels with the products inside them."""
    current: tuple[hlo.Execution, list[Product]] | None = None
    for execution in hlo.executions(module):
        if execution.caller is None:
            if current:
                yield current
            current = None if _is_free(execution.instruction) else (execution, [])
        if current and (found := product(execution)):
            current[1].append(found)
    if current:
        yield current


def _is_free(instruction: hlo.Instruction) -> bool:
    opcode = instruction.opcode
    return opcode in _FREE or any(opcode.startswith(kind) for kind in KINDS)


def _kernel(module: hlo.Module, execution: hlo.Execution, inside: list[Product], target: Target) -> Kernel:
    instruction, times = execution.instruction, execution.times
    moved = _bytes(module, execution)
    compute = sum(p.flops / target.peak(p.dtype) for p in inside)
    return Kernel(
        instruction.name,
        instruction.op_name or instruction.target,
        times,
        flops=times * sum(p.flops for p in inside),
        bytes=times * moved,
        seconds=times * max(compute, moved / target.memory_bandwidth),
    )


def _bytes(module: hlo.Module, execution: hlo.Execution) -> int:
    """Bytes that one execution reads and writes; slices of large arrays count as what they touch."""
    instruction = execution.instruction
    sources = hlo.operands(execution)
    if instruction.opcode in _SLICES:
        return 2 * instruction.bytes
    if instruction.opcode == "dynamic-update-slice":
        return 2 * sources[1].bytes
    if instruction.opcode != "fusion":
        return instruction.bytes + sum(source.bytes for source in sources)
    body = module.computations[hlo.called(instruction)[0]]
    numbers = {int(i.literal): i for i in body.values() if i.opcode == "parameter"}
    read = sum(_read_bytes(body, numbers[number]) for number in range(len(sources)) if number in numbers)
    return read + _written_bytes(body)


def _read_bytes(body: hlo.Computation, parameter: hlo.Instruction) -> int:
    users = [user for user in body.values() if parameter.name in user.operands]
    touched = 0
    for user in users:
        if user.opcode in _SLICES and user.operands[0] == parameter.name:
            touched += user.bytes
        elif user.opcode == "dynamic-update-slice" and user.operands[0] == parameter.name:
            touched += 0  # updated in place
        else:
            return parameter.bytes
    return min(touched, parameter.bytes)


def _written_bytes(body: hlo.Computation) -> int:
    root = next(i for i in body.values() if i.root)
    results = [body[name] for name in root.operands] if root.opcode == "tuple" else [root]
    return sum(body[r.operands[1]].bytes if r.opcode == "dynamic-update-slice" else r.bytes for r in results)


def dearest(found: list[Kernel], limit: int) -> list[Kernel]:
    """The `limit` dearest kernels, dearest first."""
    return sorted(found, key=lambda kernel: -kernel.seconds)[:limit]
