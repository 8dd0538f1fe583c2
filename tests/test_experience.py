"""Runs that make what they learn from: steps of several kinds, experience split over the devices, kept by checkpoints."""

import dataclasses
import json
import os
import signal
import threading

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from toy_benchmark import FEATURES, WEIGHTS, ToyBenchmark, final_state, toy_config

from jax_mlperf.benchmark import LogEntry, Topology
from jax_mlperf.checkpoint import Checkpoints
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.parallel.mesh import BATCH_AXES, make_mesh
from jax_mlperf.programs import state_target, train_functions
from jax_mlperf.supervised import LossOutput, supervised_step
from jax_mlperf.trainer import train

ROWS, COLLECTED = 16, 4  # of the store; steps of an epoch that fill it, of 10


class Collecting(ToyBenchmark):
    """The toy that draws its own rows, depending on what it has learned, before it learns from them."""

    def __init__(self, config, topology=None):
        super().__init__(config, topology)
        scalar = jax.ShapeDtypeStruct((), jnp.int32)
        self.batch_specs = ({"collect": scalar}, {"update": scalar})
        self.experience_spec = {"x": PartitionSpec(BATCH_AXES), "rounds": PartitionSpec()}
        self.optimizer = optax.sgd(0.02)
        self._update = supervised_step(self._loss, self.optimizer, rng_impl=key_implementation(config.rng_impl),
                                       mesh=self.topology.mesh)
        self.train_step = self._step

    def init(self, key_data):
        experience = {"x": jnp.zeros((ROWS, COLLECTED, FEATURES)), "rounds": jnp.zeros((), jnp.int32)}
        return dataclasses.replace(super().init(key_data), experience=experience)

    def _loss(self, params, model_state, batch, key, data):
        error = self._predict(params, batch["x"]) - batch["x"] @ WEIGHTS
        return LossOutput(jnp.sum(error**2), jnp.float32(error.size), model_state)

    def _step(self, state, batch, data):
        if "update" in batch:
            return self._update(state, {"x": state.experience["x"]}, data)
        drawn = jax.random.normal(jax.random.key(batch["collect"]), (ROWS, FEATURES)) + 0.1 * jnp.tanh(state.params["w"].sum())
        stored = state.experience["x"].at[:, batch["collect"] % COLLECTED].set(drawn)
        rounds = state.experience["rounds"] + 1
        state = dataclasses.replace(state, step=state.step + 1, experience={"x": stored, "rounds": rounds})
        return state, {"rows": jnp.float32(ROWS)}

    def train_batches(self, seed, step):
        while True:
            kind = "collect" if step % self.config.steps_per_epoch < COLLECTED else "update"
            yield {kind: np.int32(step)}
            step += 1

    def forward_flops(self, spec):
        return 2 * ROWS * (FEATURES + 1) * self.config.hidden

    def evaluation_entries(self, metrics):
        return [LogEntry("toy_rows", ROWS, {"r2": metrics["r2"]})]


class Interrupted(Collecting):
    def next_eval_step(self, step):
        # the trainer asks after its twelfth step, which collects rows; the prefetcher's thread is ahead of it
        if step == 11 and threading.current_thread() is threading.main_thread():
            os.kill(os.getpid(), signal.SIGTERM)
        return super().next_eval_step(step)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three epochs on one device, and on two: there with a SIGTERM on the way."""
    folder = tmp_path_factory.mktemp("experience")
    config = toy_config(max_epochs=3.0, quality_target=2.0, prefetch_batches=2)
    one, two = (make_mesh(devices, 1, jax.devices()[:devices]) for devices in (1, 2))
    train(Collecting(config), one, folder / "one")
    first = train(Interrupted(config, Topology(2, mesh=two)), two, folder / "two")[0]
    assert not first.complete and first.step == 12
    benchmark = Collecting(config, Topology(2, mesh=two))
    train(benchmark, two, folder / "two")
    return folder, final_state(folder / "one", benchmark, one), final_state(folder / "two", benchmark, two)


def test_every_kind_of_step_is_a_program_of_its_own():
    mesh = make_mesh(1, 1, jax.devices()[:1])
    assert list(train_functions(Collecting(toy_config()), mesh)) == ["collect scalar", "update scalar"]


def test_experience_is_split_over_the_devices_and_goes_on_where_it_stopped(trained):
    _, one, two = trained
    assert two.experience["x"].sharding.spec == PartitionSpec(BATCH_AXES)
    assert int(one.step) == int(two.step) == 30 and int(one.experience["rounds"]) == int(two.experience["rounds"]) == 3 * COLLECTED
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one, two)
    assert np.unique(one.experience["x"]).size == ROWS * COLLECTED * FEATURES


def test_a_network_can_be_restored_without_its_experience(trained):
    folder, one, _ = trained
    benchmark, mesh = Collecting(toy_config()), make_mesh(1, 1, jax.devices()[:1])
    target = dataclasses.replace(state_target(benchmark, mesh), experience={})
    checkpoints = Checkpoints(folder / "one" / "run_0" / "checkpoints", keep=2, read_only=True)
    state, _ = checkpoints.restore(checkpoints.latest_step(), target)
    checkpoints.close()
    assert state.experience == {}
    jax.tree.map(np.testing.assert_array_equal, state.params, one.params)


def test_evaluations_have_lines_of_the_benchmarks_own(trained):
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in (trained[0] / "two" / "result_0.txt").read_text().splitlines()]
    keys = [line["key"] for line in lines]
    assert keys.count("toy_rows") == 3 and keys[keys.index("toy_rows") - 1] == "eval_accuracy"
    line = lines[keys.index("toy_rows")]
    assert line["value"] == ROWS and line["metadata"]["epoch_num"] == 1 and line["metadata"]["r2"] < 1
