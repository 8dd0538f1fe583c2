"""Training samples a second of NCF, sampling and shuffling included: jax_mlperf against PyTorch.

    python perf/ncf.py [--size=ml-100k|ml-1m|ml-20m] [--batch=N] [--precision=bf16|f32] [--sides=NAME,...] [--steps=N]
                       [--rounds=N] [--json] [--config.KEY=VALUE]
    python perf/ncf.py --epoch [--size=...] [--batch=N] [--sides=ours|ours,torch-compile] [--rounds=N] [--json]

Ours is the benchmark itself, on generated ratings of the published size and with the model of the config's variant of that size
(perf/ncf_ratings.py; no data is needed): the step makes its own pairs. "ours" is one device, on a CPU "ours-devices" splits the
batch over a virtual device for each core. PyTorch (perf/peers/torch_ncf.py) makes an epoch's pairs and their order at once
("torch", "torch-compile"; that time is divided over the epoch), or one by one as the reference does ("torch-loader").
All sides run in this process in turn, round by round; figures are medians. On a machine that others use, too, compare
processor time, on one core (taskset -c 0): two threads of PyTorch wait for each other many times a step. `--config.KEY=VALUE`
changes both sides' model, batch and optimizer: --config.model.factors=64 --config.model.layers="(256,256,128,64)" is MLPerf's
model with the ratings of a smaller set.

--epoch times one epoch over 20 million ratings with its evaluation (999 negatives), beside the published entries.
"""

import argparse
import dataclasses
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
from benchmark_step import Seconds, make_benchmark, median, our_side, rounds_of
from ml_collections import ConfigDict
from ncf_epoch import report_epoch, time_ours, time_peer
from ncf_ratings import SIZES, Size, generate, write_prepared

from jax_mlperf.config import load_config, split_overrides
from jax_mlperf.data.leave_one_out import Ratings
from jax_mlperf.parallel.host_memory import keep_freed_memory

PEERS = ("torch", "torch-compile", "torch-loader")
LOADER_RATINGS = 1_000_000  # the loader's set of pairs of 20 million ratings would take 3 GB


@dataclasses.dataclass(frozen=True)
class Side:
    """One way to train: `steps()` makes the steps of a round; `epoch()` what comes once for an epoch."""

    steps: Callable[[], Any]
    epoch: Callable[[], Any] | None = None


def config_of(arguments: argparse.Namespace) -> ConfigDict:
    """The config of the size, with the batch asked for; without a large evaluation, which no step needs."""
    variant = SIZES[arguments.size].variant
    overrides = [f"compute_dtype={'bfloat16' if arguments.precision == 'bf16' else 'float32'}"]
    overrides += [f"data.batch_size={arguments.batch}"] if arguments.batch else []
    overrides += [] if arguments.epoch else ["evaluation.negatives=1"]
    overrides += ["model.dropout_rate=0.0", "optimizer.weight_decay=0.0", "optimizer.average_checkpoints=0"]  # as the peer
    return load_config(f"ncf:{variant}" if variant else "ncf", overrides + arguments.overrides)


def make_peer(config: ConfigDict, size: Size, compiled: bool) -> tuple[Any, Any, str]:
    """PyTorch's model, its step and where they are."""
    import torch
    from peers import torch_ncf

    place = "cuda" if jax.default_backend() == "gpu" else "cpu"
    torch.set_float32_matmul_precision("high")  # as JAX's default on a GPU
    model = torch_ncf.NeuMF(size.users, size.items, config.model.factors, config.model.layers).to(place)
    optimizer = torch_ncf.make_optimizer(model, *(config.optimizer[key] for key in (
        "base_learning_rate", "beta_1", "beta_2", "epsilon")))
    step = torch_ncf.train_step(model, optimizer, compiled=compiled, bfloat16=config.compute_dtype == "bfloat16")
    return model, step, place


def make_loader_side(config: ConfigDict, ratings: Ratings, size: Size, steps: int) -> Side:
    """PyTorch with pairs made one by one, of no more ratings than a set in memory should have."""
    from peers import torch_ncf

    _, step, place = make_peer(config, size, compiled=False)
    users = int((ratings.offsets <= LOADER_RATINGS).sum()) - 1
    offsets = ratings.offsets[:users + 1]
    pairs = torch_ncf.PairsOneByOne(offsets, ratings.items[:offsets[-1]], size.items, config.data.negatives)
    batches = torch_ncf.one_by_one(pairs, config.data.batch_size)

    def take_steps() -> float:
        for _ in range(steps):
            loss = step(*(tensor.to(place) for tensor in next(batches)))
        return loss.item()

    return Side(take_steps)


def make_peer_side(config: ConfigDict, ratings: Ratings, size: Size, steps: int, compiled: bool) -> Side:
    """PyTorch with the pairs of an epoch made at once."""
    import torch
    from peers import torch_ncf

    _, step, place = make_peer(config, size, compiled)
    sampler = torch_ncf.Sampler(ratings.offsets, ratings.items, size.items, config.data.negatives, place)
    epoch, batch = [sampler.epoch()], config.data.batch_size

    def make_epoch() -> None:
        epoch[0] = sampler.epoch()
        if place == "cuda":
            torch.cuda.synchronize()

    def take_steps() -> float:
        for index in range(steps):
            first = index % (len(epoch[0][0]) // batch) * batch
            loss = step(*(tensor[first:first + batch] for tensor in epoch[0]))
        return loss.item()

    return Side(take_steps, make_epoch)


def make_side(name: str, config: ConfigDict, ratings: Ratings, size: Size, data_dir: Path, steps: int) -> Side:
    """One of ours or of PyTorch's."""
    if name == "torch-loader":
        return make_loader_side(config, ratings, size, steps)
    if name in PEERS:
        return make_peer_side(config, ratings, size, steps, compiled=name == "torch-compile")
    devices = jax.device_count() if name == "ours-devices" else 1
    run = our_side(make_benchmark(config, data_dir, devices), steps)
    return Side(lambda: run(steps))


def make_sides(arguments: argparse.Namespace, config: ConfigDict, ratings: Ratings, data_dir: Path) -> dict[str, Side]:
    """Those asked for that can run here, warm."""
    sides = {}
    for name in arguments.sides:
        if name not in PEERS or importlib.util.find_spec("torch") is not None:
            sides[name] = make_side(name, config, ratings, SIZES[arguments.size], data_dir, arguments.steps)
            print(f"{name}: warm, loss {sides[name].steps():.3f}", file=sys.stderr)
    return sides


def measure_epoch(arguments: argparse.Namespace, data_dir: Path) -> dict[str, Any]:
    """Whole epochs, ours and, where it is there, PyTorch's."""
    size, config = SIZES[arguments.size], config_of(arguments)
    ratings = generate(size)
    write_prepared(ratings, size, config, data_dir)
    benchmark = make_benchmark(config, data_dir, jax.device_count() if jax.default_backend() == "gpu" else 1)
    rows = [time_ours(benchmark, arguments.rounds)]
    candidates = rows[0].pop("candidates")
    if set(arguments.sides) & set(PEERS) and importlib.util.find_spec("torch") is not None:
        from peers.torch_ncf import Sampler

        model, step, place = make_peer(config, size, compiled=True)
        sampler = Sampler(ratings.offsets, ratings.items, size.items, config.data.negatives, place)
        rows.append(time_peer(model, sampler, step, ratings, candidates, config.data.batch_size, arguments.rounds))
    return {"size": arguments.size, "samples": benchmark.train_samples, "batch": benchmark.global_batch_size,
            "eval_pairs": size.users * (1 + config.evaluation.negatives), "precision": config.compute_dtype,
            "device": jax.devices()[0].device_kind, "epochs": arguments.rounds, "results": rows}


def measure(arguments: argparse.Namespace, data_dir: Path) -> dict[str, Any]:
    """All figures of one size."""
    size, config = SIZES[arguments.size], config_of(arguments)
    ratings = generate(size)
    write_prepared(ratings, size, config, data_dir)
    sides = make_sides(arguments, config, ratings, data_dir)
    calls = {(name, part): call for name, side in sides.items()
             for part, call in (("steps", side.steps), ("epoch", side.epoch)) if call}
    times = {key: median(values) for key, values in rounds_of(calls, arguments.rounds).items()}
    batch, pairs = config.data.batch_size, len(ratings.items) * (1 + config.data.negatives)
    rows = [_row(name, times[name, "steps"], times.get((name, "epoch")), arguments.steps * batch, pairs) for name in sides]
    for key in ("samples_per_sec", "samples_per_processor_sec"):
        best = max((row[key] for row in rows if row["side"] in PEERS), default=None)
        for row in rows:
            row["of_torch_" + key] = best and row[key] / best
    return {"size": arguments.size, "batch": batch, "factors": config.model.factors, "layers": list(config.model.layers),
            "precision": config.compute_dtype, "device": jax.devices()[0].device_kind, "cores": os.cpu_count(),
            "load": os.getloadavg()[0], "results": rows}  # fmt: skip


def _row(name: str, steps: Seconds, epoch: Seconds | None, samples: int, pairs: int) -> dict[str, Any]:
    sampling = epoch or Seconds(0.0, 0.0)
    wall, processor = (a / samples + b / pairs for a, b in zip(steps, sampling, strict=True))
    return {"side": name, "samples_per_sec": 1 / wall, "samples_per_processor_sec": 1 / processor,
            "sampling_share": sampling.wall / pairs / wall}


def report(facts: dict[str, Any]) -> str:
    """The table."""
    lines = [f"{facts['size']}, batch {facts['batch']:,}, factors {facts['factors']}, layers {facts['layers']}, "
             f"{facts['precision']}, {facts['device']}, {facts['cores']} cores, load {facts['load']:.1f}",
             f"{'':16}{'samples/s':>14}{'of best PyTorch':>17}{'by processor time':>19}{'epoch made at once':>20}"]
    for row in facts["results"]:
        wall, processor = (f"{value:.2f}" if value else "-" for value in (
            row["of_torch_samples_per_sec"], row["of_torch_samples_per_processor_sec"]))
        lines.append(f"{row['side']:16}{row['samples_per_sec']:14,.0f}{wall:>17}{processor:>19}{row['sampling_share']:20.1%}")
    return "\n".join(lines)


def main() -> None:
    """Parses flags, measures, prints."""
    has_gpu = jax.default_backend() == "gpu"
    sides = ["ours", "torch-compile"] if has_gpu else ["ours", "ours-devices", "torch", "torch-compile", "torch-loader"]
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", choices=tuple(SIZES), help="default: ml-20m on a GPU and for --epoch, else ml-100k")
    parser.add_argument("--batch", type=int, default=0, help="pairs; the config's by default")
    parser.add_argument("--precision", choices=("bf16", "f32"), default="bf16" if has_gpu else "f32")
    parser.add_argument("--sides", type=functools.partial(str.split, sep=","), default=sides,
                        help=f"of ours, ours-devices, {', '.join(PEERS)}")
    parser.add_argument("--steps", type=int, default=10, help="steps of a round")
    parser.add_argument("--rounds", type=int, default=5, help="rounds, or epochs")
    parser.add_argument("--epoch", action="store_true")
    parser.add_argument("--json", action="store_true")
    overrides, rest = split_overrides(sys.argv[1:])
    arguments = parser.parse_args(rest)
    arguments.overrides = overrides
    arguments.size = arguments.size or ("ml-20m" if has_gpu or arguments.epoch else "ml-100k")
    if not has_gpu:
        keep_freed_memory()  # as run.py does on the CPU; for all sides
    with tempfile.TemporaryDirectory() as folder:
        facts = (measure_epoch if arguments.epoch else measure)(arguments, Path(folder))
    print(json.dumps(facts, indent=2) if arguments.json else (report_epoch if arguments.epoch else report)(facts))


if __name__ == "__main__":
    main()
