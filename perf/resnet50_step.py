"""Training step of ResNet-50 v1.5: jax_mlperf against the same model in PyTorch with torch.compile, channels last.

    python perf/resnet50_step.py [--size=resnet50|tiny] [--device=gpu|cpu] [--precision=bf16|f32] [--rows=N]
                                 [--stem=conv7|space_to_depth] [--sides=ours,plain,pytorch] [--steps=N] [--rounds=N] [--json]

One step is normalising uint8 images that lie on the device, forward, backward and the optimizer (LARS in ours, momentum SGD
in PyTorch, which has no LARS), float32 parameters. "plain" is our model with XLA's own gradients of batch norm, ReLU and
max-pool. All sides run in this process in turn, round by round; a figure is the median over rounds of the mean step time
within a round, so that a slow minute hits all. Model FLOPs are three times those of the forward pass. Utilisation is of the
device's published bf16 peak and, on a GPU, of the bf16 product rate measured here just before. Without PyTorch only our own
figures are printed.
"""

import argparse
import contextlib
import dataclasses
import importlib.util
import json
import statistics
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from resnet50 import DEVIATION, MEAN, SIZES, SMOOTHING, Batch, Size, make_step, plain, random_batch
from transformer_step import BATCHES, Side, measured_rate, time_sides

from jax_mlperf.flops import count_flops, peak_flops
from jax_mlperf.models.resnet import ResNet


def our_side(name: str, size: Size, batches: list[Batch], dtype: Any, stem: str) -> Side:
    """Our step, compiled, its state donated."""
    with plain() if name == "plain" else contextlib.nullcontext():
        init, step = make_step(size, dtype, stem=stem)
        holder = [jax.jit(init)()]
        on_device = [jax.device_put(batch) for batch in batches]
        compiled = jax.jit(step, donate_argnums=0).lower(holder[0], on_device[0]).compile()

    def run(steps: int) -> float:
        for index in range(steps):
            holder[0], loss = compiled(holder[0], on_device[index % BATCHES])
        return float(loss)

    return Side(name, run)


def peer_side(size: Size, batches: list[Batch], dtype: Any, device: str) -> Side:
    """PyTorch's step: compiled forward and loss in channels-last layout, autograd's backward through it, fused SGD."""
    import torch
    from peers.torch_resnet50 import ResNet as TorchResNet
    from torch.nn import functional

    torch.set_float32_matmul_precision("high")  # as JAX's default on a GPU
    torch.backends.cudnn.benchmark = True
    place = "cuda" if device == "gpu" else "cpu"
    model = TorchResNet(**size.model).to(place, memory_format=torch.channels_last).train()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=5e-5, fused=True)
    tensors = [{key: torch.from_numpy(np.asarray(array)).to(place) for key, array in batch.items()} for batch in batches]
    mean, deviation = (torch.tensor(values, device=place) for values in (MEAN, DEVIATION))

    @torch.compile
    def loss_fn(images: Any, labels: Any) -> Any:
        images = ((images - mean) / deviation).permute(0, 3, 1, 2)  # a view: NHWC in memory is channels last
        with torch.autocast(place, dtype=torch.bfloat16, enabled=dtype == jnp.bfloat16):
            logits = model(images)
        return functional.cross_entropy(logits.float(), labels.long(), label_smoothing=SMOOTHING)

    def run(steps: int) -> float:
        for index in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_fn(tensors[index % BATCHES]["image"], tensors[index % BATCHES]["label"])
            loss.backward()
            optimizer.step()
        return loss.item()

    return Side("pytorch", run)


def step_flops(size: Size) -> int:
    """Model FLOPs of one training step: three times the forward pass."""
    model = nnx.eval_shape(lambda: ResNet(rngs=nnx.Rngs(params=0), **size.model))
    graph, state = nnx.split(model)
    images = jax.ShapeDtypeStruct((size.rows, size.image, size.image, 3), jnp.float32)
    return 3 * count_flops(lambda state, images: nnx.merge(graph, state)(images, train=False), state, images)


def make_sides(arguments: argparse.Namespace, size: Size, dtype: Any) -> list[Side]:
    """The sides that were asked for and can run here."""
    batches = [random_batch(size, seed) for seed in range(BATCHES)]
    sides = [our_side(name, size, batches, dtype, arguments.stem) for name in ("ours", "plain") if name in arguments.sides]
    if "pytorch" in arguments.sides and importlib.util.find_spec("torch") is not None:
        sides.append(peer_side(size, batches, dtype, arguments.device))
    return sides


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one size."""
    size = SIZES[arguments.size]
    size = dataclasses.replace(size, rows=arguments.rows or size.rows)
    dtype = jnp.bfloat16 if arguments.precision == "bf16" else jnp.float32
    flops, device = step_flops(size), jax.devices()[0]
    rate = measured_rate() if arguments.device == "gpu" else None
    times = time_sides(make_sides(arguments, size, dtype), arguments.rounds, arguments.steps)
    rows = []
    for name, values in times.items():
        seconds = statistics.median(values)
        rows.append({
            "side": name, "step_ms": 1e3 * seconds, "fastest_ms": 1e3 * min(values), "slowest_ms": 1e3 * max(values),
            "images_per_sec": size.rows / seconds, "tflops": flops / seconds / 1e12,
            "peak_utilisation": flops / seconds / peak if (peak := peak_flops(device)) else None,
            "measured_rate_utilisation": flops / seconds / rate if rate else None,
        })
    return {"size": arguments.size, "rows": size.rows, "stem": arguments.stem, "precision": arguments.precision,
            "device": device.device_kind, "step_flops": flops, "measured_tflops": rate and rate / 1e12, "results": rows,
            "ratio": statistics.median(times["pytorch"]) / statistics.median(times["ours"])
            if {"pytorch", "ours"} <= times.keys() else None}


def report(facts: dict[str, Any]) -> str:
    """The table."""
    rate = facts["measured_tflops"]
    lines = [
        f"{facts['size']}, {facts['precision']}, {facts['device']}: {facts['rows']} rows, stem {facts['stem']}, "
        f"{facts['step_flops'] / 1e12:.3f} TFLOP a step" + (f", measured bf16 rate {rate:.0f} TFLOP/s" if rate else ""),
        f"{'':10}{'ms/step':>10}{'fastest':>10}{'slowest':>10}{'images/s':>12}{'TFLOP/s':>10}{'of peak':>9}{'of measured':>13}",
    ]
    for row in facts["results"]:
        shares = [f"{row[key]:.1%}" if row[key] else "-" for key in ("peak_utilisation", "measured_rate_utilisation")]
        lines.append(f"{row['side']:10}{row['step_ms']:10.2f}{row['fastest_ms']:10.2f}{row['slowest_ms']:10.2f}"
                     f"{row['images_per_sec']:12,.0f}{row['tflops']:10.3f}{shares[0]:>9}{shares[1]:>13}")
    if facts["ratio"]:
        lines.append(f"ours is {facts['ratio']:.2f} times as fast as PyTorch")
    return "\n".join(lines)


def main() -> None:
    """Parses flags, measures, prints."""
    has_gpu = jax.default_backend() == "gpu"
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="resnet50" if has_gpu else "tiny")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu" if has_gpu else "cpu")
    parser.add_argument("--precision", choices=("bf16", "f32"), default="bf16" if has_gpu else "f32")
    parser.add_argument("--rows", type=int, help="rows of a batch in place of the size's")
    parser.add_argument("--stem", choices=("conv7", "space_to_depth"), default="conv7")
    parser.add_argument("--sides", type=lambda text: text.split(","), default=["ours", "plain", "pytorch"])
    parser.add_argument("--steps", type=int, default=10, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if arguments.device == "cpu":
        jax.config.update("jax_platforms", "cpu")
    facts = measure(arguments)
    print(json.dumps(facts, indent=2) if arguments.json else report(facts))


if __name__ == "__main__":
    main()
