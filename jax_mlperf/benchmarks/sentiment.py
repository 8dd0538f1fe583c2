"""Sentiment analysis: IMDB reviews, which stay on the devices; accuracy. Closed: convolutions; open: stacked LSTMs, n-grams.

Facts: `mlcommons/training:retired_benchmarks/never-adopted/sentiment_analysis` (README.md, paddle/train.py).
"""

from collections.abc import Iterator, Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx
from ml_collections import ConfigDict

from jax_mlperf.benchmark import LogEntry, Quality, Topology, TrainState
from jax_mlperf.benchmarks.config_checks import LARGEST, check_bounds, check_dtype
from jax_mlperf.benchmarks.prepared import PreparedBenchmark
from jax_mlperf.benchmarks.sentiment_data import settings
from jax_mlperf.data import imdb
from jax_mlperf.data.records import token_dtype
from jax_mlperf.data.sampling import TrainOrder, eval_batches
from jax_mlperf.errors import UserError
from jax_mlperf.flops import count_flops
from jax_mlperf.losses import softmax_cross_entropy
from jax_mlperf.models.network import Network
from jax_mlperf.models.ngram_classifier import NgramClassifier, log_count_ratios
from jax_mlperf.models.sentence_conv import SentenceConv
from jax_mlperf.models.stacked_lstm import StackedLstm
from jax_mlperf.ops.hash_rng import key_data_shape, key_implementation
from jax_mlperf.ops.ragged import Ragged
from jax_mlperf.optim import adagrad, adam, lazy_adam
from jax_mlperf.parallel.mesh import check_batch_divides, summed_over_devices
from jax_mlperf.supervised import LossOutput, fewest_microbatches, supervised_step
from jax_mlperf.types import PyTree

# Each model's kind of tokens.
_FEATURES = {"conv": "words", "lstm": "words", "ngrams": "ngrams"}
_OPTIMIZERS = ("lazy_adam", "adam", "adagrad")
_BOUNDS = (
    ("data.batch_size", ">=", 1), ("evaluation.batch_size", ">=", 1), ("evaluation.every_epochs", ">=", 1),
    ("data.expected.train_tokens", ">=", 1), ("data.expected.eval_tokens", ">=", 1), ("data.expected.longest", ">=", 1),
    ("model.embedding", ">=", 1), ("model.filters", ">=", 1), ("model.distinct_rows", ">=", 0), ("model.gates", ">=", 4),
    ("model.layers", ">=", 2), ("optimizer.base_learning_rate", ">", 0), ("optimizer.epsilon", ">=", 0),
    *((key, "<=", LARGEST) for key in ("data.batch_size", "data.expected.train_tokens", "data.expected.eval_tokens",
                                       "model.embedding", "model.filters", "model.gates", "evaluation.every_epochs")),
    *((f"optimizer.{beta}", relation, bound) for beta in ("beta_1", "beta_2") for relation, bound in ((">=", 0), ("<", 1))),
)


class SentimentBenchmark(PreparedBenchmark):
    """The benchmark for a config, a topology and a data folder; see Benchmark.

    A batch is the numbers of its reviews, -1 for padding; their tokens are looked up on the devices.
    """

    name = "sentiment"
    source = imdb
    settings = staticmethod(settings)

    def __init__(self, config: ConfigDict, topology: Topology, data_dir: Path) -> None:
        super().__init__(config, topology, data_dir)
        self._check(config)
        check_batch_divides(config.data.batch_size, topology.devices, "config.data.batch_size of")
        meta, expected = imdb.read_meta(self.folder), config.data.expected
        self.train_samples = meta.train_reviews if meta else expected.train
        self.eval_samples = meta.test_reviews if meta else expected.eval
        self.vocab_size = meta.vocab_size if meta else expected.vocab_size
        self._longest = meta.longest if meta else expected.longest
        tokens = (meta.train_tokens, meta.test_tokens) if meta else (expected.train_tokens, expected.eval_tokens)
        self.quality = Quality({"accuracy": config.quality_target}, strict=True)
        self.global_batch_size = config.data.batch_size
        self.steps_per_epoch = self._order(0).steps_per_epoch
        self.batch_specs = (self._batch_spec(self.global_batch_size),)
        devices = topology.devices
        self._eval_rows = -(-min(config.evaluation.batch_size, self.eval_samples) // devices) * devices
        self.eval_batch_spec = self._batch_spec(self._eval_rows)
        self.accumulation_steps = fewest_microbatches([self.global_batch_size], devices, config.microbatch_per_device)
        self.host_data_spec = {
            split: {"tokens": jax.ShapeDtypeStruct((size,), token_dtype(self.vocab_size)),
                    "offsets": jax.ShapeDtypeStruct((count + 1,), jnp.int32),
                    "labels": jax.ShapeDtypeStruct((count,), jnp.uint8)}
            for split, count, size in zip(("train", "test"), (self.train_samples, self.eval_samples), tokens, strict=True)}
        self._key_implementation = key_implementation(config.rng_impl)
        self.network = Network(self._model)
        self.optimizer = self._optimizer()
        self._step = supervised_step(self._loss, self.optimizer, rng_impl=self._key_implementation, mesh=topology.mesh,
                                     accumulation_steps=self.accumulation_steps)
        self._evaluation = summed_over_devices(self._sums, topology.mesh)

    @staticmethod
    def _check(config: ConfigDict) -> None:
        check_bounds(config, _BOUNDS)
        check_dtype(config)
        model, features = config.model.name, config.data.features
        if model not in _FEATURES:
            raise UserError(f"config.model.name is {model!r}; sentiment has: {', '.join(_FEATURES)}")
        settings(config)
        if features != _FEATURES[model]:
            raise UserError(f"config.data.features is {features!r}, but the model {model!r} reads {_FEATURES[model]!r}: set "
                            f"--config.data.features={_FEATURES[model]}")
        if config.optimizer.name not in _OPTIMIZERS:
            raise UserError(f"config.optimizer.name is {config.optimizer.name!r}; there are: {', '.join(_OPTIMIZERS)}")

    @staticmethod
    def _batch_spec(rows: int) -> dict[str, jax.ShapeDtypeStruct]:
        return {"index": jax.ShapeDtypeStruct((rows,), jnp.int32)}

    # Data -------------------------------------------------------------------------------------------------------

    def host_data(self) -> PyTree:
        """The tokens of all reviews, one review after another, and their labels."""
        return {split: imdb.load(self.folder, split)._asdict() for split in ("train", "test")}

    def device_data(self, host: PyTree) -> PyTree:
        """The reviews as they are; for n-grams also the naive Bayes weights that the training reviews give."""
        if self.config.model.name != "ngrams":
            return host
        if self.config.model.log_ratios:
            return {**host, "log_ratios": log_count_ratios(**host["train"], features=self.vocab_size)}
        return {**host, "log_ratios": jnp.ones(self.vocab_size)}

    def _order(self, seed: int) -> TrainOrder:
        return TrainOrder(self.train_samples, 1, self.config.data.batch_size, seed)

    def _mine(self, index: np.ndarray) -> dict[str, np.ndarray]:
        share = len(index) // self.topology.process_count
        return {"index": index[self.topology.process_index * share:][:share]}

    def train_batches(self, seed: int, step: int) -> Iterator[PyTree]:
        """Numbers of the reviews of each step; -1 where an epoch's last batch is not full."""
        return map(self._mine, self._order(seed).batches(step))

    def eval_batches(self) -> Iterator[PyTree]:
        """Every test review once."""
        return map(self._mine, iter(eval_batches(self.eval_samples, 1, self._eval_rows, 0)))

    # Model ------------------------------------------------------------------------------------------------------

    def _model(self, rngs: nnx.Rngs) -> SentenceConv | StackedLstm | NgramClassifier:
        model, dtype = self.config.model, jnp.dtype(self.config.compute_dtype)
        if model.name == "conv":
            return SentenceConv(self.vocab_size, embedding=model.embedding, filters=model.filters,
                                distinct_rows=model.distinct_rows, dtype=dtype, rngs=rngs)
        if model.name == "lstm":
            return StackedLstm(self.vocab_size, embedding=model.embedding, gates=model.gates, layers=model.layers, dtype=dtype,
                               rngs=rngs)
        return NgramClassifier(self.vocab_size)

    def _optimizer(self) -> optax.GradientTransformation:
        optimizer = self.config.optimizer
        if optimizer.name == "adagrad":
            return adagrad(self.learning_rate)
        betas_and_epsilon = optimizer.beta_1, optimizer.beta_2, optimizer.epsilon
        if optimizer.name == "adam":
            return adam(self.learning_rate, *betas_and_epsilon)
        return lazy_adam(self.learning_rate, *betas_and_epsilon, tables=("embedding",))

    def init(self, key_data: jax.Array) -> TrainState:
        """The initial state; see Benchmark."""
        params, statistics = self.network.init(jax.random.wrap_key_data(key_data, impl=self._key_implementation))
        return TrainState(jnp.zeros((), jnp.int32), params, statistics, self.optimizer.init(params), key_data)

    def _outputs(self, params: PyTree, index: jax.Array, data: PyTree, split: str) -> tuple[jax.Array, jax.Array, jax.Array]:
        """Logits float32 [B, 2], labels int32 [B] and weights bool [B] of a split's reviews `index`, of which -1 is padding."""
        tokens, offsets, labels = (data[split][name] for name in ("tokens", "offsets", "labels"))
        rows, weights = jnp.maximum(index, 0), index >= 0
        reviews = Ragged(tokens, offsets[rows], jnp.where(weights, offsets[rows + 1] - offsets[rows], 0))
        model = self.network.bound(params, {})
        if isinstance(model, NgramClassifier):
            logits = model(reviews, data["log_ratios"])
        elif isinstance(model, SentenceConv):
            logits = model(reviews, all_words=split == "test")  # so many reviews at once use all words
        else:
            logits = _padded_to_the_longest(model, reviews, self._longest)
        return logits, labels[rows].astype(jnp.int32), weights

    def _loss(self, params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> LossOutput:
        """The sum of the cross entropies."""
        return LossOutput(*softmax_cross_entropy(*self._outputs(params, batch["index"], data, "train")), model_state)

    def train_step(self, state: TrainState, batch: PyTree, data: PyTree) -> tuple[TrainState, dict[str, jax.Array]]:
        """One update; see Benchmark."""
        return self._step(state, batch, data)

    def eval_step(self, state: TrainState, batch: PyTree, data: PyTree) -> dict[str, jax.Array]:
        """Sums over the batch: reviews, those right (of equal logits, positive is the guess), and the loss."""
        return self._evaluation(state.params, batch, data)

    def _sums(self, params: PyTree, batch: PyTree, data: PyTree) -> dict[str, jax.Array]:
        logits, labels, weights = self._outputs(params, batch["index"], data, "test")
        right = weights & (jnp.argmax(logits, axis=-1) == labels)
        return {"reviews": jnp.sum(weights, dtype=jnp.int32), "right": jnp.sum(right, dtype=jnp.int32),
                "loss": softmax_cross_entropy(logits, labels, weights)[0]}

    # Quality and log --------------------------------------------------------------------------------------------

    def score(self, outputs: list[PyTree]) -> dict[str, float]:
        """Accuracy in per cent, and the mean loss, over all test reviews."""
        reviews, right, loss = (float(sum(output[name] for output in outputs)) for name in ("reviews", "right", "loss"))
        return {"accuracy": 100.0 * right / max(reviews, 1.0), "loss": loss / max(reviews, 1.0)}

    def logged_quality(self, metrics: Mapping[str, float]) -> float:
        """Accuracy as a fraction."""
        return round(metrics["accuracy"] / 100, 6)

    def hyperparameters(self) -> list[LogEntry]:
        """Under the keys of MLPerf's common ruleset; none knows this benchmark."""
        optimizer = self.config.optimizer
        entries = [LogEntry("opt_name", optimizer.name), LogEntry("opt_base_learning_rate", optimizer.base_learning_rate)]
        if optimizer.name != "adagrad":
            entries += [LogEntry("opt_adam_beta_1", optimizer.beta_1), LogEntry("opt_adam_beta_2", optimizer.beta_2),
                        LogEntry("opt_adam_epsilon", optimizer.epsilon)]
        return entries

    def learning_rate(self, step: int | jax.Array) -> float:
        """Constant."""
        return self.config.optimizer.base_learning_rate

    def forward_flops(self, spec: PyTree) -> int:
        """The products of the tables that a batch needs, or of the LSTMs; n-grams have none."""
        params = jax.eval_shape(self.init, key_data_shape(self.config.rng_impl)).params
        data = jax.eval_shape(self.device_data, self.host_data_spec)
        return count_flops(lambda params, index, data: self._outputs(params, index, data, "train")[0],
                           params, spec["index"], data)

    def eval_every_steps(self) -> float:
        """So many epochs."""
        return self.config.evaluation.every_epochs * self.steps_per_epoch


def _padded_to_the_longest(model: StackedLstm, reviews: Ragged, longest: int) -> jax.Array:
    """Logits from a model that wants rows of one length: the next power of two times 128 of the batch's longest review."""
    lengths = [128]
    while lengths[-1] < longest:
        lengths.append(2 * lengths[-1])

    def padded_to(length: int) -> jax.Array:
        tokens = reviews.at(jnp.arange(len(reviews.starts))[:, None], jnp.arange(length), missing=0)
        return model(tokens, reviews.lengths)

    choice = jnp.searchsorted(jnp.array(lengths), jnp.max(reviews.lengths))
    return jax.lax.switch(choice, [lambda length=length: padded_to(length) for length in lengths])
