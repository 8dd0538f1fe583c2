"""Data that stays on the devices, state that each device keeps, and schedules that hang on the quality."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.sharding import PartitionSpec
from toy_benchmark import FEATURES, WEIGHTS, ToyBenchmark, final_state, toy_config

from jax_mlperf.benchmark import LogEntry, Topology, TrainState
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.parallel.mesh import BATCH_AXES, make_mesh
from jax_mlperf.supervised import LossOutput, supervised_step
from jax_mlperf.trainer import train

ROWS = 64


class Resident(ToyBenchmark):
    """The toy with its data on the devices, a rate that halves at each evaluation, and rows counted by each worker."""

    def __init__(self, config, topology=None):
        super().__init__(config, topology)
        self.model_state_spec = PartitionSpec(BATCH_AXES)
        self.batch_specs = ({"index": jax.ShapeDtypeStruct((config.batch_size,), jnp.int32)},)
        self.host_data_spec = {"x": jax.ShapeDtypeStruct((ROWS, FEATURES), jnp.float32)}
        self.optimizer = optax.inject_hyperparams(optax.sgd)(0.01)
        self.train_step = supervised_step(
            self._loss, self.optimizer, rng_impl=key_implementation(config.rng_impl), mesh=self.topology.mesh,
            model_state_spec=self.model_state_spec)

    def host_data(self):
        return {"x": np.random.default_rng(5).standard_normal((ROWS, FEATURES), np.float32)}

    def device_data(self, host):
        return {"x": host["x"], "y": host["x"] @ WEIGHTS}

    def init(self, key_data):
        state = super().init(key_data)
        return TrainState(state.step, state.params, {"seen": jnp.zeros((8,), jnp.int32)}, state.opt_state, key_data)

    def _loss(self, params, model_state, batch, key, data):
        x, y = data["x"][batch["index"]], data["y"][batch["index"]]
        error = self._predict(params, x) - y
        workers = len(model_state["seen"])
        seen = model_state["seen"] + batch["index"].reshape(workers, -1).sum(1)
        return LossOutput(jnp.sum(error**2), jnp.float32(len(error)), {"seen": seen})

    def train_batches(self, seed, step):
        while True:
            yield {"index": np.random.default_rng((seed, step)).permutation(ROWS)[:self.config.batch_size].astype(np.int32)}
            step += 1

    def after_evaluation(self, state, metrics):
        old = state.opt_state.hyperparams["learning_rate"]
        rate = jax.make_array_from_callback((), old.sharding, lambda _: np.float32(old) / 2)
        hyperparams = {**state.opt_state.hyperparams, "learning_rate": rate}
        return TrainState(state.step, state.params, state.model_state,
                          state.opt_state._replace(hyperparams=hyperparams), state.rng)

    def closing_entries(self):
        return [LogEntry("toy_closing", 3)]


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Three epochs on one device, and on eight: first two of them, then the last one as a resumption."""
    folder = tmp_path_factory.mktemp("resident")
    values = {"quality_target": 2.0, "batch_size": 16, "steps_per_dispatch": 2}
    one, eight = make_mesh(1, 1, jax.devices()[:1]), make_mesh(8, 1)
    train(Resident(toy_config(max_epochs=3.0, **values)), one, folder / "one")
    benchmark = Resident(toy_config(max_epochs=3.0, **values), Topology(8, mesh=eight))
    train(Resident(toy_config(max_epochs=2.0, **values), Topology(8, mesh=eight)), eight, folder / "eight")
    (folder / "eight" / "run_0" / "summary.json").unlink()
    train(benchmark, eight, folder / "eight")
    return folder, final_state(folder / "one", benchmark, one), final_state(folder / "eight", benchmark, eight)


def test_one_device_and_eight_that_resumed_learn_the_same(trained):
    _, one, eight = trained
    assert int(one.step) == int(eight.step) == 30
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), one.params, eight.params)


def test_each_worker_keeps_its_own_state_split_over_the_devices(trained):
    _, one, eight = trained
    assert eight.model_state["seen"].sharding.spec == PartitionSpec(BATCH_AXES)
    seen = sum(np.random.default_rng((7, step)).permutation(ROWS)[:16].reshape(8, 2).sum(1) for step in range(30))
    np.testing.assert_array_equal(one.model_state["seen"], seen)
    np.testing.assert_array_equal(eight.model_state["seen"], seen)


def test_the_state_after_an_evaluation_is_what_the_benchmark_makes_of_it(trained):
    _, one, eight = trained  # both saved before their third evaluation
    assert float(one.opt_state.hyperparams["learning_rate"]) == pytest.approx(0.01 / 4)
    assert float(eight.opt_state.hyperparams["learning_rate"]) == pytest.approx(0.01 / 4)


def test_nothing_compiles_on_the_clock_and_closing_lines_stand_last(trained):
    lines = [json.loads(line.removeprefix(":::MLLOG ")) for line in (trained[0] / "one" / "result_0.txt").read_text().splitlines()]
    values = {line["key"]: line["value"] for line in lines}
    assert values["compilations_in_timed_region"] == 0 and list(values)[-1] == "toy_closing"
