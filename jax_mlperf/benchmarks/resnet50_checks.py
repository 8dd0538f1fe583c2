"""What a config of the ResNet-50 benchmark must keep, beyond the names that the model and the pipeline check."""

from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks.config_checks import COMMON, check_bounds, check_dtype, check_length
from jax_mlperf.errors import UserError

_BOUNDS = (
    ("evaluation.first_epoch", ">=", 1), ("data.crop_area", ">", 0), ("data.crop_area", "<=", 1),
    ("data.crop_aspect_ratio", ">", 0), ("data.crop_attempts", ">=", 0), ("data.decode_threads", ">=", 0),
    ("data.std", ">", 0), ("model.stage_sizes", ">=", 1), ("model.num_classes", ">=", 1), ("model.bn_momentum", ">=", 0),
    ("model.bn_momentum", "<=", 1), ("model.bn_epsilon", ">", 0), ("model.bn_group", ">=", 0),
    ("optimizer.trust_coefficient", ">", 0), ("optimizer.epsilon", ">=", 0), ("optimizer.end_learning_rate", ">=", 0),
)


def check_config(config: ConfigDict) -> None:
    """Holds the config's numbers against their bounds, and what belongs together against each other.

    Raises:
      UserError: what is wrong, its value and the rule.
    """
    check_bounds(config, (*COMMON, *_BOUNDS))
    check_dtype(config)
    for key in ("data.crop_area", "data.crop_aspect_ratio"):
        check_length(config, key, 2, ascending=True)
    for key in ("data.mean", "data.std"):
        check_length(config, key, 3)
    if not config.model.stage_sizes:
        raise UserError("config.model.stage_sizes is (), must have at least one stage, as in (3, 4, 6, 3)")
    if config.model.stem == "space_to_depth" and config.data.image_size % 2:
        raise UserError(f"config.data.image_size is {config.data.image_size}, must be even for the stem 'space_to_depth'")
    if config.model.initial_weights:
        _check_weights(config.model.initial_weights, config.model.padding)


def _check_weights(path: str, padding: str) -> None:
    if padding != "symmetric":
        raise UserError(f"config.model.padding is {padding!r}, but config.model.initial_weights are torchvision's, which need "
                        "'symmetric': set --config.model.padding=symmetric")
    if not Path(path).is_file():
        raise UserError(f"no weights at {path}: give config.model.initial_weights the path of a .npz or .safetensors file")


def check_samples(config: ConfigDict, train: int, evaluation: int) -> None:
    """Refuses a part of the data set in the closed division.

    Raises:
      UserError: a split has not its number of images.
    """
    expected = config.data.expected
    if config.division == "closed" and (train, evaluation) != (expected.train, expected.eval):
        raise UserError(f"the prepared ImageNet holds {train:,} training and {evaluation:,} validation images, the closed "
                        f"division needs {expected.train:,} and {expected.eval:,}: complete the shards and run data "
                        "prepare again, or set --config.division=open")
