"""Masked language model (BERT-large on Wikipedia): model, data, loss, LAMB and masked-LM accuracy wired together.

Facts: the MLPerf reference retired_benchmarks/bert, and the submissions of rounds 0.7 to 5.0.
"""

import collections
from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import optax
from flax import nnx
from ml_collections import ConfigDict

from input_pipelines.pretraining import PretrainingData
from jax_mlperf.benchmark import DataFile, LogEntry, Quality, Topology, TrainState
from jax_mlperf.benchmarks.bert_batches import batch_spec, expected_rows, packed_rows, rows_multiple
from jax_mlperf.benchmarks.bert_checks import check_config
from jax_mlperf.benchmarks.bert_data import check_whole, prepare_command, settings
from jax_mlperf.benchmarks.bert_rules import eval_interval, hyperparameters
from jax_mlperf.benchmarks.bert_starting_point import read_weights, weights_present
from jax_mlperf.benchmarks.prepared import PreparedBenchmark
from jax_mlperf.data import bert as preparation
from jax_mlperf.data.bert_files import MLPERF_TEXT, MLPERF_TFRECORD
from jax_mlperf.errors import UserError
from jax_mlperf.flops import count_flops
from jax_mlperf.lamb import adamw, lamb
from jax_mlperf.losses import softmax_cross_entropy
from jax_mlperf.models.bert import Bert, Outputs
from jax_mlperf.models.network import Network
from jax_mlperf.ops.hash_rng import key_data_shape, key_implementation
from jax_mlperf.parallel.mesh import placed_like, summed_over_devices
from jax_mlperf.schedules import lamb_schedule
from jax_mlperf.supervised import LossOutput, fewest_microbatches, supervised_step
from jax_mlperf.types import PyTree

# Added to the sum of weights that the masked-LM loss is divided by (run_pretraining.py of the reference).
_LOSS_EPSILON = 1e-5
# Source files of one folder that are listed one by one.
_LISTED = 8
_NO_WEIGHTS = ("config.model.initial_weights takes a TF1 checkpoint (the path without .index), a .safetensors or .npz file, or a "
               "work folder of bert, as :wikitext that of :wikitext_start; `python -m jax_mlperf data download bert` says how "
               "the published checkpoint is got")
_OPTIMIZERS = {"lamb": lamb, "adamw": adamw}


class BertBenchmark(PreparedBenchmark):
    """The benchmark for a config, a topology and a data folder; see Benchmark.

    A sample is a sequence; a row of a batch holds one of them or, packed, several. Steps, samples and evaluation points count
    sequences, whatever rows they lie in.
    """

    name = "bert"
    source = preparation
    settings = staticmethod(settings)

    def __init__(self, config: ConfigDict, topology: Topology, data_dir: Path) -> None:
        super().__init__(config, topology, data_dir)
        check_config(config)
        self.quality = Quality({"masked_lm_accuracy": config.quality_target})
        self.global_batch_size = config.data.batch_size
        meta = preparation.read_meta(self.folder)
        if meta:
            check_whole(config, meta)
        self.data = self._open_data() if meta else None
        self.train_samples = meta.train_samples if meta else config.data.expected.train
        self.eval_samples = meta.eval_samples if meta else config.data.eval_samples
        self.vocab_size = self._vocab_size(meta)
        self.steps_per_epoch = self.train_samples / self.global_batch_size
        rows = self.data.rows if self.data else expected_rows(config, topology.devices)
        self.accumulation_steps = fewest_microbatches([rows], topology.devices, config.microbatch_per_device)
        self.batch_specs = (batch_spec(config, rows),)
        self.eval_batch_spec = batch_spec(config, config.evaluation.batch_size)
        optimizer = config.optimizer
        self._schedule = lamb_schedule(optimizer.base_learning_rate, optimizer.training_steps, optimizer.warmup_steps,
                                       optimizer.start_warmup_step)
        self.optimizer = self._make_optimizer()
        self._key_implementation = key_implementation(config.rng_impl)
        self.network = Network(self._model)
        self._step = supervised_step(self._loss, self.optimizer, rng_impl=self._key_implementation, mesh=topology.mesh,
                                     accumulation_steps=self.accumulation_steps)
        self._evaluation = summed_over_devices(self._sums, topology.mesh)

    # Data -------------------------------------------------------------------------------------------------------

    def _open_data(self) -> PretrainingData:
        """The samples, in batches that split into as few microbatches as their rows need."""
        expected = expected_rows(self.config, self.topology.devices)
        opened = self._opened_for(expected)
        if opened.rows <= expected:
            return opened
        opened.close()
        return self._opened_for(opened.rows)

    def _opened_for(self, rows: int) -> PretrainingData:
        data, topology = self.config.data, self.topology
        return PretrainingData(
            self.folder, batch_size=data.batch_size, max_sequence_length=data.max_sequence_length,
            max_predictions=data.max_predictions, masked_lm_prob=data.masked_lm_prob, packed=data.packed,
            sequences_per_row=data.sequences_per_row, rows_multiple=rows_multiple(self.config, topology.devices, rows),
            process_index=topology.process_index, process_count=topology.process_count)

    def _vocab_size(self, meta: preparation.Meta | None) -> int:
        configured = self.config.model.vocab_size
        if meta is None:
            if not configured:
                raise UserError("config.model.vocab_size 0 means that of the prepared data; prepare them with: "
                                f"{self.prepare_command()}")
            return configured
        if configured not in (0, meta.vocab_size):
            raise UserError(f"config.model.vocab_size is {configured}, the prepared vocabulary has {meta.vocab_size} entries: "
                            f"set --config.model.vocab_size={meta.vocab_size} (or 0)")
        return meta.vocab_size

    @property
    def _initial_weights(self) -> Path | None:
        """What the config names: as it stands, or in the raw data folder, where the published checkpoint belongs."""
        if not self.config.model.initial_weights:
            return None
        path = Path(self.config.model.initial_weights)
        below = preparation.raw_folder(self.data_dir, self.settings(self.config)) / path
        published = self.config.data.source in (MLPERF_TEXT, MLPERF_TFRECORD)
        return below if not weights_present(path) and (published or weights_present(below)) else path

    def data_files(self) -> list[DataFile]:
        """The record that `prepare` writes last, and the weights to start from."""
        weights = self._initial_weights
        return super().data_files() + ([DataFile(weights, weights_present(weights), _NO_WEIGHTS)] if weights else [])

    def prepare_command(self) -> str:
        """With what the config has changed of its variant's data."""
        return prepare_command(self.config, self.data_dir)

    def source_files(self) -> list[DataFile]:
        """The text or records, all parts of a folder as one entry."""
        files = super().source_files()
        folders = collections.Counter(file.path.parent for file in files)
        many = [folder for folder, count in folders.items() if count > _LISTED]
        return [file for file in files if file.path.parent not in many] + [
            DataFile(folder, all(file.present for file in files if file.path.parent == folder)) for folder in many]

    def forget_data(self) -> None:
        """Closes the samples; see Benchmark."""
        if self.data:
            self.data.close()

    def train_batches(self, seed: int, step: int) -> Iterator[PyTree]:
        """Rows of shuffled samples, `batch_size` of them in every step."""
        assert self.data is not None
        return self.data.train_batches(seed, step)

    def eval_batches(self) -> Iterator[PyTree]:
        """Every evaluation sample once."""
        assert self.data is not None
        return self.data.eval_batches(self.config.evaluation.batch_size)

    # Model ------------------------------------------------------------------------------------------------------

    def _model(self, rngs: nnx.Rngs) -> Bert:
        model = self.config.model
        return Bert(
            vocab_size=self.vocab_size, hidden_size=model.hidden_size, num_layers=model.num_layers, num_heads=model.num_heads,
            intermediate_size=model.intermediate_size, max_positions=model.max_positions, type_vocab_size=model.type_vocab_size,
            hidden_dropout_rate=model.hidden_dropout_rate, attention_dropout_rate=model.attention_dropout_rate,
            initializer_range=model.initializer_range, dtype=jnp.dtype(self.config.compute_dtype),
            attention_implementation=model.attention_implementation, remat=model.remat, rngs=rngs)

    def _make_optimizer(self) -> optax.GradientTransformation:
        optimizer = self.config.optimizer
        return _OPTIMIZERS[optimizer.name](self._schedule, optimizer.beta_1, optimizer.beta_2, optimizer.epsilon,
                                           optimizer.weight_decay, optimizer.clip_norm)

    def init(self, key_data: jax.Array) -> TrainState:
        """The initial state; see Benchmark."""
        params, statistics = self.network.init(jax.random.wrap_key_data(key_data, impl=self._key_implementation))
        return TrainState(jnp.zeros((), jnp.int32), params, statistics, self.optimizer.init(params), key_data)

    def starting_point(self, state: TrainState) -> TrainState:
        """The state with the weights of the first phase, which the benchmark starts from; moments and step stay zero."""
        weights = self._initial_weights
        if not weights:
            return state
        params = placed_like(read_weights(weights, state.params), state.params)
        return TrainState(state.step, params, state.model_state, state.opt_state, state.rng)

    def _outputs(self, params: PyTree, batch: PyTree, rngs: nnx.Rngs | None = None) -> Outputs:
        return self.network.bound(params, {})(packed_rows(batch), rngs=rngs)

    def _loss(self, params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> LossOutput:
        """Masked-LM loss, a mean over the predictions, plus next-sentence loss, a mean over the sequences of the global batch.

        What is summed here is both, in units of sequences: the batch says how many predictions and sequences it holds in all.
        """
        model = self.config.model
        drops = model.hidden_dropout_rate > 0 or model.attention_dropout_rate > 0
        outputs = self._outputs(params, batch, nnx.Rngs(dropout=key) if drops else None)
        masked_lm, _ = softmax_cross_entropy(outputs.masked_lm_logits, batch["masked_lm_ids"], batch["masked_lm_weights"])
        next_sentence, sequences = softmax_cross_entropy(outputs.next_sentence_logits, batch["next_sentence_labels"],
                                                         batch["next_sentence_weights"])
        scale = batch["sequences"] / (batch["predictions"] + _LOSS_EPSILON)
        return LossOutput(masked_lm * scale + next_sentence, sequences, model_state)

    def train_step(self, state: TrainState, batch: PyTree, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update; see Benchmark."""
        return self._step(state, batch, data)

    def eval_step(self, state: TrainState, batch: PyTree, data: PyTree) -> PyTree:
        """Sums over the batch, float32 []: loss, right and count of either head."""
        return self._evaluation(state.params, batch, data)

    def _sums(self, params: PyTree, batch: PyTree, data: PyTree) -> PyTree:
        outputs = self._outputs(params, batch)
        sums = {}
        for name, logits, labels, weights in (
                ("masked_lm", outputs.masked_lm_logits, batch["masked_lm_ids"], batch["masked_lm_weights"]),
                ("next_sentence", outputs.next_sentence_logits, batch["next_sentence_labels"], batch["next_sentence_weights"])):
            loss, count = softmax_cross_entropy(logits, labels, weights)
            right = jnp.sum(weights * (jnp.argmax(logits, axis=-1) == labels))
            sums[name] = {"loss": loss, "right": right, "count": count}
        return sums

    # Quality and log --------------------------------------------------------------------------------------------

    def score(self, outputs: list[PyTree]) -> dict[str, float]:
        """Accuracies and mean losses, each one ratio over all evaluation samples."""
        metrics: dict[str, float] = {}
        for name in ("masked_lm", "next_sentence"):
            right, loss, count = (sum(float(output[name][part]) for output in outputs) for part in ("right", "loss", "count"))
            metrics |= {f"{name}_accuracy": right / max(count, 1.0), f"{name}_loss": loss / max(count, 1.0)}
        return metrics

    def logged_quality(self, metrics: Mapping[str, float]) -> float:
        """Masked-LM accuracy, a fraction."""
        return round(metrics["masked_lm_accuracy"], 7)

    def hyperparameters(self) -> list[LogEntry]:
        """The lines of closed_bert.yaml of the rulesets 0.7.0 to 5.0.0: until 2.0.0 epsilon had another key."""
        params = jax.eval_shape(self.init, key_data_shape(self.config.rng_impl)).params
        return hyperparameters(self.config, params)

    def closing_entries(self) -> list[LogEntry]:
        """How full the rows were, and how many samples found no place in them (normally none)."""
        if not self.data or not self.config.data.packed:
            return []
        full, sequences = self.data.packing_efficiency()
        return [LogEntry("packing_efficiency", round(full, 4), {"sequences_per_row": round(sequences, 4)}),
                LogEntry("samples_left_out", self.data.left_out)]

    def learning_rate(self, step: int) -> float:
        """The rate of the update that follows `step` updates."""
        return float(self._schedule(step))

    def samples_in(self, spec: PyTree) -> int:
        """The sequences of a training batch, whatever rows they lie in; of an evaluation batch as many as usual."""
        return round(spec["input_ids"].shape[0] * self.global_batch_size / self.batch_specs[0]["input_ids"].shape[0])

    def forward_flops(self, spec: PyTree) -> int:
        """Matrix products of encoder and heads for all slots of the rows, attention between all of a row (more than are made)."""
        def forward(params: PyTree, batch: PyTree) -> PyTree:
            return self.network.bound(params, {}).of_whole_encoding(packed_rows(batch))

        return count_flops(forward, jax.eval_shape(self.init, key_data_shape(self.config.rng_impl)).params, spec)

    # Counted in samples -----------------------------------------------------------------------------------------

    def eval_every_steps(self) -> float:
        """By the rules, or what an open-division config asks for."""
        return (self.config.evaluation.every_samples or eval_interval(self.global_batch_size)) / self.global_batch_size

    def first_eval_step(self) -> float:
        """The same, unless the config says otherwise (ruleset 0.7.0: 3,000,000 samples, then every 500,000)."""
        first = self.config.evaluation.first_samples
        return first / self.global_batch_size if first else self.eval_every_steps()

    def max_steps(self) -> int:
        """The last evaluation point within the schedule, behind which the learning rate is 0 (the first one at the least)."""
        last = self.next_eval_step(0)
        while (point := self.next_eval_step(last)) <= self.config.optimizer.training_steps:
            last = point
        return min(super().max_steps(), last)

    def epoch_num(self, step: int) -> int:
        """Sequences trained on so far: what the rules of BERT call an epoch."""
        return step * self.global_batch_size

    def elapsed(self, step: int) -> str:
        """In samples."""
        return f"{self.epoch_num(step):,} samples"
