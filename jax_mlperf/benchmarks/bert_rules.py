"""What MLPerf's rules say of BERT's evaluations and log."""

import math

from ml_collections import ConfigDict

from jax_mlperf.benchmark import LogEntry
from jax_mlperf.models.bert_names import mlperf_names
from jax_mlperf.types import PyTree

# Samples between evaluations are whole multiples of this (training_rules.adoc, evaluation of BERT).
_INTERVAL_UNIT = 25_000


def eval_interval(batch_size: int) -> int:
    """Samples between two evaluations: floor(0.05 (230.23 batch_size + 3,000,000) / 25,000) 25,000."""
    return math.floor(0.05 * (230.23 * batch_size + 3_000_000) / _INTERVAL_UNIT) * _INTERVAL_UNIT


def hyperparameters(config: ConfigDict, params: PyTree) -> list[LogEntry]:
    """The lines of closed_bert.yaml of the rulesets 0.7.0 to 5.0.0; the key of epsilon is another one since 2.1.0.

    Args:
      config: of bert.
      params: the model's arrays or their shapes.
    """
    optimizer, data = config.optimizer, config.data
    return [
        LogEntry("max_sequence_length", data.max_sequence_length),
        LogEntry("max_predictions_per_seq", data.max_predictions),
        LogEntry("opt_name", optimizer.name),
        LogEntry("opt_base_learning_rate", optimizer.base_learning_rate),
        LogEntry("opt_learning_rate_training_steps", optimizer.training_steps),
        LogEntry("opt_learning_rate_warmup_steps", optimizer.warmup_steps),
        LogEntry("num_warmup_steps", optimizer.warmup_steps),
        LogEntry("start_warmup_step", optimizer.start_warmup_step),
        LogEntry("opt_lamb_learning_rate_decay_poly_power", 1),
        LogEntry("opt_lamb_beta_1", optimizer.beta_1),
        LogEntry("opt_lamb_beta_2", optimizer.beta_2),
        LogEntry("opt_lamb_weight_decay_rate", optimizer.weight_decay),
        LogEntry("opt_epsilon", optimizer.epsilon),
        LogEntry("opt_lamb_epsilon", optimizer.epsilon),
        *(LogEntry("weights_initialization", None, {"tensor": name}) for name in mlperf_names(params)),
    ]
