"""Bytes that ResNet-50's training step moves on a GPU that is not there, by kind of kernel, ours beside XLA's own gradients.

    python perf/resnet50_plan.py [--size=resnet50|tiny] [--rows=N] [--target=h200] [--stem=conv7|space_to_depth] [--kernels]

Compiles the step (bf16, LARS) for the target without a device, and counts what every kernel reads and writes at least (see
jax_mlperf/plan/roofline.py). "plain" leaves batch norm, ReLU and max-pool to autodiff. Needs the extra "plan".
"""

import argparse
import dataclasses
import sys
from collections import defaultdict
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from resnet50 import SIZES, Size, make_step, plain

from jax_mlperf.plan import Target, find_target, hlo, topology_devices
from jax_mlperf.plan.roofline import Kernel, kernels
from jax_mlperf.plan.step import compile_options

LARGE = 20e6  # bytes; activations of ResNet-50 at batch 256 are larger, its parameters and statistics smaller


def compiled_text(size: Size, target: Target, stem: str) -> str:
    """The optimised HLO of the step."""
    mesh = Mesh(np.array(topology_devices(target, "1")[:1]), "data")
    init, step = make_step(size, jnp.bfloat16, stem=stem)
    batch = {"image": jax.ShapeDtypeStruct((size.rows, size.image, size.image, 3), jnp.uint8),
             "label": jax.ShapeDtypeStruct((size.rows,), jnp.int32)}
    here = NamedSharding(mesh, PartitionSpec())
    arguments = jax.tree.map(lambda leaf: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=here),
                             (jax.eval_shape(init), batch))
    return jax.jit(step, donate_argnums=0).lower(*arguments).compile(compiler_options=compile_options(mesh)).as_text()


def kind(module: hlo.Module, kernel: Kernel) -> str:
    """What a kernel is for."""
    instruction = next(body[kernel.name] for body in module.computations.values() if kernel.name in body)
    if "__cudnn$conv" in instruction.target:
        return "convolution"
    if kernel.flops:
        return "matrix product"
    if kernel.bytes < LARGE:
        return "small"
    if instruction.opcode != "fusion":
        return instruction.opcode
    inside = {inner.opcode for inner in module.computations[hlo.called(instruction)[0]].values()}
    return next((f"fusion with {name}" for name in ("reduce", "scatter") if name in inside), "fusion, elementwise")


def table(found: list[tuple[str, Kernel]]) -> str:
    """Kernels, bytes and least milliseconds by kind."""
    sums: dict[str, list[float]] = defaultdict(lambda: [0, 0, 0])
    for name, kernel in found:
        for key in (name, "total"):
            for place, value in enumerate((kernel.count, kernel.bytes / 1e9, 1e3 * kernel.seconds)):
                sums[key][place] += value
    lines = [f"{'':22}{'kernels':>8}{'GB':>9}{'ms':>8}"]
    return "\n".join([*lines, *(f"{name:22}{count:8.0f}{size:9.2f}{ms:8.2f}"
                                for name, (count, size, ms) in sorted(sums.items(), key=lambda item: item[1][1]))])


def report(text: str, target: Target, with_kernels: bool) -> str:
    """The table, and every large kernel in program order if asked."""
    module = hlo.parse(text)
    found = [(kind(module, kernel), kernel) for kernel in kernels(module, target)]
    lines = [f"{kernel.bytes / 1e6:8.0f} MB  {name:20} {kernel.name:34} {kernel.op_name}"
             for name, kernel in found if with_kernels and kernel.bytes >= LARGE]
    return "\n".join([table(found), *lines])


def main() -> None:
    """Parses flags, compiles both, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="resnet50")
    parser.add_argument("--rows", type=int, help="rows of a batch in place of the size's")
    parser.add_argument("--target", default="h200")
    parser.add_argument("--stem", choices=("conv7", "space_to_depth"), default="conv7")
    parser.add_argument("--kernels", action="store_true", help="list the kernels that move most")
    arguments = parser.parse_args()
    jax.config.update("jax_platforms", "cpu")
    target, size = find_target(arguments.target), SIZES[arguments.size]
    size = dataclasses.replace(size, rows=arguments.rows or size.rows)
    ours = compiled_text(size, target, arguments.stem)
    with plain():
        theirs = compiled_text(size, target, arguments.stem)
    for name, text in (("ours", ours), ("plain", theirs)):
        print(f"{name}, {size.rows} rows, {target.name}\n{report(text, target, arguments.kernels)}\n")


if __name__ == "__main__":
    main()
