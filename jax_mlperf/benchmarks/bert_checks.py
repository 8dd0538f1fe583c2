"""What BERT's config may hold, checked before anything is made of it."""

from ml_collections import ConfigDict

from jax_mlperf.benchmarks.config_checks import LARGEST, Bound, check_bounds, check_dtype
from jax_mlperf.errors import UserError

_NAMES = {"model.remat": ("none", "layer"), "optimizer.name": ("lamb", "adamw"),
          "model.attention_implementation": ("auto", "xla", "cudnn")}
_POSITIVE = (
    "data.batch_size", "data.sequences_per_row", "data.max_predictions", "evaluation.batch_size", "optimizer.training_steps",
    "model.hidden_size", "model.num_layers", "model.num_heads", "model.intermediate_size", "model.max_positions",
    "data.expected.train", "data.expected.eval_predictions", "data.expected.sequences_per_row",
)
_NOT_NEGATIVE = ("model.vocab_size", "optimizer.warmup_steps", "evaluation.every_samples", "evaluation.first_samples",
                 "optimizer.weight_decay", "optimizer.clip_norm")
_BOUNDS: tuple[Bound, ...] = (
    *((key, ">=", 1) for key in _POSITIVE), *((key, ">=", 0) for key in _NOT_NEGATIVE),
    *((key, "<=", LARGEST) for key in (*_POSITIVE, *_NOT_NEGATIVE)),
    ("model.type_vocab_size", ">=", 2), ("model.type_vocab_size", "<=", LARGEST),
    # Without it, what has had no gradient yet would be moved by 0 / 0.
    ("optimizer.epsilon", ">", 0), ("optimizer.epsilon", "<=", LARGEST),
    ("optimizer.base_learning_rate", ">", 0), ("model.initializer_range", ">", 0), ("optimizer.start_warmup_step", "<=", 0),
    *((f"optimizer.{beta}", relation, bound) for beta in ("beta_1", "beta_2") for relation, bound in ((">=", 0), ("<", 1))),
    *((f"model.{part}_dropout_rate", relation, bound) for part in ("hidden", "attention")
      for relation, bound in ((">=", 0), ("<", 1))),
)


def check_config(config: ConfigDict) -> None:
    """Refuses values that make no run.

    Raises:
      UserError: the first that does not fit.
    """
    check_bounds(config, _BOUNDS)
    check_dtype(config)
    for key, names in _NAMES.items():
        section, name = key.split(".")
        if config[section][name] not in names:
            raise UserError(f"config.{key} is {config[section][name]!r}; there are: {', '.join(names)}")
    data = config.data
    if data.packed and data.sequences_per_row > data.max_sequence_length:
        raise UserError(f"config.data.sequences_per_row is {data.sequences_per_row}, but a row of "
                        f"{data.max_sequence_length} tokens holds fewer sequences: set it lower")
    if config.data.max_sequence_length > config.model.max_positions:
        raise UserError(f"config.data.max_sequence_length is {config.data.max_sequence_length}, but the model has "
                        f"{config.model.max_positions} positions: set --config.model.max_positions as high")
