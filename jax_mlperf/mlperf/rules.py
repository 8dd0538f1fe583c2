"""Closed-division preflight: the config is held against the benchmark's rules before any accelerator time is spent.

The rules are data: one table a benchmark. A rule names a config key, a relation, the allowed value, why, and its source.
Sources: "rules" is MLPerf's training_rules.adoc of the benchmark's last round; "checker" the compliance checker's files.
"""

import operator
from collections.abc import Callable
from typing import Any, NamedTuple

from ml_collections import ConfigDict

from jax_mlperf.errors import UserError

_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "==": operator.eq, ">": operator.gt, ">=": operator.ge, "in": lambda value, allowed: value in allowed,
}


class Rule(NamedTuple):
    """`key relation allowed`, with the reason and the source that a violation names."""

    key: str
    relation: str
    allowed: Any
    reason: str
    source: str


_V07 = "rules v0.7 (transformer)"
_CHECKER = "checker training_0.7.0/closed_transformer.yaml"
_REFERENCE = "reference retired_benchmarks/transformer/tensorflow/transformer"
_PARAMETERS = f"{_REFERENCE}/model/model_params.py"

CLOSED_RULES: dict[str, tuple[Rule, ...]] = {
    "transformer": (
        Rule("quality_target", "==", 25.0, "the target is 25.0 BLEU, uncased", _V07),
        Rule("data.source", "==", "wmt", "the data set is WMT17 English-German", f"{_REFERENCE}/../data_download.py"),
        Rule("data.max_sequence_length", ">", 0, "a length limit must be logged", _CHECKER),
        Rule("optimizer.name", "in", ("adam", "lazy_adam"), "the optimizer is Adam or LazyAdam", _V07),
        Rule("optimizer.epsilon", "==", 1e-9, "epsilon is not a free hyperparameter", _CHECKER),
        Rule("optimizer.base_learning_rate", ">", 0.0, "the learning rate is positive", _CHECKER),
        Rule("optimizer.warmup_steps", ">=", 1, "the schedule divides by the warm-up steps", f"{_REFERENCE}/transformer_main.py"),
        Rule("optimizer.beta_1", ">=", 0.0, "beta_1 cannot be negative", _CHECKER),
        Rule("optimizer.beta_2", ">=", 0.0, "beta_2 cannot be negative", _CHECKER),
        Rule("optimizer.average_checkpoints", "==", 0, "the reference averages no checkpoints",
             f"{_REFERENCE}/transformer_main.py"),
        Rule("label_smoothing", "==", 0.1, "the loss is fixed", f"{_REFERENCE}/utils/metrics.py"),
        Rule("model.vocab_size", "==", 33_708, "the published vocabulary is used as it is", _PARAMETERS),
        Rule("data.vocab_target_size", "==", 0, "the published vocabulary is used as it is", _PARAMETERS),
        Rule("submission.status", "in", ("cloud", "onprem", "preview", "research"), "the checker knows no other",
             "checker training_0.7.0/closed_common.yaml"),
        Rule("model.d_model", "==", 1024, "the model is Transformer big", _PARAMETERS),
        Rule("model.ffn_dim", "==", 4096, "the model is Transformer big", _PARAMETERS),
        Rule("model.num_heads", "==", 16, "the model is Transformer big", _PARAMETERS),
        Rule("model.num_layers", "==", 6, "the model is Transformer big", _PARAMETERS),
        Rule("model.dropout_rate", "==", 0.1, "dropout is fixed", _PARAMETERS),
        Rule("evaluation.every_steps", "==", 0, "evaluation is once an epoch", _V07),
        Rule("evaluation.beam_size", "==", 4, "beam search is fixed", _PARAMETERS),
        Rule("evaluation.alpha", "==", 0.6, "beam search is fixed", _PARAMETERS),
        Rule("evaluation.extra_length", "==", 50, "beam search is fixed", _PARAMETERS),
        Rule("rng_impl", "in", ("threefry2x32", "rbg"), "random numbers come from a stock generator",
             "rules (Random numbers)"),
        Rule("compute_dtype", "in", ("float32", "bfloat16"), "numerical formats need approval",
             "rules (Numerical formats)"),
    ),
}


def violations(config: ConfigDict) -> list[str]:
    """One line for each closed-division rule that the config breaks: key, value, rule and source."""
    lines = []
    for rule in CLOSED_RULES.get(config.benchmark, ()):
        value: Any = config
        for part in rule.key.split("."):
            value = value[part]
        if not _RELATIONS[rule.relation](value, rule.allowed):
            allowed = " or ".join(map(repr, rule.allowed)) if rule.relation == "in" else repr(rule.allowed)
            words = {">": "more than ", ">=": "at least "}.get(rule.relation, "")
            lines.append(f"config.{rule.key} is {value!r}, must be {words}{allowed}: {rule.reason} [{rule.source}]")
    return lines


def preflight(config: ConfigDict) -> None:
    """Stops a run that claims the closed division without keeping its rules.

    Raises:
      UserError: an unknown division, or the violations, one a line, and the way out.
    """
    if config.division not in ("closed", "open"):
        raise UserError(f"config.division is {config.division!r}, must be 'closed' or 'open'")
    if config.division == "open":
        return
    if config.benchmark not in CLOSED_RULES:
        raise UserError(f"{config.benchmark} has no closed-division rules here; set --config.division=open")
    lines = violations(config)
    if lines:
        raise UserError("\n".join(["this config breaks rules of the closed division:", *lines,
                                   "mend it, or run in the open division with --config.division=open"]))
