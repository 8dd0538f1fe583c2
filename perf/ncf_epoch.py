"""One epoch of NCF over as many ratings as MovieLens-20M has, with its evaluation: for perf/ncf.py --epoch."""

import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np

from jax_mlperf.benchmark import Benchmark
from jax_mlperf.data.leave_one_out import Ratings
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.parallel.mesh import replicated
from jax_mlperf.prefetch import grouped, to_devices
from jax_mlperf.programs import Programs, compile_programs, dispatch_size, signature

# Seconds of training and evaluation of an epoch, and before the first one: MLPerf Training v0.5, from the entries' logs.
PUBLISHED = (("NVIDIA DGX-2H, 16 V100", 0.79, 0.13, 7.0), ("NVIDIA DGX-2, 16 V100", 0.81, 0.14, 7.2),
             ("NVIDIA DGX-1, 8 V100", 1.02, 0.29, 6.1), ("Intel, 2 Xeon 8180", 159.0, 50.0, 62.0),
             ("reference, one GPU", 391.0, 87.0, 1498.0))


def seconds_of(call: Callable[[], Any]) -> tuple[float, Any]:
    """What it takes until its result is there, and the result."""
    start = time.perf_counter()
    result = jax.block_until_ready(call())
    return time.perf_counter() - start, result


def train_epoch(benchmark: Benchmark, programs: Programs, state: Any, data: Any, step: int) -> Any:
    """The state after the steps up to the next evaluation, dispatched as the trainer does it."""
    end = benchmark.next_eval_step(step)
    for batch, size in grouped(benchmark.train_batches(0, step), step, lambda step: dispatch_size(benchmark, step)):
        state, _ = programs.train[signature(batch)](state, to_devices(benchmark.topology.mesh, batch, int(size > 1)), data)
        step += size
        if step == end:
            break
    return state


def evaluate(benchmark: Benchmark, programs: Programs, state: Any, data: Any) -> dict[str, float]:
    """The quality metrics."""
    return benchmark.score([programs.evaluate(state, to_devices(benchmark.topology.mesh, batch), data)
                            for batch in benchmark.eval_batches()])


def time_ours(benchmark: Benchmark, epochs: int) -> dict[str, Any]:
    """Seconds of each part; the data as it is in memory at the end."""
    mesh = benchmark.topology.mesh
    assert mesh is not None
    key = jax.random.key_data(jax.random.key(0, impl=key_implementation(benchmark.config.rng_impl)))
    key = jax.device_put(np.asarray(key), replicated(mesh))
    compiling, programs = seconds_of(lambda: compile_programs(benchmark, mesh))
    programs.warm_up(key)
    state = programs.init(key)
    before, data = seconds_of(lambda: programs.place_data(benchmark.host_data()))
    training, evaluating, quality, step = [], [], {}, 0
    for _ in range(epochs):
        seconds, state = seconds_of(lambda state=state, step=step: train_epoch(benchmark, programs, state, data, step))
        training.append(seconds)
        step = benchmark.next_eval_step(step)
        seconds, quality = seconds_of(lambda state=state: evaluate(benchmark, programs, state, data))
        evaluating.append(seconds)
        print(f"epoch: {training[-1]:.3f} s, evaluation: {evaluating[-1]:.3f} s, {quality}", file=sys.stderr)
    candidates = np.asarray(data["candidates"])[:benchmark.eval_samples]
    return {"side": "jax_mlperf", "train_sec": statistics.median(training), "eval_sec": statistics.median(evaluating),
            "before_sec": before, "compile_sec": compiling, "candidates": candidates, "quality": quality}


def time_peer(model: Any, sampler: Any, step: Callable[..., Any], ratings: Ratings, candidates: np.ndarray, batch: int,
              epochs: int) -> dict[str, Any]:
    """PyTorch's seconds on the same ratings and candidates; the first epoch compiles."""
    import torch
    from peers.torch_ncf import hit_rate

    def waiting(call: Callable[[], Any]) -> tuple[float, Any]:
        start = time.perf_counter()
        result = call()
        if sampler.users.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - start, result

    def train() -> None:
        epoch = sampler.epoch()
        for first in range(0, len(epoch[0]), batch):
            step(*(tensor[first:first + batch] for tensor in epoch))

    test = np.asarray(ratings.test_items)[:, None]
    place = sampler.users.device
    rows = torch.from_numpy(np.concatenate([candidates, test], axis=1)).to(place)
    counted = torch.from_numpy(candidates != test).to(place)
    training, evaluating = [], []
    for _ in range(1 + epochs):
        training.append(waiting(train)[0])
        seconds, rate = waiting(lambda: hit_rate(model, rows, counted, top=10, users_at_once=1024))
        evaluating.append(seconds)
    return {"side": "PyTorch", "train_sec": statistics.median(training[1:]), "eval_sec": statistics.median(evaluating[1:]),
            "before_sec": None, "compile_sec": training[0], "quality": {"hit_rate": rate}}


def report_epoch(facts: dict[str, Any]) -> str:
    """The table."""
    lines = [f"{facts['size']}: {facts['samples']:,} pairs in batches of {facts['batch']:,}, {facts['precision']}, "
             f"{facts['device']}; evaluation of {facts['eval_pairs']:,}; medians of {facts['epochs']} epochs",
             f"{'':26}{'epoch, s':>10}{'evaluation, s':>15}{'before, s':>11}{'pairs/s':>15}"]
    rows = [(row["side"], row["train_sec"], row["eval_sec"], row["before_sec"]) for row in facts["results"]]
    for name, train, evaluating, before in (*rows, *PUBLISHED):
        first = "-" if before is None else f"{before:.2f}"
        lines.append(f"{name:26}{train:10.3f}{evaluating:15.3f}{first:>11}{facts['samples'] / train:15,.0f}")
    return "\n".join(lines)
