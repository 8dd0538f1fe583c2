"""Compiles one function for a target and collects what the compiled program says."""

import dataclasses
import time
from collections.abc import Callable
from typing import Any

import jax

from jax_mlperf.plan import hlo
from jax_mlperf.plan.communication import Collective, collectives
from jax_mlperf.plan.products import Product, products
from jax_mlperf.plan.roofline import Kernel, Roofline, dearest, kernels, roofline
from jax_mlperf.plan.targets import Target

_DEAREST = 12  # kernels that a plan lists


@dataclasses.dataclass(frozen=True)
class Memory:
    """Bytes on each device; `aliased` are outputs that reuse the memory of donated arguments."""

    arguments: int
    outputs: int
    aliased: int
    temporaries: int
    code: int

    @property
    def total(self) -> int:
        """Bytes needed at once."""
        return self.arguments + self.outputs - self.aliased + self.temporaries + self.code


@dataclasses.dataclass(frozen=True)
class StepPlan:
    """What one compiled program needs and does on one device of the target.

    Attributes:
      target: the machine.
      mesh: axis names and sizes.
      compile_seconds: time that compiling took here.
      memory: bytes; `fits` compares their total with the memory that JAX uses by default.
      collectives, products: in program order.
      roofline: lower bound of the time.
      dearest: the kernels with the largest bounds.
    """

    target: Target
    mesh: dict[str, int]
    compile_seconds: float
    memory: Memory
    collectives: list[tuple[Collective, tuple[str, ...]]]
    products: list[Product]
    roofline: Roofline
    dearest: list[Kernel]

    @property
    def fits(self) -> bool:
        """Whether the step fits the device beside nothing else."""
        return self.memory.total <= self.target.memory_bytes * self.target.usable_fraction


def plan_step(
    fn: Callable[..., Any],
    args: tuple[Any, ...],
    mesh: jax.sharding.Mesh,
    target: Target,
) -> StepPlan:
    """Compiles `fn` for the devices of `mesh`.

    Args:
      fn: a function, or one that jax.jit already wrapped (then it keeps its own shardings and donations).
      args: pytrees of jax.ShapeDtypeStruct; every leaf carries a sharding over `mesh`.
      mesh: mesh of `topology_devices` (or of any devices that can compile).
      target: rates for the roofline.
    """
    jitted = fn if hasattr(fn, "lower") else jax.jit(fn)
    start = time.perf_counter()
    compiled = jitted.lower(*args).compile(compiler_options=compile_options(mesh))
    seconds = time.perf_counter() - start
    module = hlo.parse(compiled.as_text())
    comms = collectives(module)
    found = kernels(module, target)
    return StepPlan(
        target=target,
        mesh={str(name): size for name, size in mesh.shape.items()},
        compile_seconds=seconds,
        memory=_memory(compiled),
        collectives=[(comm, comm.axes(mesh)) for comm in comms],
        products=products(module),
        roofline=roofline(found, comms, module, target),
        dearest=dearest(found, _DEAREST),
    )


def compile_options(mesh: jax.sharding.Mesh) -> dict[str, bool]:
    """cuBLAS for all products on a GPU: untuned Triton products do not even compile for some shapes.

    On a real card XLA times both and takes the faster one (jaxlib 0.10.2: "Couldn't find output tile sizes").
    """
    is_gpu = mesh.devices.flat[0].platform in ("gpu", "cuda")
    return {"xla_gpu_enable_triton_gemm": False} if is_gpu else {}


def _memory(compiled: jax.stages.Compiled) -> Memory:
    stats = compiled.memory_analysis()
    if stats is None:
        raise RuntimeError("this backend does not report the memory of compiled programs")
    return Memory(
        stats.argument_size_in_bytes,
        stats.output_size_in_bytes,
        stats.alias_size_in_bytes,
        stats.temp_size_in_bytes,
        stats.generated_code_size_in_bytes,
    )
