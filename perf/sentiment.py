"""Training step of the sentiment benchmark's convolution model: jax_mlperf against PyTorch.

    python perf/sentiment.py [--size=full|quarter|tiny] [--batch=N] [--precision=bf16|f32] [--sides=NAME,...] [--steps=N]
                             [--rounds=N] [--json]

Generated reviews with the lengths of IMDB's (perf/sentiment_reviews.py; no data is needed). Ours is the benchmark itself: its
step finds the batch's reviews in the flat array on the device, pads nothing, and convolves by table look-up. On a CPU
"ours-devices" splits the batch over a virtual device for each core. PyTorch (perf/peers/torch_sentiment.py) gets the same
reviews, padded and sorted by length into batches of about one length each: "torch" with dense Adam, "torch-sparse" with
SparseAdam for the embedding (as the reference; ours does the same), eager or with torch.compile ("-compile"). A round is `steps`
steps, the same reviews for all sides; all sides run in this process in turn, round by round; figures are medians. On a machine
that others use, too, compare processor time. "evaluation" is ours over the reviews of as many steps.
"""

import argparse
import functools
import importlib.util
import json
import os
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")  # the card is shared with PyTorch
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={os.cpu_count()}"
sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import jax
import numpy as np
from benchmark_step import make_benchmark, median, our_evaluation, our_side, rounds_of
from ml_collections import ConfigDict
from sentiment_reviews import VOCAB, generate, write_prepared

from jax_mlperf.config import load_config
from jax_mlperf.data.imdb import Reviews
from jax_mlperf.parallel.host_memory import keep_freed_memory

SIZES = {"full": 1024, "quarter": 256, "tiny": 32}  # features of a word, and filters of each convolution
PEERS = ("torch", "torch-sparse", "torch-compile", "torch-sparse-compile")
POOL = 50  # batches that a PyTorch user would sort by length together
MULTIPLE = 32  # of positions, to which batches are padded
Call = Callable[[], Any]


def config_of(arguments: argparse.Namespace, reviews: int) -> ConfigDict:
    """The closed config with the sizes asked for."""
    width = SIZES[arguments.size]
    return load_config("sentiment", [
        f"compute_dtype={'bfloat16' if arguments.precision == 'bf16' else 'float32'}", f"data.batch_size={arguments.batch}",
        f"model.embedding={width}", f"model.filters={width}", f"evaluation.batch_size={reviews}"])


def make_peer_side(name: str, arguments: argparse.Namespace, config: ConfigDict, reviews: Reviews) -> Call:
    """PyTorch's steps on the reviews, in batches of about one length."""
    import torch
    from peers import torch_sentiment

    place = "cuda" if jax.default_backend() == "gpu" else "cpu"
    torch.set_float32_matmul_precision("high")  # as JAX's default on a GPU
    width = SIZES[arguments.size]
    model = torch_sentiment.SentenceConv(VOCAB, width, width, sparse="sparse" in name).to(place)
    step = torch_sentiment.train_step(model, config.optimizer.base_learning_rate, compiled=name.endswith("compile"),
                                      bfloat16=config.compute_dtype == "bfloat16")
    pieces = np.split(reviews.tokens, reviews.offsets[1:-1])
    batches = [tuple(tensor.to(place) for tensor in batch) for batch in torch_sentiment.sorted_batches(
        pieces, reviews.labels, arguments.batch, VOCAB, MULTIPLE)]

    def take_steps() -> float:
        for batch in batches:
            loss = step(*batch)
        return loss.item()

    return take_steps


def make_sides(arguments: argparse.Namespace, config: ConfigDict, reviews: Reviews, data_dir: Path) -> dict[str, Call]:
    """Those asked for that can run here, warm."""
    sides: dict[str, Call] = {}
    for name in arguments.sides:
        if name in PEERS:
            if importlib.util.find_spec("torch") is None:
                continue
            sides[name] = make_peer_side(name, arguments, config, reviews)
        else:
            benchmark = make_benchmark(config, data_dir, jax.device_count() if name == "ours-devices" else 1)
            sides[name] = functools.partial(our_side(benchmark, arguments.steps), arguments.steps)
            sides[name.replace("ours", "evaluation")] = our_evaluation(benchmark)
        print(f"{name}: warm, loss {sides[name]():.3f}", file=sys.stderr)
    return sides


def measure(arguments: argparse.Namespace, data_dir: Path) -> dict[str, Any]:
    """All figures of one size."""
    reviews = generate(arguments.steps, arguments.batch, POOL)
    count = len(reviews.labels)
    config = config_of(arguments, count)
    write_prepared(reviews, config, data_dir)
    times = rounds_of(make_sides(arguments, config, reviews, data_dir), arguments.rounds)
    rows = []
    for name, values in times.items():
        seconds = median(values)
        rows.append({"side": name, "step_ms": 1e3 * seconds.wall / arguments.steps,
                     "fastest_ms": 1e3 * min(value.wall for value in values) / arguments.steps,
                     "processor_ms": 1e3 * seconds.processor / arguments.steps, "reviews_per_sec": count / seconds.wall})
    for key in ("step_ms", "processor_ms"):
        best = min((row[key] for row in rows if row["side"] in PEERS), default=None)
        for row in rows:
            trains = not row["side"].startswith("evaluation")
            row["of_torch_" + key] = best / row[key] if best and trains else None
    return {"size": arguments.size, "batch": arguments.batch, "tokens": len(reviews.tokens) / arguments.steps,
            "precision": config.compute_dtype, "device": jax.devices()[0].device_kind, "cores": os.cpu_count(),
            "load": os.getloadavg()[0], "results": rows}


def report(facts: dict[str, Any]) -> str:
    """The table."""
    lines = [f"{facts['size']}, batch {facts['batch']} of {facts['tokens']:,.0f} words, {facts['precision']}, {facts['device']}, "
             f"{facts['cores']} cores, load {facts['load']:.1f}",
             f"{'':22}{'ms/step':>10}{'fastest':>10}{'processor':>11}{'reviews/s':>12}{'of best PyTorch':>17}"
             f"{'by processor':>14}"]
    for row in facts["results"]:
        wall, processor = (f"{row[key]:.2f}" if row[key] else "-" for key in ("of_torch_step_ms", "of_torch_processor_ms"))
        lines.append(f"{row['side']:22}{row['step_ms']:10.2f}{row['fastest_ms']:10.2f}{row['processor_ms']:11.2f}"
                     f"{row['reviews_per_sec']:12,.0f}{wall:>17}{processor:>14}")
    return "\n".join(lines)


def main() -> None:
    """Parses flags, measures, prints."""
    has_gpu = jax.default_backend() == "gpu"
    sides = ["ours", "torch-compile", "torch-sparse-compile"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), default="full" if has_gpu else "quarter")
    parser.add_argument("--batch", type=int, default=128)
    parser.add_argument("--precision", choices=("bf16", "f32"), default="bf16" if has_gpu else "f32")
    parser.add_argument("--sides", type=functools.partial(str.split, sep=","),
                        default=sides if has_gpu else ["ours", "ours-devices", "torch", *sides[1:]],
                        help=f"of ours, ours-devices, {', '.join(PEERS)}")
    parser.add_argument("--steps", type=int, default=10 if has_gpu else 2, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=7 if has_gpu else 3)
    parser.add_argument("--json", action="store_true")
    arguments = parser.parse_args()
    if not has_gpu:
        keep_freed_memory()  # as run.py does on the CPU; for all sides
    with tempfile.TemporaryDirectory() as folder:
        facts = measure(arguments, Path(folder))
    print(json.dumps(facts, indent=2) if arguments.json else report(facts))


if __name__ == "__main__":
    main()
