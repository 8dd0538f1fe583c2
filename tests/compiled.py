"""Compiled train steps of small benchmarks on some of the virtual devices, for the tests that compare topologies."""

import jax
import numpy as np

from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.parallel.mesh import replicated
from jax_mlperf.prefetch import to_devices
from jax_mlperf.programs import state_target, train_functions


def key_data(benchmark, mesh):
    """What `Benchmark.init` takes, the same for all topologies."""
    key = jax.random.key(3, impl=key_implementation(benchmark.config.rng_impl))
    return jax.device_put(np.asarray(jax.random.key_data(key)), replicated(mesh))


def initial_state(benchmark, mesh):
    """The state before the first step, laid out as the programs take it."""
    shardings = jax.tree.map(lambda leaf: leaf.sharding, state_target(benchmark, mesh))
    return jax.jit(benchmark.init, out_shardings=shardings)(key_data(benchmark, mesh))


def compiled_step(benchmark, mesh):
    """The train step of a benchmark with one batch shape and no data on the devices."""
    (function, arguments), = train_functions(benchmark, mesh).values()
    return function.lower(*arguments).compile()


def after_steps(benchmark, mesh, step=None, *, first=0, count):
    """Losses, and the state on the host, after a few steps from the same start, with the batches from step `first` on."""
    step, state, losses = step or compiled_step(benchmark, mesh), initial_state(benchmark, mesh), []
    for _, batch in zip(range(count), benchmark.train_batches(5, first), strict=False):
        state, metrics = step(state, to_devices(mesh, batch), ())
        losses.append(float(metrics["loss"]))
    return losses, jax.device_get(state)
