"""Training step of ResNet-20 on CIFAR-10 shapes: jax_mlperf against the same model in PyTorch.

    python perf/resnet20_step.py [--batch=N] [--steps=N] [--rounds=N] [--sides=NAME,NAME...] [--json]

One step is forward, backward and SGD (momentum 0.9, weight decay 1e-4), float32, batches already in memory. PyTorch runs
as its user would try it: eager and torch.compile, channels first and last; the fastest of these counts. Ours runs one
step and several steps (lax.scan) a dispatch, on one device and with the batch split over a virtual device for each core
("ours-devices"), and for comparison with XLA's own gradients of the convolutions ("plain").
All sides run in this process in turn, round by round; a figure is the median over rounds of the mean step time within a
round, so that a slow minute hits all of them. On a machine that others use, too, compare processor time, on one core
(taskset -c 0): by the clock, PyTorch's threads lose more to neighbours than ours. Without PyTorch only our own figures
are printed.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from unittest import mock

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={os.cpu_count()}"

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from jax import lax
from jax.sharding import AxisType, NamedSharding, PartitionSpec

from jax_mlperf.models.resnet_cifar import ResNetCifar
from jax_mlperf.parallel.host_memory import keep_freed_memory

LEARNING_RATE, MOMENTUM, WEIGHT_DECAY = 0.1, 0.9, 1e-4
Run = Callable[[int], float]  # makes that many steps, waits, returns the last loss


@dataclasses.dataclass(frozen=True)
class Side:
    """One way to train: `make(images [S, B, 32, 32, 3], labels [S, B])` sets it up."""

    make: Callable[[np.ndarray, np.ndarray], Run]
    peer: bool


def plain_conv2d(x: jax.Array, kernel: jax.Array, *, stride: int, padding: Any) -> jax.Array:
    """What ops.convolution replaces."""
    return lax.conv_general_dilated(x, kernel.astype(x.dtype), (stride, stride), padding,
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"))


def make_step(axis: str | None = None) -> tuple[Callable[[], Any], Callable[[Any, Any], Any]]:
    """() -> state and (state, (images, labels)) -> (state, loss); the mean over the devices of a mesh axis, if one is given."""
    optimizer = optax.chain(optax.add_decayed_weights(WEIGHT_DECAY), optax.sgd(LEARNING_RATE, momentum=MOMENTUM))

    def init() -> Any:
        _, params, statistics_ = nnx.split(ResNetCifar(depth=20, rngs=nnx.Rngs(0)), nnx.Param, nnx.BatchStat)
        return params, statistics_, optimizer.init(params)

    graph = nnx.split(nnx.eval_shape(lambda: ResNetCifar(depth=20, rngs=nnx.Rngs(0))), nnx.Param, nnx.BatchStat)[0]

    def loss_fn(params: Any, statistics_: Any, images: jax.Array, labels: jax.Array) -> Any:
        model = nnx.merge(graph, params, statistics_, copy=True)
        logits = model(images, train=True)
        loss = optax.softmax_cross_entropy_with_integer_labels(logits, labels).mean()
        return loss, nnx.state(model, nnx.BatchStat)

    def step(state: Any, batch: Any) -> Any:
        params, statistics_, opt_state = state
        result = jax.value_and_grad(loss_fn, has_aux=True)(params, statistics_, *batch)
        (loss, statistics_), gradients = lax.pmean(result, axis) if axis else result
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), statistics_, opt_state), loss

    return init, step


def our_side(images: np.ndarray, labels: np.ndarray, *, scan: bool = False, plain: bool = False, devices: bool = False) -> Run:
    """Our step, compiled, its state donated; on one device, or with a part of the batch on each virtual device."""
    with mock.patch("jax_mlperf.models.convolution.conv2d", plain_conv2d) if plain else contextlib.nullcontext():
        init, step = make_step("data" if devices else None)
        mesh = jax.make_mesh((jax.device_count() if devices else 1,), ("data",), axis_types=(AxisType.Auto,),
                             devices=jax.devices() if devices else jax.devices()[:1])
        whole = NamedSharding(mesh, PartitionSpec())
        if devices:
            step = jax.shard_map(step, mesh=mesh, in_specs=(PartitionSpec(), PartitionSpec("data")), out_specs=PartitionSpec(),
                                 check_vma=False)
        holder = [jax.jit(init, out_shardings=whole)()]
        batches = jax.device_put((images, labels), NamedSharding(mesh, PartitionSpec(None, "data")))
        first = jax.tree.map(lambda array: array[0], batches)
        function, argument = (lambda state, stacked: lax.scan(step, state, stacked), batches) if scan else (step, first)
        compiled = jax.jit(function, donate_argnums=0).lower(holder[0], argument).compile()
    singles = [jax.tree.map(lambda array, i=i: array[i], batches) for i in range(len(images))]

    def run(steps: int) -> float:
        for index in range(steps // len(images) if scan else steps):
            holder[0], loss = compiled(holder[0], batches if scan else singles[index % len(images)])
        return float(jnp.ravel(loss)[-1])

    return run


def torch_side(images: np.ndarray, labels: np.ndarray, *, compiled: bool, channels_last: bool) -> Run:
    """PyTorch's step."""
    import torch
    from peers.torch_resnet import ResNetCifar as Peer

    torch.manual_seed(0)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    model = Peer().to(memory_format=layout).train()
    optimizer = torch.optim.SGD(model.parameters(), LEARNING_RATE, MOMENTUM, weight_decay=WEIGHT_DECAY, fused=True)
    inputs = [torch.from_numpy(array).permute(0, 3, 1, 2).contiguous(memory_format=layout) for array in images]
    targets = [torch.from_numpy(array).long() for array in labels]
    forward = torch.compile(model) if compiled else model

    def run(steps: int) -> float:
        for index in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = torch.nn.functional.cross_entropy(forward(inputs[index % len(images)]), targets[index % len(images)])
            loss.backward()
            optimizer.step()
        return loss.item()

    return run


def _sides() -> dict[str, Side]:
    def ours(**options: Any) -> Side:
        return Side(lambda images, labels: our_side(images, labels, **options), False)

    def torchs(**options: bool) -> Side:
        return Side(lambda images, labels: torch_side(images, labels, **options), True)

    return {
        "ours": ours(), "ours-scan": ours(scan=True), "ours-devices": ours(devices=True),
        "ours-devices-scan": ours(devices=True, scan=True),
        "plain": ours(plain=True), "plain-scan": ours(scan=True, plain=True),
        "torch": torchs(compiled=False, channels_last=False), "torch-last": torchs(compiled=False, channels_last=True),
        "torch-compile": torchs(compiled=True, channels_last=False),
        "torch-compile-last": torchs(compiled=True, channels_last=True),
    }  # fmt: skip


SIDES = _sides()
DEFAULT = [name for name in SIDES if name != "plain-scan"]  # many times slower than anything else


def time_sides(runs: dict[str, Run], rounds: int, steps: int) -> dict[str, list[tuple[float, float]]]:
    """Seconds per step of every round, by the clock and of processor time; the sides in turn."""
    times: dict[str, list[tuple[float, float]]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            time.sleep(0.1)  # lets the other framework's threads stop spinning
            start, used = time.perf_counter(), time.process_time()
            run(steps)
            times[name].append(((time.perf_counter() - start) / steps, (time.process_time() - used) / steps))
    return times


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures."""
    rng = np.random.default_rng(0)
    images = rng.standard_normal((arguments.steps, arguments.batch, 32, 32, 3), np.float32)
    labels = rng.integers(0, 10, (arguments.steps, arguments.batch), np.int32)
    has_torch = importlib.util.find_spec("torch") is not None
    runs: dict[str, Run] = {}
    for name in arguments.sides:
        if has_torch or not SIDES[name].peer:
            start = time.perf_counter()
            runs[name] = SIDES[name].make(images, labels)
            loss = runs[name](arguments.steps)
            print(f"{name}: warm, loss {loss:.3f} ({time.perf_counter() - start:.1f} s)", file=sys.stderr)
    times = time_sides(runs, arguments.rounds, arguments.steps)
    peers = [name for name in times if SIDES[name].peer]
    rows = []
    for name, pairs in times.items():
        wall, processor = (list(values) for values in zip(*pairs, strict=True))
        rows.append({"side": name, "step_ms": 1e3 * statistics.median(wall), "fastest_ms": 1e3 * min(wall),
                     "slowest_ms": 1e3 * max(wall), "processor_ms": 1e3 * statistics.median(processor),
                     "images_per_sec": arguments.batch / statistics.median(wall)})  # fmt: skip
    for key in ("step_ms", "processor_ms"):
        best = min((row[key] for row in rows if row["side"] in peers), default=None)
        for row in rows:
            row["of_torch_" + key] = best and best / row[key]
    return {"batch": arguments.batch, "device": jax.devices()[0].device_kind, "cores": os.cpu_count(),
            "load": os.getloadavg()[0], "results": rows}  # fmt: skip


def report(facts: dict[str, Any]) -> str:
    """The table."""
    lines = [f"ResNet-20, batch {facts['batch']}, float32, {facts['device']}, {facts['cores']} cores, load {facts['load']:.1f}",
             f"{'':20}{'ms/step':>10}{'fastest':>10}{'slowest':>10}{'processor':>10}{'images/s':>10}"
             f"{'of best PyTorch':>17}{'by processor':>14}"]  # fmt: skip
    for row in facts["results"]:
        wall, processor = (f"{row[key]:.2f}" if row[key] else "-" for key in ("of_torch_step_ms", "of_torch_processor_ms"))
        lines.append(f"{row['side']:20}{row['step_ms']:10.1f}{row['fastest_ms']:10.1f}{row['slowest_ms']:10.1f}"
                     f"{row['processor_ms']:10.1f}{row['images_per_sec']:10.0f}{wall:>17}{processor:>14}")  # fmt: skip
    return "\n".join(lines)


def main() -> None:
    """Parses flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--steps", type=int, default=4, help="steps of a round, and of a dispatch of the -scan sides")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--sides", type=lambda text: text.split(","), default=DEFAULT, help=f"of {', '.join(SIDES)}")
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    keep_freed_memory()  # as run.py does on the CPU; for all sides
    facts = measure(arguments)
    print(json.dumps(facts, indent=2) if arguments.json else report(facts))


if __name__ == "__main__":
    main()
