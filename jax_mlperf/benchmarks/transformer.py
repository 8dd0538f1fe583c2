"""Translation (Transformer): model, data, loss, optimizer, beam search and BLEU wired together.

Facts: the MLPerf Training v0.7 reference, retired_benchmarks/transformer/tensorflow, and the submissions of that round.
"""

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx
from jax.sharding import PartitionSpec
from ml_collections import ConfigDict

from input_pipelines.translation import BatchShape, TranslationData, bucket_shapes
from jax_mlperf.averaging import averaged, with_snapshots
from jax_mlperf.benchmark import Benchmark, DataFile, LogEntry, Quality, Topology, TrainState
from jax_mlperf.benchmarks.transformer_data import settings
from jax_mlperf.data.transformer import packing_folder, prepared_folder, required_files
from jax_mlperf.errors import UserError
from jax_mlperf.flops import count_flops
from jax_mlperf.losses import smoothed_cross_entropy
from jax_mlperf.metrics.bleu import corpus_bleu
from jax_mlperf.models.network import Network
from jax_mlperf.models.transformer import Transformer
from jax_mlperf.models.transformer_decoding import translate
from jax_mlperf.ops.hash_rng import key_data_shape, key_implementation
from jax_mlperf.optim import adam
from jax_mlperf.parallel.mesh import BATCH_AXES
from jax_mlperf.schedules import transformer_schedule
from jax_mlperf.supervised import LossOutput, fewest_microbatches, supervised_step
from jax_mlperf.types import PyTree

BATCH_KEYS = ("inputs", "inputs_position", "inputs_segmentation", "targets", "targets_position", "targets_segmentation")
# Slots a pair takes in a bucketed batch: 4096 tokens hold 111 pairs (41,365 batches an epoch; reference README.md).
SLOTS_PER_PAIR = 36.9


class TransformerBenchmark(Benchmark):
    """The benchmark for a config, a topology and a data folder; see Benchmark."""

    name = "transformer"

    def __init__(self, config: ConfigDict, topology: Topology, data_dir: Path) -> None:
        super().__init__(config, topology, data_dir)
        for key, value in (("data.batch_size", config.data.batch_size),
                           ("evaluation.batch_size", config.evaluation.batch_size),
                           ("optimizer.warmup_steps", config.optimizer.warmup_steps)):
            if value < 1:
                raise UserError(f"config.{key} is {value}, must be at least 1")
        self.data = self._open_data()
        self.quality = Quality({"bleu": config.quality_target})
        self._set_sizes()
        shapes = self.data.batch_shapes if self.data else self._expected_shapes()
        self.batch_specs = tuple(_batch_spec(shape) for shape in shapes)
        self.global_batch_size = config.data.batch_size
        self.accumulation_steps = fewest_microbatches(
            [shape.rows for shape in shapes], topology.devices, config.microbatch_per_device)
        self.eval_batch_spec = {"inputs": jax.ShapeDtypeStruct(
            (config.evaluation.batch_size, self.eval_source_length), jnp.int32)}
        self._schedule = transformer_schedule(config.optimizer.base_learning_rate, config.model.d_model,
                                              config.optimizer.warmup_steps)
        self._key_implementation = key_implementation(config.rng_impl)
        self.optimizer = self._make_optimizer()
        self.network = Network(self._model)
        self._step = supervised_step(self._loss, self.optimizer, rng_impl=self._key_implementation,
                                     accumulation_steps=self.accumulation_steps, mesh=topology.mesh)

    # Data -------------------------------------------------------------------------------------------------------

    def _open_data(self) -> TranslationData | None:
        """The prepared data, or None while they are missing (describe and plan do without)."""
        if any(not file.present for file in self.data_files()):
            return None
        config = self.config.data
        return TranslationData(
            prepared_folder(self.data_dir, settings(self.config)), batching=config.batching,
            batch_size=config.batch_size, max_length=config.max_sequence_length,
            packed_lengths=(config.source_length, config.target_length), bucket_growth=config.bucket_growth,
            devices=self.topology.devices, process_index=self.topology.process_index,
            process_count=self.topology.process_count)

    def data_files(self) -> list[DataFile]:
        """The prepared folder's records, and the packing when rows are packed."""
        config = self.config.data
        folder = prepared_folder(self.data_dir, settings(self.config))
        paths = [folder / "meta.json"]
        if config.batching == "packed":
            packing = packing_folder(folder, config.source_length, config.target_length, config.max_sequence_length)
            paths.append(packing / "meta.json")
        return [DataFile(path, path.is_file()) for path in paths]

    def source_files(self) -> list[DataFile]:
        """The text, and the published vocabulary where it is used."""
        return [DataFile(path, present) for path, present in required_files(self.data_dir, settings(self.config))]

    def data_fingerprint(self) -> str:
        """The fingerprints of the encoded text and of the packing."""
        if self.data is None:
            return ""
        return self.data.meta.fingerprint + (self.data.packing.fingerprint if self.data.packing else "")

    def forget_data(self) -> None:
        """Opens the prepared folder anew; see Benchmark."""
        self.data = self._open_data()

    def _set_sizes(self) -> None:
        config, expected = self.config, self.config.data.expected
        if self.data:
            meta = self.data.meta
            self.vocab_size = config.model.vocab_size or meta.vocab_size
            if self.vocab_size != meta.vocab_size:
                raise UserError(f"config.model.vocab_size is {self.vocab_size}, but the prepared vocabulary has "
                                f"{meta.vocab_size} entries; set --config.model.vocab_size={meta.vocab_size} (or 0)")
            self.train_samples, self.steps_per_epoch = self.data.train_samples, self.data.steps_per_epoch
            self.eval_samples, self.eval_source_length = meta.eval_sentences, meta.eval_max_source_length
            return
        self.vocab_size = config.model.vocab_size
        if not self.vocab_size:
            raise UserError(f"config.model.vocab_size 0 means that of the prepared data; prepare them with: "
                            f"{self.prepare_command()}")
        packed = config.data.batching == "packed"
        self.train_samples = expected.rows if packed else expected.pairs
        per_batch = config.data.batch_size if packed else config.data.batch_size / SLOTS_PER_PAIR
        self.steps_per_epoch = math.ceil(self.train_samples / per_batch)
        self.eval_samples, self.eval_source_length = expected.eval_sentences, expected.eval_source_length

    def _expected_shapes(self) -> list[BatchShape]:
        config = self.config.data
        if config.batching == "packed":
            return [BatchShape(config.batch_size, config.source_length, config.target_length)]
        return bucket_shapes(config.max_sequence_length, config.bucket_growth, config.batch_size, self.topology.devices)

    def train_batches(self, seed: int, step: int) -> Iterator[PyTree]:
        """Host batches from the prepared data."""
        assert self.data is not None
        return self.data.train_batches(seed, step)

    def eval_batches(self) -> Iterator[PyTree]:
        """The evaluation sentences, longest first, padded with repeats of the last one."""
        assert self.data is not None
        size = self.config.evaluation.batch_size
        inputs = self.data.eval_sources(size).inputs
        share = size // self.topology.process_count
        for start in range(self.topology.process_index * share, len(inputs), size):
            yield {"inputs": inputs[start:start + share]}

    # Model ------------------------------------------------------------------------------------------------------

    def _model(self, rngs: nnx.Rngs) -> Transformer:
        config = self.config.model
        return Transformer(
            vocab_size=self.vocab_size, d_model=config.d_model, ffn_dim=config.ffn_dim, num_heads=config.num_heads,
            num_layers=config.num_layers, dropout_rate=config.dropout_rate, dtype=jnp.dtype(self.config.compute_dtype),
            attention_implementation=config.attention_implementation, rngs=rngs)

    def _make_optimizer(self) -> Any:
        config = self.config.optimizer
        if config.name not in ("adam", "lazy_adam"):
            raise UserError(f"config.optimizer.name is {config.name!r}; the transformer has 'adam' and 'lazy_adam' "
                            f"(the same here)")
        optimizer = adam(self._schedule, config.beta_1, config.beta_2, config.epsilon)
        return with_snapshots(optimizer, config.average_checkpoints, self._average_every())

    def _average_every(self) -> int:
        return self.config.optimizer.average_every_steps or math.ceil(self.eval_every_steps())

    def init(self, key_data: jax.Array) -> TrainState:
        """The initial state; see Benchmark."""
        key = jax.random.wrap_key_data(key_data, impl=self._key_implementation)
        params, statistics = self.network.init(key)
        return TrainState(jnp.zeros((), jnp.int32), params, statistics, self.optimizer.init(params), key_data)

    def _logits(self, params: PyTree, batch: PyTree, rngs: nnx.Rngs | None = None) -> jax.Array:
        return self.network.bound(params, {})(*(batch[name] for name in BATCH_KEYS), rngs=rngs)

    def _loss(self, params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> LossOutput:
        rngs = nnx.Rngs(dropout=key) if self.config.model.dropout_rate else None
        logits = self._logits(params, batch, rngs)
        loss_sum, weight_sum = smoothed_cross_entropy(logits, batch["targets"], batch["targets"] != 0,
                                                      self.config.label_smoothing)
        return LossOutput(loss_sum, weight_sum, model_state)

    def train_step(self, state: TrainState, batch: PyTree, data: PyTree = ()) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update; see Benchmark."""
        return self._step(state, batch, data)

    def eval_params(self, state: TrainState) -> PyTree:
        """The parameters that are evaluated and translate: the last ones, or the mean over checkpoints."""
        return averaged(state.params, state.opt_state, self._average_every())

    def eval_step(self, state: TrainState, batch: PyTree, data: PyTree = ()) -> jax.Array:
        """Ids of the best hypothesis of each sentence, int32 [B, eval_source_length + extra_length].

        Every device searches for itself: it gathers sharded parameters once instead of in every step of the search,
        and stops when its own sentences are done.
        """
        params, mesh = self.eval_params(state), self.topology.mesh
        if mesh is None or mesh.size == 1:
            return self.translate_step(params, batch["inputs"])
        rows = PartitionSpec(BATCH_AXES)
        search = jax.shard_map(self.translate_step, mesh=mesh, in_specs=(PartitionSpec(), rows), out_specs=rows,
                               check_vma=False)
        return search(params, batch["inputs"])

    def translate_step(self, params: PyTree, inputs: jax.Array) -> jax.Array:
        """Best hypotheses int32 [B, S + extra_length] of the sentences [B, S]."""
        config = self.config.evaluation
        result = translate(self.network.bound(params, {}), inputs, beams=config.beam_size,
                           max_length=inputs.shape[1] + config.extra_length, alpha=config.alpha)
        return result.ids[:, 0]

    # Quality and log --------------------------------------------------------------------------------------------

    def score(self, outputs: list[PyTree]) -> dict[str, float]:
        """BLEU, uncased, 0 to 100, over the evaluation sentences once each."""
        assert self.data is not None
        order = self.data.eval_sources(self.config.evaluation.batch_size).order
        hypotheses = [""] * len(order)
        for sentence, ids in zip(order, np.concatenate(outputs), strict=False):
            hypotheses[sentence] = self.data.subtokenizer.decode(ids.tolist())
        return {"bleu": corpus_bleu(hypotheses, self.data.eval_references)}

    def logged_quality(self, metrics: Mapping[str, float]) -> float:
        """BLEU as a fraction, as ruleset 0.7.0 wants it."""
        return metrics["bleu"] / 100

    def hyperparameters(self) -> list[LogEntry]:
        """The lines of training_0.7.0/closed_transformer.yaml."""
        config = self.config.optimizer
        return [
            LogEntry("max_sequence_length", self.config.data.max_sequence_length, {"method": "discard"}),
            LogEntry("opt_name", config.name),
            LogEntry("opt_base_learning_rate", config.base_learning_rate),
            LogEntry("opt_learning_rate_warmup_steps", config.warmup_steps),
            LogEntry("opt_adam_beta_1", config.beta_1),
            LogEntry("opt_adam_beta_2", config.beta_2),
            LogEntry("opt_adam_epsilon", config.epsilon),
        ]

    def learning_rate(self, step: int) -> float:
        """The rate of the update that follows `step` updates; the first one has rate 0."""
        return float(self._schedule(step))

    def forward_flops(self, spec: PyTree) -> int:
        """Matrix products of the teacher-forced forward pass, logits included."""
        params = jax.eval_shape(self.init, key_data_shape(self.config.rng_impl)).params
        return count_flops(self._logits, params, spec)

    def eval_every_steps(self) -> float:
        """An epoch, or what an open-division config asks for."""
        return self.config.evaluation.every_steps or self.steps_per_epoch


def _batch_spec(shape: BatchShape) -> dict[str, jax.ShapeDtypeStruct]:
    lengths = [shape.source_length] * 3 + [shape.target_length] * 3
    return {key: jax.ShapeDtypeStruct((shape.rows, length), jnp.int32) for key, length in zip(BATCH_KEYS, lengths, strict=True)}
