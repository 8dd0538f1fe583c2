"""The training step of a real benchmark as a side of a comparison: its own program, data and optimizer."""

import itertools
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from jax import lax
from jax.sharding import Mesh
from ml_collections import ConfigDict

from jax_mlperf.benchmark import Benchmark, Topology, TrainState
from jax_mlperf.benchmarks import create
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.parallel.mesh import make_mesh, replicated
from jax_mlperf.prefetch import to_devices
from jax_mlperf.programs import data_targets, state_target

Run = Callable[[int], float]  # makes that many steps, waits, returns the last loss


class Seconds(NamedTuple):
    """What something took by the clock, and of processor time."""

    wall: float
    processor: float


def timed(function: Callable[[], Any]) -> Seconds:
    """Calls it once."""
    wall, processor = time.perf_counter(), time.process_time()
    function()
    return Seconds(time.perf_counter() - wall, time.process_time() - processor)


def median(values: Sequence[Seconds]) -> Seconds:
    """Of each kind for itself."""
    return Seconds(*(statistics.median(kind) for kind in zip(*values, strict=True)))


def rounds_of(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[Seconds]]:
    """All calls in turn, so many times, so that a slow minute hits all of them."""
    times: dict[str, list[Seconds]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            time.sleep(0.1)  # lets the other framework's threads stop spinning
            times[name].append(timed(call))
    return times


def medians_in_turn(calls: Sequence[Callable[[], Any]], seconds: float) -> list[float]:
    """Median seconds of each call, in turn for about `seconds` altogether; the first of each warms up.

    Of processor time on a CPU, which what else the machine does hardly changes; of wall time elsewhere.
    """
    times: list[list[Seconds]] = [[] for _ in calls]
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times[0]) < 4:
        for call, taken in zip(calls, times, strict=True):
            taken.append(timed(call))
    on_cpu = jax.default_backend() == "cpu"
    return [values.processor if on_cpu else values.wall for values in (median(taken[1:]) for taken in times)]


def make_benchmark(config: ConfigDict, data_dir: Path, devices: int) -> Benchmark:
    """The benchmark on the first so many devices; its prepared data must be there."""
    mesh = make_mesh(-1, 1, jax.devices()[:devices])
    return create(config, Topology(devices, mesh=mesh), data_dir)


def _on_devices(benchmark: Benchmark) -> tuple[TrainState, Any, Mesh]:
    """A new state, the data as the steps get it, and the mesh."""
    mesh = benchmark.topology.mesh
    assert mesh is not None
    key = jax.random.key_data(jax.random.key(0, impl=key_implementation(benchmark.config.rng_impl)))
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state_target(benchmark, mesh))
    host = jax.tree.map(lambda array, spec: jax.device_put(np.asarray(array), spec.sharding), benchmark.host_data(),
                        data_targets(benchmark, mesh)[0])
    data = jax.jit(benchmark.device_data, out_shardings=replicated(mesh))(host)
    return jax.jit(benchmark.init, out_shardings=shardings)(key), data, mesh


def our_side(benchmark: Benchmark, steps: int) -> Run:
    """The benchmark's training step on `steps` batches in rotation, as run.py does it: on a CPU one step a dispatch, elsewhere
    that many; compiled, state donated, data on the devices.
    """
    state, data, mesh = _on_devices(benchmark)
    batches = list(itertools.islice(benchmark.train_batches(0, 0), steps))
    if jax.default_backend() == "cpu":
        step, arguments = benchmark.train_step, [to_devices(mesh, batch) for batch in batches]
    else:
        def step(state: Any, stacked: Any, data: Any) -> Any:
            return lax.scan(lambda state, batch: benchmark.train_step(state, batch, data), state, stacked)

        arguments = [to_devices(mesh, jax.tree.map(lambda *leaves: np.stack(leaves), *batches), 1)]
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state)
    compiled = jax.jit(step, donate_argnums=0, out_shardings=(shardings, replicated(mesh))).lower(
        state, arguments[0], data).compile()
    holder = [state]

    def run(count: int) -> float:
        for index in range(count * len(arguments) // steps):
            holder[0], metrics = compiled(holder[0], arguments[index % len(arguments)], data)
        return float(np.ravel(metrics["loss"])[-1])

    return run


def our_evaluation(benchmark: Benchmark) -> Callable[[], dict[str, float]]:
    """The benchmark's evaluation of untrained parameters; compiled, and called once already."""
    state, data, mesh = _on_devices(benchmark)
    batches = [to_devices(mesh, batch) for batch in benchmark.eval_batches()]
    compiled = jax.jit(benchmark.eval_step, out_shardings=replicated(mesh)).lower(state, batches[0], data).compile()

    def run() -> dict[str, float]:
        return benchmark.score([compiled(state, batch, data) for batch in batches])

    run()
    return run
