"""Recommendation (NCF): NeuMF on MovieLens, data, sampling and evaluation on the devices; HR@10.

Facts: MLPerf Training v0.5, training_rules.adoc and `mlcommons/training:recommendation/pytorch`.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from jax_mlperf.averaging import averaged, with_snapshots
from jax_mlperf.benchmark import LogEntry, Quality, Topology, TrainState
from jax_mlperf.benchmarks.config_checks import LARGEST, check_bounds, check_dtype
from jax_mlperf.benchmarks.ncf_data import check_whole, settings
from jax_mlperf.benchmarks.ncf_sampling import resident_data, training_pairs
from jax_mlperf.benchmarks.prepared import PreparedBenchmark
from jax_mlperf.data import movielens
from jax_mlperf.errors import UserError
from jax_mlperf.losses import sigmoid_cross_entropy
from jax_mlperf.metrics.hit_rate import gain, rank
from jax_mlperf.models.network import Network
from jax_mlperf.models.neumf import TABLES, NeuMF, Part, first_layer_from_tables, forward_flops
from jax_mlperf.models.neumf_loss import blocked_loss
from jax_mlperf.ops.hash_rng import key_implementation
from jax_mlperf.optim import adam, lazy_adam
from jax_mlperf.parallel.mesh import check_batch_divides, summed_over_devices
from jax_mlperf.supervised import LossOutput, supervised_step
from jax_mlperf.types import PyTree

_FIRST_LAYERS = ("auto", "pairs", "tables")
_BOUNDS = (
    ("data.negatives", ">=", 1), ("data.batch_size", ">=", 1), ("model.factors", ">=", 1), ("model.layers", ">=", 1),
    ("model.dropout_rate", ">=", 0), ("model.dropout_rate", "<", 1),
    ("optimizer.base_learning_rate", ">", 0), ("optimizer.epsilon", ">", 0), ("optimizer.average_checkpoints", ">=", 0),
    ("optimizer.weight_decay", ">=", 0),
    ("optimizer.average_every_steps", ">=", 0), ("evaluation.negatives", ">=", 1),
    ("evaluation.top", ">=", 1), ("evaluation.batch_size", ">=", 1), ("evaluation.every_epochs", ">", 0),
    *((f"optimizer.beta_{number}", *bound) for number in (1, 2) for bound in ((">=", 0), ("<", 1))),
    *((key, "<=", LARGEST) for key in ("data.batch_size", "model.factors", "model.layers", "optimizer.average_checkpoints",
                                       "optimizer.average_every_steps", "evaluation.negatives", "evaluation.top",
                                       "evaluation.every_epochs")),
)
# Evaluation pairs a device scores at a time: on the CPU what its caches hold, elsewhere half a gigabyte of activations.
_PAIRS_AT_ONCE = {"cpu": 2**14}
_PAIRS_AT_ONCE_ELSEWHERE = 2**19
# Training pairs that the CPU takes at a time: forward and backward of 1,024 to 4,096 stay in its caches.
_CPU_BLOCK = 2048


class NcfBenchmark(PreparedBenchmark):
    """The benchmark for a config, a topology and a data folder; see Benchmark.

    A sample is a user-item pair: 1 + negatives for each training rating. An epoch's last batch is as small as is left.
    """

    name = "ncf"
    source = movielens
    settings = staticmethod(settings)

    def __init__(self, config: ConfigDict, topology: Topology, data_dir: Path) -> None:
        super().__init__(config, topology, data_dir)
        self._check(config)
        meta = movielens.read_meta(self.folder)
        if meta:
            check_whole(config, meta)
        expected = config.data.expected
        self.users: int = meta.users if meta else expected.users
        self.items: int = meta.items if meta else expected["items"]  # ConfigDict has a method of that name
        self.ratings: int = meta.train_ratings if meta else expected.train
        self.global_batch_size = config.data.batch_size
        self.train_samples = self.ratings * (1 + config.data.negatives)
        self.eval_samples = self.users
        self._check_counts()
        self.quality = Quality({"hit_rate": config.quality_target})
        self.steps_per_epoch = math.ceil(self.train_samples / self.global_batch_size)
        if self.eval_every_steps() < 1:
            raise UserError(f"config.evaluation.every_epochs is {config.evaluation.every_epochs}, less than one of an epoch's "
                            f"{self.steps_per_epoch:,} steps: it must be at least {math.ceil(1e6 / self.steps_per_epoch) / 1e6}")
        self._rows = self.global_batch_size // topology.devices
        self.batch_specs = ({"first": jax.ShapeDtypeStruct((topology.devices,), jnp.int32),
                             **{name: jax.ShapeDtypeStruct((), jnp.int32) for name in ("epoch", "seed")}},)
        eval_rows = math.ceil(min(config.evaluation.batch_size, self.users) / topology.devices) * topology.devices
        self.eval_batch_spec = {"users": jax.ShapeDtypeStruct((eval_rows,), jnp.int32)}
        self.host_data_spec = {"offsets": jax.ShapeDtypeStruct((self.users + 1,), jnp.int32),
                               "items": jax.ShapeDtypeStruct((self.ratings,), jnp.int32),
                               "test_items": jax.ShapeDtypeStruct((self.users,), jnp.int32)}
        self._key_implementation = key_implementation(config.rng_impl)
        self.network = Network(lambda rngs: self._model(rngs, config.compute_dtype))
        self._scorer = Network(lambda rngs: self._model(rngs, "float32"))  # narrower scores tie: ties lose
        self._from_tables = config.model.first_layer == "tables" or (
            config.model.first_layer == "auto" and first_layer_from_tables(self._rows, self.users, self.items))
        block = math.gcd(self._rows, _CPU_BLOCK)
        blocks = topology.platform == "cpu" and block >= _CPU_BLOCK // 8 and not config.model.dropout_rate
        self._block = block if blocks else 0
        self.optimizer = self._make_optimizer()
        self._step = supervised_step(self._loss, self.optimizer, rng_impl=self._key_implementation, mesh=topology.mesh)
        self._evaluation = summed_over_devices(self._sums, topology.mesh)

    def _check(self, config: ConfigDict) -> None:
        check_bounds(config, _BOUNDS)
        check_dtype(config)
        if config.microbatch_per_device:
            raise UserError(f"config.microbatch_per_device is {config.microbatch_per_device}, but ncf takes all pairs of a "
                            "device at once: leave it at 0")
        if config.model.first_layer not in _FIRST_LAYERS:
            raise UserError(f"config.model.first_layer is {config.model.first_layer!r}; there are: {', '.join(_FIRST_LAYERS)}")
        check_batch_divides(config.data.batch_size, self.topology.devices, "config.data.batch_size of")

    def _check_counts(self) -> None:
        most = LARGEST - self.global_batch_size
        if self.train_samples > most:
            raise UserError(
                f"an epoch has {self.train_samples:,} pairs ({self.ratings:,} ratings, {self.config.data.negatives} negatives "
                f"each), more than the {most:,} that 31 bits number: take fewer of them (config.data.negatives) or a smaller "
                "expansion (config.data.fractal.user_factor, item_factor)")

    # Data -------------------------------------------------------------------------------------------------------

    def host_data(self) -> PyTree:
        """The ratings: `resident_data` says in what form."""
        ratings = movielens.load(self.folder)
        counts = np.diff(ratings.offsets)
        if counts.max() >= self.items:
            raise UserError(f"user {int(counts.argmax())} of {self.folder} has rated all {self.items:,} items, so that no "
                            "negative can be drawn for it: leave this user out of the file")
        return {"offsets": ratings.offsets.astype(np.int32), "items": ratings.items, "test_items": ratings.test_items}

    def device_data(self, host: PyTree) -> PyTree:
        """What the steps get, the evaluation's negatives among it: drawn once a run, by the rules on the clock."""
        evaluation = self.config.evaluation
        return resident_data(host, items=self.items, negatives=evaluation.negatives, seed=evaluation.seed)

    def train_batches(self, seed: int, step: int) -> Iterator[PyTree]:
        """Where each device's share of a batch begins in the epoch; the devices make the pairs."""
        devices = self.topology.devices // self.topology.process_count
        seed_word = np.uint32(seed % 2**32).astype(np.int32)  # as jax.random.key takes it
        mine = np.arange(devices, dtype=np.int32) + self.topology.process_index * devices
        while True:
            epoch, batch = divmod(step, self.steps_per_epoch)
            yield {"first": (batch * self.global_batch_size + mine * self._rows).astype(np.int32),
                   "epoch": np.int32(epoch), "seed": seed_word}
            step += 1

    def eval_batches(self) -> Iterator[PyTree]:
        """Every user once; -1 is padding."""
        rows = self.eval_batch_spec["users"].shape[0]
        share = rows // self.topology.process_count
        for first in range(0, self.users, rows):
            numbers = np.arange(first, first + rows, dtype=np.int32)[self.topology.process_index * share:][:share]
            yield {"users": np.where(numbers < self.users, numbers, np.int32(-1))}

    # Model ------------------------------------------------------------------------------------------------------

    def _model(self, rngs: nnx.Rngs, dtype: str) -> NeuMF:
        config = self.config.model
        return NeuMF(users=self.users, items=self.items, factors=config.factors, layers=config.layers, dtype=jnp.dtype(dtype),
                     rngs=rngs)

    def _make_optimizer(self) -> optax.GradientTransformation:
        config = self.config.optimizer
        moments = config.beta_1, config.beta_2, config.epsilon
        if config.name == "adam":
            optimizer = adam(self.learning_rate, *moments, config.weight_decay)
        elif config.name == "lazy_adam":
            if config.weight_decay:
                raise UserError(f"config.optimizer.weight_decay is {config.weight_decay}, but lazy_adam has none: leave it at 0")
            optimizer = lazy_adam(self.learning_rate, *moments, TABLES)
        else:
            raise UserError(f"config.optimizer.name is {config.name!r}; ncf has 'adam' and 'lazy_adam'")
        return with_snapshots(optimizer, config.average_checkpoints, self._average_every())

    def _average_every(self) -> int:
        return self.config.optimizer.average_every_steps or math.ceil(self.eval_every_steps())

    def init(self, key_data: jax.Array) -> TrainState:
        """The initial state; see Benchmark."""
        params, _ = self.network.init(jax.random.wrap_key_data(key_data, impl=self._key_implementation))
        return TrainState(jnp.zeros((), jnp.int32), params, {}, self.optimizer.init(params), key_data)

    def _loss(self, params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> LossOutput:
        pairs = training_pairs(data, batch, rows=self._rows, items=self.items, negatives=self.config.data.negatives)
        if self._block:
            loss_sum = blocked_loss(lambda params: self.network.bound(params, {}), params, pairs, from_tables=self._from_tables,
                                    block=self._block)
            return LossOutput(loss_sum, jnp.sum(pairs.weights, dtype=jnp.float32), model_state)
        logits = self.network.bound(params, {})(pairs.users, pairs.items, from_tables=self._from_tables,
                                                key=key if self.config.model.dropout_rate else None)
        return LossOutput(*sigmoid_cross_entropy(logits, pairs.labels, pairs.weights), model_state)

    def train_step(self, state: TrainState, batch: PyTree, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update; see Benchmark."""
        return self._step(state, batch, data)

    def eval_step(self, state: TrainState, batch: PyTree, data: PyTree) -> dict[str, jax.Array]:
        """Sums over the users of the batch: how many, how many hits, and the gains."""
        return self._evaluation(averaged(state.params, state.opt_state, self._average_every()), batch, data)

    def _sums(self, params: PyTree, batch: PyTree, data: PyTree) -> dict[str, jax.Array]:
        """The first layer once for each item and once for each user; the others for the pairs, some users at a time."""
        model, top = self._scorer.bound(params, {}), self.config.evaluation.top
        table = model.item_part(model.item_embedding[...])

        def of_block(users: jax.Array) -> dict[str, jax.Array]:
            counted, rows = users >= 0, jnp.maximum(users, 0)
            part = model.user_part(model.user_embedding[rows])
            positive, candidates = data["test_items"][rows], data["candidates"][rows]
            items = jnp.concatenate([candidates, positive[:, None]], axis=1)
            scores = model.score(Part(*(leaf[:, None] for leaf in part)), Part(*(leaf[items] for leaf in table)))
            ranks = rank(scores[:, :-1], candidates, scores[:, -1], positive)
            return {"users": jnp.sum(counted, dtype=jnp.int32), "hits": jnp.sum(counted & (ranks < top), dtype=jnp.int32),
                    "gain": jnp.sum(counted * gain(ranks, top))}

        at_once = _PAIRS_AT_ONCE.get(self.topology.platform, _PAIRS_AT_ONCE_ELSEWHERE)
        users = batch["users"]
        together = min(len(users), max(1, at_once // (1 + self.config.evaluation.negatives)))
        blocks = jnp.pad(users, (0, -len(users) % together), constant_values=-1).reshape(-1, together)
        return jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), jax.lax.map(of_block, blocks))

    # Quality and log --------------------------------------------------------------------------------------------

    def score(self, outputs: list[PyTree]) -> dict[str, float]:
        """HR@10 and NDCG@10 over all users, as fractions."""
        sums = {name: float(sum(output[name] for output in outputs)) for name in ("users", "hits", "gain")}
        return {"hit_rate": sums["hits"] / max(sums["users"], 1.0), "ndcg": sums["gain"] / max(sums["users"], 1.0)}

    def logged_quality(self, metrics: Mapping[str, float]) -> float:
        """HR@10 as a fraction."""
        return round(metrics["hit_rate"], 6)

    def hyperparameters(self) -> list[LogEntry]:
        """MLPerf's keys of today, and the tags of v0.5 (mlperf_compliance/tags.py) in lower case for what has none."""
        data, evaluation, optimizer, model = (self.config[key] for key in ("data", "evaluation", "optimizer", "model"))
        values: dict[str, Any] = {
            "opt_name": optimizer.name, "opt_base_learning_rate": optimizer.base_learning_rate,
            "opt_adam_beta_1": optimizer.beta_1, "opt_adam_beta_2": optimizer.beta_2, "opt_adam_epsilon": optimizer.epsilon,
            "opt_weight_decay": optimizer.weight_decay, "dropout_rate": model.dropout_rate,
            "preproc_hp_min_ratings": data.min_ratings, "preproc_hp_num_eval": evaluation.negatives,
            "preproc_hp_sample_eval_replacement": True, "input_size": self.ratings, "input_hp_num_neg": data.negatives,
            "input_hp_sample_train_replacement": True, "model_hp_mf_dim": model.factors,
            "model_hp_mlp_layer_sizes": list(model.layers), "model_hp_loss_fn": "binary_cross_entropy",
            "eval_hp_num_users": self.users, "eval_hp_num_neg": evaluation.negatives,
        }
        return [LogEntry(key, value) for key, value in values.items()]

    def learning_rate(self, step: int | jax.Array) -> float:
        """The same at every step."""
        return self.config.optimizer.base_learning_rate

    def samples_in(self, spec: PyTree) -> int:
        """The pairs of a batch, which the devices make themselves."""
        return self.global_batch_size

    def forward_flops(self, spec: PyTree) -> int:
        """Those of the model on each pair, though the first layer may be applied to the tables."""
        return self.global_batch_size * forward_flops(self.config.model.factors, self.config.model.layers)

    def eval_every_steps(self) -> float:
        """So many epochs."""
        return self.config.evaluation.every_epochs * self.steps_per_epoch
