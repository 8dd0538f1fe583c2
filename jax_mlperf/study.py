"""`study`: the same benchmark with 1, 2, 4, ... workers, and the numbers that MLBench's scaling plots show."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import jax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jax_mlperf import benchmarks
from jax_mlperf.all_reduce import all_reduce_bytes
from jax_mlperf.benchmark import Benchmark, Topology
from jax_mlperf.errors import UserError
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.programs import state_target
from jax_mlperf.trainer import train
from jax_mlperf.workdir import RunResult


def scaling(config: ConfigDict, data_dir: Path, workdir: Path, workers: Sequence[int]) -> list[dict[str, Any]]:
    """Trains once for each number of workers, each in its own folder below `workdir`, and collects the first run of each.

    A number of workers runs on as many of this process's devices as divide it; the others are emulated. What is complete is
    not repeated; after a SIGTERM the same call goes on.

    Returns:
      one dict for each number of workers that was trained to its end: workers, devices, reached, epochs, steps, minutes (wall
      clock, run_start to run_stop), train_seconds (MLBench's clock: training batches only), all_reduce_seconds and
      compute_seconds (its parts), input_wait_seconds, evaluate_seconds, checkpoint_seconds, all_reduce_bytes (a step),
      speedup and speedup_without_all_reduce (of train_seconds and compute_seconds against the first entry; of no meaning for a
      run that did not reach the target), quality, workdir.
    Raises:
      UserError: the config has no workers, the data are missing, or cannot be shared by so many workers; nothing was trained.
    """
    if "workers" not in config.get("data", {}):
        raise UserError(f"a scaling study needs config.data.workers, which {config.benchmark} has not; use cifar10")
    benchmarks.generate_data(config, data_dir)
    studied = [_benchmark(config, data_dir, count) for count in workers]  # before hours of training: all can be run
    entries: list[dict[str, Any]] = []
    for benchmark, mesh in studied:
        folder = workdir / f"workers_{benchmark.config.data.workers}"
        result = train(benchmark, mesh, folder)[0]
        if not result.complete:
            print(f"{folder}: {result.reason}", file=sys.stderr)
            break
        entry = _entry(result, benchmark, mesh, folder)
        first = entries[0] if entries else entry
        entry["speedup"] = round(first["train_seconds"] / max(entry["train_seconds"], 1e-9), 3)
        entry["speedup_without_all_reduce"] = round(first["compute_seconds"] / max(entry["compute_seconds"], 1e-9), 3)
        entries.append(entry)
        (workdir / "scaling.json").write_text(json.dumps(entries, indent=1) + "\n", encoding="utf-8")
    return entries


def _benchmark(config: ConfigDict, data_dir: Path, workers: int) -> tuple[Benchmark, Mesh]:
    local = jax.local_devices()
    devices = local[:max(number for number in range(1, len(local) + 1) if workers % number == 0)]
    config = config.copy_and_resolve_references()
    with config.unlocked():
        config.data.workers = workers
    mesh = make_mesh(-1, 1, devices)
    benchmark = benchmarks.create(config.lock(), Topology(mesh.size, mesh=mesh), data_dir)
    missing = [str(file.path) for file in benchmark.data_files() if not file.present]
    if missing:
        raise UserError(f"missing data: {missing[0]}; make it with: {benchmark.prepare_command()}")
    return benchmark, mesh


def _entry(result: RunResult, benchmark: Benchmark, mesh: Mesh, workdir: Path) -> dict[str, Any]:
    seconds = result.phase_seconds
    return {
        "workers": benchmark.config.data.workers, "devices": mesh.size, "reached": result.reached, "epochs": result.epoch,
        "steps": result.step, "minutes": round(result.minutes, 4), "train_seconds": seconds["train"],
        "all_reduce_seconds": seconds["all_reduce"],
        "compute_seconds": round(max(0.0, seconds["train"] - seconds["all_reduce"]), 3),
        **{f"{name}_seconds": seconds[name] for name in ("input_wait", "evaluate", "checkpoint")},
        "all_reduce_bytes": all_reduce_bytes(state_target(benchmark, mesh).params), "quality": result.quality,
        "workdir": str(workdir),
    }


def as_text(entries: Sequence[dict[str, Any]]) -> str:
    """A table, one line for each number of workers."""
    lines = [f"{'workers':>7} {'devices':>7} {'reached':>7} {'epochs':>7} {'wall min':>9} {'train s':>9} {'compute s':>9} "
             f"{'all-reduce s':>12} {'speedup':>8} {'without':>8}"]
    for entry in entries:
        lines.append(f"{entry['workers']:7} {entry['devices']:7} {'yes' if entry['reached'] else 'no':>7} {entry['epochs']:7g} "
                     f"{entry['minutes']:9.2f} {entry['train_seconds']:9.1f} {entry['compute_seconds']:9.1f} "
                     f"{entry['all_reduce_seconds']:12.2f} {entry['speedup']:8.2f} {entry['speedup_without_all_reduce']:8.2f}")
    return "\n".join(lines)
