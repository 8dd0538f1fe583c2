"""Image classification (ResNet-50 v1.5 on ImageNet): model, data, loss, optimizer and top-1 wired together.

Facts: the MLPerf references retired_benchmarks/resnet-tf1 and resnet-tf2, and the submissions of rounds 0.7 to 4.0.
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.experimental import multihost_utils
from ml_collections import ConfigDict

from input_pipelines.imagenet import ImageNetData
from input_pipelines.imagenet_crops import RandomCrop
from jax_mlperf.benchmark import Benchmark, DataFile, LogEntry, Quality, Topology, TrainState
from jax_mlperf.benchmarks.resnet50_checks import check_config, check_samples
from jax_mlperf.benchmarks.resnet50_data import settings
from jax_mlperf.benchmarks.resnet50_optimizer import ResNet50Optimizer
from jax_mlperf.data.imagenet import prepared_folder, raw_folder
from jax_mlperf.errors import UserError
from jax_mlperf.flops import count_flops
from jax_mlperf.losses import softmax_cross_entropy
from jax_mlperf.models.network import Network
from jax_mlperf.models.resnet import ResNet
from jax_mlperf.models.resnet_names import mlperf_names
from jax_mlperf.models.resnet_weights import from_torchvision
from jax_mlperf.ops.augmentation import Normalisation, normalise, random_flip
from jax_mlperf.ops.hash_rng import key_data_shape, key_implementation
from jax_mlperf.parallel.mesh import placed_like
from jax_mlperf.state_dict import read_state_dict
from jax_mlperf.supervised import LossOutput, fewest_microbatches, supervised_step
from jax_mlperf.types import PyTree


class ResNet50Benchmark(Benchmark):
    """The benchmark for a config, a topology and a data folder; see Benchmark."""

    name = "resnet"

    def __init__(self, config: ConfigDict, topology: Topology, data_dir: Path) -> None:
        super().__init__(config, topology, data_dir)
        check_config(config)
        self.quality = Quality({"accuracy": config.quality_target})
        self.global_batch_size = config.data.batch_size
        self.accumulation_steps = fewest_microbatches([config.data.batch_size], topology.devices, config.microbatch_per_device)
        self.data = self._open_data()
        self.train_samples = self.data.train_samples if self.data else config.data.expected.train
        self.eval_samples = self.data.eval_samples if self.data else config.data.expected.eval
        self.steps_per_epoch = self.train_samples / self.global_batch_size
        self.batch_specs = (self._batch_spec(config.data.batch_size),)
        self.eval_batch_spec = self._batch_spec(config.evaluation.batch_size)
        self._bn_group_size, self._bn_group_devices = self._bn_groups()
        self.optimizer = ResNet50Optimizer(config, self.steps_per_epoch)
        self._key_implementation = key_implementation(config.rng_impl)
        self.network = Network(self._model)
        self._step = supervised_step(self._loss, self.optimizer.transformation, rng_impl=self._key_implementation,
                                     accumulation_steps=self.accumulation_steps, mesh=topology.mesh)

    # Data -------------------------------------------------------------------------------------------------------

    def _open_data(self) -> ImageNetData | None:
        """The indexed shards, or None while there is no index (describe and plan do without)."""
        if any(not file.present for file in self.data_files()):
            return None
        data = self.config.data
        images = ImageNetData(
            prepared_folder(self.data_dir, settings(self.config)), global_batch_size=data.batch_size, image_size=data.image_size,
            num_classes=self.config.model.num_classes, resize=data.resize, eval_crop=data.eval_crop,
            crop=RandomCrop(data.crop_area, data.crop_aspect_ratio, attempts=data.crop_attempts),
            cache_eval=self.config.evaluation.keep_decoded, skip_corrupt=data.skip_corrupt, decode_threads=data.decode_threads,
            process_index=self.topology.process_index, process_count=self.topology.process_count)
        check_samples(self.config, images.train_samples, images.eval_samples)
        return images

    def data_files(self) -> list[DataFile]:
        """The index of the shards."""
        path = prepared_folder(self.data_dir, settings(self.config)) / "meta.json"
        return [DataFile(path, path.is_file())]

    def source_files(self) -> list[DataFile]:
        """The folder of the shards."""
        path = raw_folder(self.data_dir, settings(self.config))
        return [DataFile(path, path.is_dir())]

    def data_fingerprint(self) -> str:
        """The fingerprint of the index."""
        return self.data.fingerprint if self.data else ""

    def forget_data(self) -> None:
        """Closes the shards and forgets the decoded evaluation images; see Benchmark."""
        if self.data:
            self.data.close()

    def warm_up_input(self) -> None:
        """Imports TensorFlow and traces its decoding graphs; see Benchmark."""
        if self.data:
            self.data.compile(self.config.evaluation.batch_size)

    def _batch_spec(self, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
        size = self.config.data.image_size
        return {"image": jax.ShapeDtypeStruct((rows, size, size, 3), jnp.uint8),
                "label": jax.ShapeDtypeStruct((rows,), jnp.int32)}

    def _rows_per_device(self) -> int:
        """Rows that a device takes at once."""
        return max(1, self.global_batch_size // self.topology.devices // self.accumulation_steps)

    def _bn_groups(self) -> tuple[int, int]:
        """Samples of a batch norm's group on one device, and devices that it spans.

        Raises:
          UserError: `bn_group` neither divides what a device takes at once, nor is a multiple of it that the devices divide into.
        """
        group, rows = self.config.model.bn_group or self._rows_per_device(), self._rows_per_device()
        if group > 0 and rows % group == 0:
            return group, 1
        span = group // rows
        if group > rows and group % rows == 0 and self.topology.devices % span == 0 and self.accumulation_steps == 1 \
                and self.config.mesh.fsdp == 1:
            return rows, span
        sizes = [size for size in range(1, rows + 1) if rows % size == 0]
        raise UserError(f"config.model.bn_group is {group}, but a device takes {rows} rows at once: give a divisor of {rows} "
                        f"({', '.join(map(str, sizes[-4:]))}), or, without accumulation and fsdp, a multiple of it that whole "
                        f"groups of the {self.topology.devices} devices make up")

    def train_batches(self, seed: int, step: int) -> Iterator[PyTree]:
        """Decoded crops and labels; the end of one epoch and the beginning of the next may share a batch."""
        assert self.data is not None
        return self.data.train_batches(seed, step)

    def eval_batches(self) -> Iterator[PyTree]:
        """Every validation image once, the last batch padded with label -1."""
        assert self.data is not None
        return self.data.eval_batches(self.config.evaluation.batch_size)

    # Model ------------------------------------------------------------------------------------------------------

    def _model(self, rngs: nnx.Rngs) -> ResNet:
        config = self.config.model
        return ResNet(
            stage_sizes=config.stage_sizes, width=config.width, num_classes=config.num_classes, stem=config.stem,
            padding=config.padding, conv_init=config.conv_init, zero_gamma=config.zero_gamma,
            bn_group_size=self._bn_group_size, bn_group_devices=self._bn_group_devices, bn_momentum=config.bn_momentum,
            bn_epsilon=config.bn_epsilon, dtype=jnp.dtype(self.config.compute_dtype), rngs=rngs)

    def init(self, key_data: jax.Array) -> TrainState:
        """The initial state; see Benchmark."""
        key = jax.random.wrap_key_data(key_data, impl=self._key_implementation)
        params, statistics = self.network.init(key)
        return TrainState(jnp.zeros((), jnp.int32), params, statistics, self.optimizer.transformation.init(params), key_data)

    def starting_point(self, state: TrainState) -> TrainState:
        """The state with weights from a file, where the config names one; see Benchmark."""
        if not self.config.model.initial_weights:
            return state
        weights = read_state_dict(Path(self.config.model.initial_weights))
        params, statistics = from_torchvision(weights, state.params, state.model_state)
        return TrainState(state.step, placed_like(params, state.params), placed_like(statistics, state.model_state),
                          state.opt_state, state.rng)

    def _images(self, images: jax.Array) -> jax.Array:
        constants = Normalisation(self.config.data.mean, self.config.data.std)
        return normalise(images, constants, dtype=self.config.compute_dtype)

    def _loss(self, params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> LossOutput:
        images = random_flip(batch["image"], key) if self.config.data.flip else batch["image"]
        model = self.network.bound(params, model_state)
        weights = batch["label"] >= 0
        # Records that were left out are the only padding: batch norm does without weights unless they may occur.
        logits = model(self._images(images), train=True, weights=weights if self.config.data.skip_corrupt else None)
        loss_sum, weight_sum = softmax_cross_entropy(logits, batch["label"], weights, self.config.label_smoothing)
        return LossOutput(loss_sum, weight_sum, nnx.to_pure_dict(nnx.state(model, nnx.BatchStat)))

    def train_step(self, state: TrainState, batch: PyTree, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update; see Benchmark."""
        return self._step(state, batch, data)

    def eval_step(self, state: TrainState, batch: PyTree, data: PyTree) -> dict[str, jax.Array]:
        """Numbers of images and of those whose most likely class is the label, int32."""
        logits = self.network.bound(state.params, state.model_state)(self._images(batch["image"]), train=False)
        correct = jnp.argmax(logits, axis=-1) == batch["label"]  # never true of a padding row's -1
        return {"correct": jnp.sum(correct, dtype=jnp.int32), "images": jnp.sum(batch["label"] >= 0, dtype=jnp.int32)}

    # Quality and log --------------------------------------------------------------------------------------------

    def score(self, outputs: list[PyTree]) -> dict[str, float]:
        """Top-1 accuracy in per cent over all validation images."""
        correct, images = (sum(int(output[name]) for output in outputs) for name in ("correct", "images"))
        return {"accuracy": 100.0 * correct / max(images, 1)}

    def logged_quality(self, metrics: Mapping[str, float]) -> float:
        """Top-1 as a fraction, as the rulesets want it."""
        return round(metrics["accuracy"] / 100, 6)

    def hyperparameters(self) -> list[LogEntry]:
        """The lines of training_4.0.0/closed_resnet.yaml, and those of the weights that 1.1.0 to 2.1.0 ask for."""
        params = jax.eval_shape(self.init, key_data_shape(self.config.rng_impl)).params
        return [*self.optimizer.hyperparameters(),
                LogEntry("model_bn_span", self._bn_group_size * self._bn_group_devices),
                *(LogEntry("weights_initialization", None, {"tensor": name}) for name in mlperf_names(params))]

    def closing_entries(self) -> list[LogEntry]:
        """How many records all processes left out because they could not be decoded (since the last resumption)."""
        if not self.data or not self.config.data.skip_corrupt:
            return []
        skipped = np.asarray(self.data.skipped)
        if jax.process_count() > 1:
            skipped = multihost_utils.process_allgather(skipped)
        return [LogEntry("corrupt_records_skipped", int(np.sum(skipped)))]

    def learning_rate(self, step: int) -> float:
        """The rate of the update that follows `step` updates; the first one has rate 0."""
        return self.optimizer.learning_rate(step)

    def forward_flops(self, spec: PyTree) -> int:
        """Convolutions and the last layer."""
        state = jax.eval_shape(self.init, key_data_shape(self.config.rng_impl))
        return count_flops(lambda params, statistics, images: self.network.bound(params, statistics)(images, train=False),
                           state.params, state.model_state, jax.ShapeDtypeStruct(spec["image"].shape, self.config.compute_dtype))

    def first_eval_step(self) -> float:
        """The end of the first epoch that is evaluated: the offset of the reference."""
        return self.config.evaluation.first_epoch * self.steps_per_epoch

    def eval_every_steps(self) -> float:
        """Four epochs in the closed division."""
        return self.config.evaluation.every_epochs * self.steps_per_epoch
