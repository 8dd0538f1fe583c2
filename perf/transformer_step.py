"""Training step of the Transformer: jax_mlperf against the same model in PyTorch with torch.compile.

    python perf/transformer_step.py [--size=tiny|multi30k|base|big] [--device=gpu|cpu] [--precision=bf16|f32]
                                    [--rows=N] [--steps=N] [--rounds=N] [--json]

One step is forward, backward and Adam with dropout 0.1 on packed rows, float32 parameters, state kept on the
device; batches lie on the device too. Both frameworks run in this process in turn, round by round; a figure
is the median over rounds of the mean step time within a round, so that a slow minute hits both. Model FLOPs
are those of the products (three times the forward pass), without what a framework recomputes. Utilisation is
of the device's published bf16 peak and, on a GPU, of the bf16 product rate measured here just before.
Without PyTorch only our own figures are printed.
"""

import argparse
import dataclasses
import importlib.util
import json
import os
import statistics
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the card is shared with PyTorch
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
import translation
from flax import nnx
from translation import SIZES, Batch, Size

from jax_mlperf.benchmarks.transformer import BATCH_KEYS
from jax_mlperf.flops import count_flops, peak_flops

BATCHES = 4  # different batches in rotation


@dataclasses.dataclass(frozen=True)
class Side:
    """One framework: `run(steps)` makes that many steps, waits for the device and returns the last loss."""

    name: str
    run: Callable[[int], float]


def named_arrays(params: Any) -> dict[str, np.ndarray]:
    """Our parameters by dotted path."""
    leaves = jax.tree_util.tree_leaves_with_path(params)
    return {".".join(str(getattr(key, "key", "")) for key in path if hasattr(key, "key")): np.asarray(leaf)
            for path, leaf in leaves}  # fmt: skip


def our_side(size: Size, batches: list[Batch], dtype: Any) -> Side:
    """Our step, compiled, its state donated."""
    init, step = translation.make_step(size, dtype)
    state = jax.jit(init)()
    on_device = [jax.device_put(batch) for batch in batches]
    compiled = jax.jit(step, donate_argnums=0).lower(state, on_device[0]).compile()
    holder = [state]

    def run(steps: int) -> float:
        for index in range(steps):
            holder[0], loss = compiled(holder[0], on_device[index % BATCHES])
        return float(loss)

    return Side("jax_mlperf", run)


def make_peer(size: Size, dropout_rate: float) -> Any:
    """The PyTorch model of a size."""
    from peers.torch_transformer import Transformer

    return Transformer(
        vocab_size=size.vocab_size, d_model=size.d_model, ffn_dim=size.ffn_dim, num_heads=size.num_heads,
        num_layers=size.num_layers, dropout=dropout_rate, max_length=size.row_length,
    )  # fmt: skip


def torch_batch(batch: Mapping[str, np.ndarray], device: str) -> dict[str, Any]:
    """The batch as tensors."""
    import torch

    return {key: torch.from_numpy(array).to(device) for key, array in batch.items()}


def peer_side(size: Size, batches: list[Batch], dtype: Any, device: str) -> Side:
    """PyTorch's step: compiled forward and loss, autograd's backward through it, fused Adam."""
    import torch
    from peers.torch_transformer import smoothed_loss

    torch.set_float32_matmul_precision("high")  # as JAX's default on a GPU
    place = "cuda" if device == "gpu" else "cpu"
    model = make_peer(size, size.dropout_rate).to(place).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4, betas=(0.9, 0.98), eps=1e-9, fused=True)
    tensors = [torch_batch(batch, place) for batch in batches]

    @torch.compile
    def loss_fn(batch: dict[str, Any]) -> Any:
        with torch.autocast(place, dtype=torch.bfloat16, enabled=dtype == jnp.bfloat16):
            logits = model(batch)
        return smoothed_loss(logits, batch["targets"], translation.SMOOTHING)

    def run(steps: int) -> float:
        for index in range(steps):
            optimizer.zero_grad(set_to_none=True)
            loss = loss_fn(tensors[index % BATCHES])
            loss.backward()
            optimizer.step()
        return loss.item()

    return Side("pytorch", run)


def measured_rate(dim: int = 8192, repeats: int = 20) -> float:
    """FLOP/s of a bf16 product of two random dim x dim matrices."""
    keys = jax.random.split(jax.random.key(0))
    left, right = (jax.random.normal(key, (dim, dim), jnp.bfloat16) for key in keys)
    product = jax.jit(jnp.dot)
    jax.block_until_ready(product(left, right))
    times = []
    for _ in range(5):
        start = time.perf_counter()
        for _ in range(repeats):
            out = product(left, right)
        jax.block_until_ready(out)
        times.append((time.perf_counter() - start) / repeats)
    return 2 * dim**3 / statistics.median(times)


def step_flops(size: Size) -> int:
    """Model FLOPs of one training step: three times the forward pass."""
    specs = [jax.ShapeDtypeStruct((size.rows, size.row_length), jnp.int32)] * len(BATCH_KEYS)
    model = nnx.eval_shape(lambda: translation.make_model(size, jnp.float32))
    graph, params = nnx.split(model)
    return 3 * count_flops(lambda p, *batch: nnx.merge(graph, p)(*batch), params, *specs)


def time_sides(sides: list[Side], rounds: int, steps: int) -> dict[str, list[float]]:
    """Seconds per step of every round, the sides in turn."""
    for side in sides:
        start = time.perf_counter()
        loss = side.run(3)
        print(f"{side.name}: warm, loss {loss:.3f} ({time.perf_counter() - start:.1f} s)", file=sys.stderr)
    times: dict[str, list[float]] = {side.name: [] for side in sides}
    for _ in range(rounds):
        for side in sides:
            time.sleep(0.1)  # lets the other framework's threads stop spinning
            start = time.perf_counter()
            side.run(steps)
            times[side.name].append((time.perf_counter() - start) / steps)
    return times


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All figures of one size."""
    size = SIZES[arguments.size]
    size = dataclasses.replace(size, rows=arguments.rows or size.rows)
    dtype = jnp.bfloat16 if arguments.precision == "bf16" else jnp.float32
    batches = [translation.packed_batch(size, seed) for seed in range(BATCHES)]
    tokens = statistics.mean(int((b["inputs"] > 0).sum() + (b["targets"] > 0).sum()) for b in batches)
    flops = step_flops(size)
    device = jax.devices()[0]
    rate = measured_rate() if arguments.device == "gpu" else None
    sides = [our_side(size, batches, dtype)]
    if importlib.util.find_spec("torch") is not None:
        sides.append(peer_side(size, batches, dtype, arguments.device))
    times = time_sides(sides, arguments.rounds, arguments.steps)
    rows = []
    for name, values in times.items():
        seconds = statistics.median(values)
        rows.append({
            "framework": name, "step_ms": 1e3 * seconds, "fastest_ms": 1e3 * min(values),
            "slowest_ms": 1e3 * max(values), "tokens_per_sec": tokens / seconds,
            "tflops": flops / seconds / 1e12,
            "peak_utilisation": flops / seconds / peak if (peak := peak_flops(device)) else None,
            "measured_rate_utilisation": flops / seconds / rate if rate else None,
        })  # fmt: skip
    return {
        "size": arguments.size, "precision": arguments.precision, "device": device.device_kind,
        "rows": size.rows, "row_length": size.row_length,
        "useful_tokens": tokens / size.slots, "step_flops": flops,
        "measured_tflops": rate and rate / 1e12, "results": rows,
        "ratio": statistics.median(times["pytorch"]) / statistics.median(times["jax_mlperf"])
        if "pytorch" in times else None,
    }  # fmt: skip


def report(facts: dict[str, Any]) -> str:
    """The table."""
    shape = f"{facts['rows']} rows of {facts['row_length']} + {facts['row_length']}"
    rate = facts["measured_tflops"]
    lines = [
        f"{facts['size']}, {facts['precision']}, {facts['device']}: {shape}, "
        f"{facts['useful_tokens']:.1%} real tokens, {facts['step_flops'] / 1e12:.3f} TFLOP a step"
        + (f", measured bf16 rate {rate:.0f} TFLOP/s" if rate else ""),
        f"{'':12}{'ms/step':>10}{'fastest':>10}{'slowest':>10}{'tokens/s':>12}{'TFLOP/s':>10}{'of peak':>9}"
        f"{'of measured':>13}",
    ]  # fmt: skip
    for row in facts["results"]:
        peak, of_rate = (f"{row[key]:.1%}" if row[key] else "-" for key in
                      ("peak_utilisation", "measured_rate_utilisation"))  # fmt: skip
        lines.append(f"{row['framework']:12}{row['step_ms']:10.2f}{row['fastest_ms']:10.2f}"
                     f"{row['slowest_ms']:10.2f}{row['tokens_per_sec']:12,.0f}{row['tflops']:10.3f}{peak:>9}"
                     f"{of_rate:>13}")  # fmt: skip
    if facts["ratio"]:
        lines.append(f"jax_mlperf is {facts['ratio']:.2f} times as fast")
    return "\n".join(lines)


def main() -> None:
    """Parses flags, measures, prints."""
    has_gpu = jax.default_backend() == "gpu"
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--size", choices=tuple(SIZES), default="big" if has_gpu else "tiny")
    parser.add_argument("--device", choices=("gpu", "cpu"), default="gpu" if has_gpu else "cpu")
    parser.add_argument("--precision", choices=("bf16", "f32"), default="bf16" if has_gpu else "f32")
    parser.add_argument("--rows", type=int, help="rows of a batch in place of the size's")
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
