"""Convolutions on the CPU, layer by layer: ops.convolution against XLA's own form.

    python perf/convolution.py [--shapes=TEXT] [--seconds=S] [--scan]

Forward, gradient of the input and gradient of the kernel separately, float32; --scan runs each as the body of a lax.scan of
two steps (and prints the time of one). A figure is the median over the calls, the two forms in turn, of milliseconds of
processor time, all threads together: unlike wall time it hardly depends on what else the machine does.
"""

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from jax_mlperf.ops.convolution import Padding, conv2d

# name: N, H = W, Ci, Co, kernel size, stride, padding
SHAPES: dict[str, tuple[int, int, int, int, int, int, Padding]] = {
    "resnet20 stem": (128, 32, 3, 16, 3, 1, "SAME"), "resnet20 1": (128, 32, 16, 16, 3, 1, "SAME"),
    "resnet20 1-2": (128, 32, 16, 32, 3, 2, ((1, 1), (1, 1))), "resnet20 1-2 1x1": (128, 32, 16, 32, 1, 2, "VALID"),
    "resnet20 2": (128, 16, 32, 32, 3, 1, "SAME"), "resnet20 2-3": (128, 16, 32, 64, 3, 2, ((1, 1), (1, 1))),
    "resnet20 3": (128, 8, 64, 64, 3, 1, "SAME"),
    "airbench stem": (32, 32, 3, 24, 2, 1, "VALID"), "airbench 1": (32, 31, 24, 64, 3, 1, "SAME"),
    "airbench 2": (32, 15, 64, 256, 3, 1, "SAME"), "airbench 3": (32, 7, 256, 256, 3, 1, "SAME"),
    "resnet50 stem": (4, 224, 3, 64, 7, 2, "SAME"), "resnet50 1 1x1": (4, 56, 256, 64, 1, 1, "VALID"),
    "resnet50 1 3x3": (4, 56, 64, 64, 3, 1, "SAME"), "resnet50 3 3x3": (4, 14, 256, 256, 3, 1, "SAME"),
    "resnet50 3-4 3x3": (4, 14, 512, 512, 3, 2, "SAME"), "resnet50 4 3x3": (4, 7, 512, 512, 3, 1, "SAME"),
    "tiny stem": (32, 64, 3, 8, 7, 2, "SAME"), "tiny 1": (32, 16, 8, 8, 3, 1, "SAME"), "tiny 1x1": (32, 16, 32, 8, 1, 1, "VALID"),
}  # fmt: skip

Convolution = Callable[..., jax.Array]


def plain(x: jax.Array, kernel: jax.Array, *, stride: int, padding: Padding) -> jax.Array:
    """What ops.convolution replaces."""
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def programs(form: Convolution, shape: tuple[int, int, int, int, int, int, Padding], scan: bool) -> list[Callable[[], None]]:
    """Calls that make the forward pass and the two gradients, and wait."""
    n, size, ci, co, k, stride, padding = shape
    rng = np.random.default_rng(0)

    def forward(x: jax.Array, kernel: jax.Array) -> jax.Array:
        return form(x, kernel, stride=stride, padding=padding)

    x, kernel = (jnp.asarray(rng.standard_normal(s, np.float32)) for s in ((n, size, size, ci), (k, k, ci, co)))
    gradient = jnp.asarray(rng.standard_normal(jax.eval_shape(forward, x, kernel).shape, np.float32))
    functions = [lambda x, kernel, gradient: forward(x, kernel),
                 lambda x, kernel, gradient: jax.vjp(lambda x: forward(x, kernel), x)[1](gradient)[0],
                 lambda x, kernel, gradient: jax.vjp(lambda kernel: forward(x, kernel), kernel)[1](gradient)[0]]

    def repeated(function: Convolution) -> Callable[..., tuple[jax.Array, jax.Array]]:
        def body(carry: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
            out = function(x + carry, kernel + carry, gradient + carry)
            return carry + 1e-9 * out.ravel()[0], out
        return lambda *_: lax.scan(body, jnp.float32(0), length=2)

    def call(function: Convolution) -> Callable[[], None]:
        body: Callable[..., object] = repeated(function) if scan else function
        compiled = jax.jit(body).lower(x, kernel, gradient).compile()
        return lambda: jax.block_until_ready(compiled(x, kernel, gradient))

    return [call(function) for function in functions]


def processor_ms(calls: list[Callable[[], None]], seconds: float) -> list[float]:
    """Median milliseconds of each, in turn for about `seconds` altogether."""
    times: list[list[float]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 3:
        for call, list_ in zip(calls, times, strict=True):
            start = time.process_time()
            call()
            list_.append(time.process_time() - start)
    return [1e3 * statistics.median(list_[1:]) for list_ in times]


def main() -> None:
    """Parses flags, measures, prints a line a shape."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", default="", help="only those whose name contains this")
    parser.add_argument("--seconds", type=float, default=0.5, help="for each pair of calls")
    parser.add_argument("--scan", action="store_true")
    arguments = parser.parse_args()
    print(f"{'ms of processor time':20}" + "".join(f"{name + ': plain':>18}{'ours':>8}{'ratio':>7}"
                                                   for name in ("forward", "input", "kernel")))  # fmt: skip
    for name, shape in SHAPES.items():
        if arguments.shapes in name:
            cells = []
            for pair in zip(*(programs(form, shape, arguments.scan) for form in (plain, conv2d)), strict=True):
                before, after = (value / (1 + arguments.scan) for value in processor_ms(list(pair), arguments.seconds))
                cells.append(f"{before:18.2f}{after:8.2f}{before / after:7.2f}")
            print(f"{name:20}" + "".join(cells), flush=True)


if __name__ == "__main__":
    main()
