"""The smallest real benchmark: linear regression on generated data, for tests of the trainer and its seam."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from jax_mlperf.benchmark import Benchmark, DataFile, LogEntry, Quality, Topology, TrainState
from jax_mlperf.checkpoint import restore_newest
from jax_mlperf.config import base_config
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.programs import state_target
from jax_mlperf.supervised import LossOutput, supervised_step

FEATURES = 6
EVAL_ROWS = 32
WEIGHTS = np.arange(1.0, FEATURES + 1, dtype=np.float32)


def toy_config(**values) -> ConfigDict:
    config = base_config()
    config.update({"benchmark": "toy", "division": "open", "seed": 7, "batch_size": 16, "steps_per_epoch": 10,
                   "learning_rate": 0.1, "quality_target": 0.99, "noise": 0.0, "log_every_steps": 5, "max_epochs": 20.0,
                   "accumulation_steps": 1, "hidden": 64})
    config.update(values)
    return config.lock()


def final_state(workdir, benchmark, mesh, run=0):
    """What the newest checkpoint of a run holds, on a mesh."""
    return restore_newest(workdir / f"run_{run}" / "checkpoints", state_target(benchmark, mesh))


class ToyBenchmark(Benchmark):
    """Fits y = x . WEIGHTS; the metric is 1 - mean squared error / variance of y."""

    name = "toy"

    def __init__(self, config: ConfigDict, topology: Topology | None = None) -> None:
        super().__init__(config, topology or Topology(1), Path("."))
        topology = self.topology
        self.quality = Quality({"r2": config.quality_target})
        self.global_batch_size = config.batch_size
        self.steps_per_epoch = config.steps_per_epoch
        self.train_samples = config.batch_size * config.steps_per_epoch
        self.eval_samples = EVAL_ROWS
        self.accumulation_steps = config.accumulation_steps
        self.batch_specs = (self._spec(config.batch_size),)
        self.eval_batch_spec = self._spec(EVAL_ROWS)
        self.optimizer = optax.adam(self.config.learning_rate)
        self.train_step = supervised_step(self._loss, self.optimizer, rng_impl=key_implementation(config.rng_impl),
                                          accumulation_steps=config.accumulation_steps, mesh=topology.mesh)

    def _spec(self, rows: int) -> dict:
        return {"x": jax.ShapeDtypeStruct((rows, FEATURES), jnp.float32), "y": jax.ShapeDtypeStruct((rows,), jnp.float32)}

    def _loss(self, params, model_state, batch, key, data) -> LossOutput:
        error = self._predict(params, batch["x"]) - batch["y"]
        noise = self.config.noise * jax.random.normal(key, error.shape)
        return LossOutput(jnp.sum((error + noise) ** 2), jnp.float32(error.size), model_state)

    def _predict(self, params, x):
        return x @ params["w"] @ params["v"]

    def init(self, key_data) -> TrainState:
        key = jax.random.wrap_key_data(key_data, impl=key_implementation(self.config.rng_impl))
        params = {"w": jax.random.normal(key, (FEATURES, self.config.hidden)) * 0.3,
                  "v": jnp.full((self.config.hidden,), 0.1)}
        return TrainState(jnp.zeros((), jnp.int32), params, {}, self.optimizer.init(params), key_data)

    def train_step(self, state, batch, data):  # replaced in __init__
        raise NotImplementedError

    def eval_step(self, state, batch, data):
        return self._predict(state.params, batch["x"]) - batch["y"]

    def _rows(self, seed: int, step: int, rows: int) -> dict:
        x = np.random.default_rng((seed, step)).standard_normal((rows, FEATURES), np.float32)
        share = rows // self.topology.process_count
        mine = slice(self.topology.process_index * share, (self.topology.process_index + 1) * share)
        return {"x": x[mine], "y": (x @ WEIGHTS)[mine]}

    def train_batches(self, seed, step):
        while True:
            yield self._rows(seed, step, self.config.batch_size)
            step += 1

    def eval_batches(self):
        yield self._rows(0, 10**6, EVAL_ROWS)

    def score(self, outputs):
        return {"r2": 1 - float(np.mean(outputs[0] ** 2)) / float(np.sum(WEIGHTS**2))}

    def logged_quality(self, metrics):
        return metrics["r2"]

    def hyperparameters(self):
        return [LogEntry("opt_base_learning_rate", self.config.learning_rate)]

    def learning_rate(self, step):
        return self.config.learning_rate

    def forward_flops(self, spec):
        return 2 * jax.tree.leaves(spec)[0].shape[0] * (FEATURES + 1) * self.config.hidden

    def data_files(self) -> list[DataFile]:
        return []
