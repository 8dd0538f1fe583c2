"""Image classification on CIFAR-10: workers with fixed parts of the data, which stays on the devices; top-1.

Facts: MLBench's benchmark-tasks.rst, mlbench-core and mlbench-benchmarks; He et al. 2015; airbench94_muon.py.
"""

import math
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict

from jax_mlperf.benchmark import LogEntry, Quality, Topology, TrainState
from jax_mlperf.benchmarks.cifar10_data import settings
from jax_mlperf.benchmarks.cifar10_optimizer import Cifar10Optimizer
from jax_mlperf.benchmarks.config_checks import COMMON, check_bounds, check_dtype, check_length
from jax_mlperf.benchmarks.prepared import PreparedBenchmark
from jax_mlperf.data import cifar10
from jax_mlperf.data.sampling import TrainOrder, eval_batches
from jax_mlperf.errors import UserError
from jax_mlperf.flops import count_flops
from jax_mlperf.losses import softmax_cross_entropy
from jax_mlperf.models.airbench import Airbench
from jax_mlperf.models.network import Network
from jax_mlperf.models.resnet_cifar import ResNetCifar
from jax_mlperf.ops.augmentation import (
    AIRBENCH_STD,
    MLBENCH_STD,
    alternating_flip,
    combine_views,
    normalise,
    random_crop,
    random_flip,
    views,
)
from jax_mlperf.ops.hash_rng import key_data_shape, key_implementation
from jax_mlperf.ops.whitening import whitening_filter
from jax_mlperf.parallel.mesh import BATCH_AXES
from jax_mlperf.supervised import LossOutput, supervised_step
from jax_mlperf.types import PyTree

_NORMALISATIONS = {"mlbench": MLBENCH_STD, "airbench": AIRBENCH_STD}
_FLIPS = ("none", "random", "alternating")
_BOUNDS = (
    ("data.workers", ">=", 1), ("data.crop_padding", ">=", 0), ("model.widths", ">=", 1), ("optimizer.milestones", ">=", 1),
    *((f"optimizer.{part}_learning_rate", ">", 0) for part in ("filter", "head", "bias", "stem_bias")),
    ("optimizer.muon_momentum", ">=", 0), ("optimizer.muon_momentum", "<", 1), ("optimizer.decay_per_sample", ">=", 0),
    ("optimizer.stem_bias_epochs", ">=", 0),
)
_SIZE = 32
# Training images whose patches the whitening filter is made of (airbench94_muon.py).
_WHITENING_IMAGES = 5_000


class Cifar10Benchmark(PreparedBenchmark):
    """The benchmark for a config, a topology and a data folder; see Benchmark.

    A global batch is that of all workers, one after the other. A worker's rows are one batch-norm group, and its running
    statistics are its own: the first axis of `model_state` is that of the workers. A device holds whole workers.
    """

    name = "cifar10"
    source = cifar10
    settings = staticmethod(settings)

    def __init__(self, config: ConfigDict, topology: Topology, data_dir: Path) -> None:
        super().__init__(config, topology, data_dir)
        self._check(config)
        self.workers = config.data.workers
        meta = cifar10.read_meta(self.folder)
        self.train_samples = meta.train_images if meta else config.data.expected.train
        self.eval_samples = meta.test_images if meta else config.data.expected.eval
        self.quality = Quality({"accuracy": config.quality_target})
        self.global_batch_size = self.workers * config.data.batch_size
        self.steps_per_epoch = self._order(0).steps_per_epoch
        self.batch_specs = (self._batch_spec(),)
        self._eval_rows = math.ceil(min(config.evaluation.batch_size, self.eval_samples) / self.workers)
        self.eval_batch_spec = {"index": jax.ShapeDtypeStruct((self.workers * self._eval_rows,), jnp.int32)}
        self.host_data_spec = {
            split: {"images": jax.ShapeDtypeStruct((count, _SIZE, _SIZE, 3), jnp.uint8),
                    "labels": jax.ShapeDtypeStruct((count,), jnp.uint8)}
            for split, count in (("train", self.train_samples), ("test", self.eval_samples))}
        self.model_state_spec = PartitionSpec(BATCH_AXES)
        self._key_implementation = key_implementation(config.rng_impl)
        self.network = Network(self._model)
        self.optimizer = Cifar10Optimizer(config, self.workers, self.steps_per_epoch)
        self._step = supervised_step(self._loss, self.optimizer.transformation, rng_impl=self._key_implementation,
                                     mesh=topology.mesh, model_state_spec=self.model_state_spec)

    def _check(self, config: ConfigDict) -> None:
        check_bounds(config, (*COMMON, *_BOUNDS))
        check_dtype(config)
        check_length(config, "model.widths", 3)
        if config.microbatch_per_device:
            raise UserError(f"config.microbatch_per_device is {config.microbatch_per_device}, but cifar10 takes all rows of a "
                            "device at once: leave it at 0")
        milestones = config.optimizer.milestones
        if list(milestones) != sorted(set(milestones)):
            raise UserError(f"config.optimizer.milestones is {milestones!r}, must increase")
        for key, known in (("normalisation", _NORMALISATIONS), ("flip", _FLIPS)):
            if config.data[key] not in known:
                raise UserError(f"config.data.{key} is {config.data[key]!r}; there are: {', '.join(known)}")
        devices = self.topology.devices
        if config.data.workers % devices:
            raise UserError(f"config.data.workers is {config.data.workers}, but {devices} devices need a multiple of {devices}: "
                            f"each holds whole workers; set --config.data.workers={devices}")

    # Data -------------------------------------------------------------------------------------------------------

    def host_data(self) -> PyTree:
        """All images and labels, uint8."""
        return {split: cifar10.load(self.folder, split)._asdict() for split in cifar10.SPLITS}

    def device_data(self, host: PyTree) -> PyTree:
        """The images as they are, and the whitening filter made of the first training images where the model has one."""
        if not self._whitens():
            return host
        images = host["train"]["images"][:_WHITENING_IMAGES]
        return {**host, "whitening": whitening_filter(normalise(images, _NORMALISATIONS[self.config.data.normalisation]))}

    def _whitens(self) -> bool:
        return self.config.model.name == "airbench" and self.config.model.whitening

    def _order(self, seed: int) -> TrainOrder:
        data = self.config.data
        return TrainOrder(self.train_samples, self.workers, data.batch_size, seed, data.drop_last)

    def _batch_spec(self) -> dict[str, jax.ShapeDtypeStruct]:
        spec = {"index": jax.ShapeDtypeStruct((self.global_batch_size,), jnp.int32)}
        if self.config.data.flip == "alternating":
            spec |= {name: jax.ShapeDtypeStruct((), jnp.int32) for name in ("epoch", "seed")}
        return spec

    def _mine(self, index: np.ndarray) -> np.ndarray:
        share = len(index) // self.topology.process_count
        return index[self.topology.process_index * share:][:share]

    def train_batches(self, seed: int, step: int) -> Iterator[PyTree]:
        """Numbers of the images of each step, worker after worker; -1 where an epoch's last batch is not full."""
        for index in self._order(seed).batches(step):
            batch: dict[str, Any] = {"index": self._mine(index)}
            if self.config.data.flip == "alternating":
                batch |= {"epoch": np.int32(step // self.steps_per_epoch), "seed": np.int32(seed)}
            yield batch
            step += 1

    def eval_batches(self) -> Iterator[PyTree]:
        """Every test image once, each worker its part."""
        for index in eval_batches(self.eval_samples, self.workers, self._eval_rows, 0):
            yield {"index": self._mine(index)}

    # Model ------------------------------------------------------------------------------------------------------

    def _model(self, rngs: nnx.Rngs) -> ResNetCifar | Airbench:
        config, dtype = self.config.model, jnp.dtype(self.config.compute_dtype)
        if config.name == "resnet":
            return ResNetCifar(depth=config.depth, version=config.version, layout=config.layout, width=config.width,
                               workers=self.workers, bn_group_size=self.config.data.batch_size, dtype=dtype, rngs=rngs)
        if config.name == "airbench":
            return Airbench(widths=config.widths, whitening=config.whitening, dirac_init=config.dirac_init,
                            zero_stem_bias=config.zero_stem_bias, logit_scale=config.logit_scale, workers=self.workers,
                            bn_group_size=self.config.data.batch_size, dtype=dtype, rngs=rngs)
        raise UserError(f"config.model.name is {config.name!r}; cifar10 has 'resnet' and 'airbench'")

    def _logits(self, model: ResNetCifar | Airbench, images: jax.Array, data: PyTree, **arguments: Any) -> jax.Array:
        images = normalise(images, _NORMALISATIONS[self.config.data.normalisation], dtype=self.config.compute_dtype)
        if isinstance(model, Airbench):
            return model(images, data.get("whitening"), **arguments)
        return model(images, **arguments)

    def init(self, key_data: jax.Array) -> TrainState:
        """The initial state; see Benchmark."""
        key = jax.random.wrap_key_data(key_data, impl=self._key_implementation)
        params, statistics = self.network.init(key)
        return TrainState(jnp.zeros((), jnp.int32), params, statistics, self.optimizer.transformation.init(params), key_data)

    def _augmented(self, images: jax.Array, batch: PyTree, key: jax.Array) -> jax.Array:
        data, (crop_key, flip_key) = self.config.data, jax.random.split(key)
        if data.flip == "random":
            images = random_flip(images, flip_key)
        elif data.flip == "alternating":
            images = alternating_flip(images, batch["index"], batch["epoch"], jax.random.key(batch["seed"]))
        return random_crop(images, crop_key, padding=data.crop_padding, mode=data.crop_mode)

    def _loss(self, params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> LossOutput:
        """The sum over the workers of each one's mean loss: MLBench averages their gradients with equal weights."""
        images, labels, weights = _rows(data["train"], batch["index"])
        model = self.network.bound(params, model_state)
        padded = None if self.config.data.drop_last else weights
        logits = self._logits(model, self._augmented(images, batch, key), data, train=True, weights=padded)
        by_worker = (leaf.reshape(-1, self.config.data.batch_size, *leaf.shape[1:]) for leaf in (logits, labels, weights))
        loss_sums, counts = jax.vmap(partial(softmax_cross_entropy, smoothing=self.config.label_smoothing))(*by_worker)
        loss = jnp.sum(loss_sums / jnp.maximum(counts, 1.0))
        return LossOutput(loss, jnp.float32(len(counts)), nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))

    def train_step(self, state: TrainState, batch: PyTree, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update; see Benchmark."""
        return self._step(state, batch, data)

    def eval_step(self, state: TrainState, batch: PyTree, data: PyTree) -> dict[str, jax.Array]:
        """Sums over the batch: images, those right with one and five guesses, and the loss; workers take their own statistics."""
        images, labels, weights = _rows(data["test"], batch["index"])
        kind, model = self.config.evaluation.views, self.network.bound(state.params, state.model_state)
        logits = combine_views([self._logits(model, view, data, train=False) for view in views(images, kind)], kind)
        loss_sum, _ = softmax_cross_entropy(logits, labels, weights)
        better = jnp.sum(logits > jnp.take_along_axis(logits, labels[:, None], axis=-1), axis=-1)
        return {"images": jnp.sum(weights, dtype=jnp.int32), "top1": jnp.sum(weights & (better < 1), dtype=jnp.int32),
                "top5": jnp.sum(weights & (better < 5), dtype=jnp.int32), "loss": loss_sum}

    def after_evaluation(self, state: TrainState, metrics: Mapping[str, float]) -> TrainState:
        """The next epoch's learning rate, where it hangs on the validation loss."""
        return self.optimizer.after_evaluation(state, metrics["loss"])

    # Quality and log --------------------------------------------------------------------------------------------

    def score(self, outputs: list[PyTree]) -> dict[str, float]:
        """Top-1 and top-5 accuracy in per cent, and the mean loss, over all test images."""
        sums = {name: float(sum(output[name] for output in outputs)) for name in ("images", "top1", "top5", "loss")}
        images = max(sums["images"], 1.0)
        return {"accuracy": 100.0 * sums["top1"] / images, "top5": 100.0 * sums["top5"] / images, "loss": sums["loss"] / images}

    def logged_quality(self, metrics: Mapping[str, float]) -> float:
        """Top-1 as a fraction."""
        return round(metrics["accuracy"] / 100, 6)

    def hyperparameters(self) -> list[LogEntry]:
        """Under the keys of MLPerf's common ruleset; none knows this benchmark."""
        return [*self.optimizer.hyperparameters(), LogEntry("model_bn_span", self.config.data.batch_size),
                LogEntry("workers", self.workers)]

    def learning_rate(self, step: int) -> float:
        """The rate of the update that follows `step` updates, as long as no plateau has lowered it."""
        return self.optimizer.learning_rate(step)

    def forward_flops(self, spec: PyTree) -> int:
        """Convolutions and the last layer; the frozen whitening included."""
        state = jax.eval_shape(self.init, key_data_shape(self.config.rng_impl))
        data = jax.eval_shape(self.device_data, self.host_data_spec)
        images = jax.ShapeDtypeStruct((*spec["index"].shape, _SIZE, _SIZE, 3), jnp.uint8)

        def forward(params: PyTree, statistics: PyTree, images: jax.Array, data: PyTree) -> jax.Array:
            return self._logits(self.network.bound(params, statistics), images, data, train=False)

        return count_flops(forward, state.params, state.model_state, images, data)

    def eval_every_steps(self) -> float:
        """So many epochs."""
        return self.config.evaluation.every_epochs * self.steps_per_epoch


def _rows(split: PyTree, index: jax.Array) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Images, labels int32 and weights bool of the rows `index`, of which -1 is padding."""
    rows = jnp.maximum(index, 0)
    return split["images"][rows], split["labels"][rows].astype(jnp.int32), index >= 0
