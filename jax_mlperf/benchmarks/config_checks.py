"""Config values out of their bounds, refused with one line each before anything is made of them."""

import operator
from collections.abc import Iterable
from typing import Any

from ml_collections import ConfigDict

from jax_mlperf.errors import UserError

_RELATIONS = {">": (operator.gt, "above"), ">=": (operator.ge, "at least"), "<": (operator.lt, "below"),
              "<=": (operator.le, "at most")}
LARGEST = 2**31 - 1  # what the devices count with
_DTYPES = ("float32", "bfloat16", "float16")

Bound = tuple[str, str, float]  # key, relation, bound: of every element where the value is a tuple
COMMON: tuple[Bound, ...] = (
    ("label_smoothing", ">=", 0), ("label_smoothing", "<", 1), ("data.batch_size", ">=", 1),
    ("evaluation.batch_size", ">=", 1), ("evaluation.every_epochs", ">=", 1), ("optimizer.momentum", ">=", 0),
    ("optimizer.momentum", "<", 1), ("optimizer.weight_decay", ">=", 0), ("optimizer.base_learning_rate", ">", 0),
    ("optimizer.schedule_epochs", ">", 0), ("optimizer.warmup_epochs", ">=", 0), ("model.width", ">=", 1),
)


def check_bounds(config: ConfigDict, bounds: Iterable[Bound]) -> None:
    """Holds values against bounds; those of image classification are COMMON.

    Raises:
      UserError: a value is out of them (also when it is not a number).
    """
    for key, relation, bound in bounds:
        value = _value(config, key)
        holds, words = _RELATIONS[relation]
        numbers = value if isinstance(value, tuple) else (value,)
        if not all(isinstance(number, int | float) for number in numbers):
            raise UserError(f"config.{key} is {value!r}, must be numbers")
        if not all(holds(number, bound) for number in numbers):
            raise UserError(f"config.{key} is {value!r}, must be {words} {bound}")


def check_length(config: ConfigDict, key: str, length: int, *, ascending: bool = False) -> None:
    """Holds a tuple against the number of its elements, and against their order.

    Raises:
      UserError: it has more or fewer elements, or one is below the one before it.
    """
    value = _value(config, key)
    if len(value) != length or (ascending and list(value) != sorted(value)):
        raise UserError(f"config.{key} is {value!r}, must be {length} numbers{', the smaller one first' if ascending else ''}")


def check_dtype(config: ConfigDict) -> None:
    """Raises UserError when `compute_dtype` is none that a network computes with."""
    if config.compute_dtype not in _DTYPES:
        raise UserError(f"config.compute_dtype is {config.compute_dtype!r}; there are: {', '.join(_DTYPES)}")


def _value(config: ConfigDict, key: str) -> Any:
    value: Any = config
    for part in key.split("."):
        value = value[part]
    return value
