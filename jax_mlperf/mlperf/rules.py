"""Closed-division preflight: the config is held against the benchmark's rules before any accelerator time is spent."""

import math
import operator
from collections.abc import Callable
from typing import Any

from ml_collections import ConfigDict

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.closed_division import BY_OPTIMIZER, CLOSED_RULES

# Relation -> (whether it holds, how a message says what is allowed).
_RELATIONS: dict[str, tuple[Callable[[Any, Any], bool], str]] = {
    "==": (operator.eq, "{!r}"), "!=": (operator.ne, "other than {!r}"), ">": (operator.gt, "more than {!r}"),
    ">=": (operator.ge, "at least {!r}"), "<=": (operator.le, "at most {!r}"),
    "in": (lambda value, allowed: value in allowed, "{}"),
    "multiple of": (lambda value, unit: _is_whole(value / unit), "a multiple of {!r}"),
    "power of two times": (lambda value, unit: value > 0 and _is_whole(math.log2(value / unit)), "{!r} times a power of two"),
}


def _is_whole(number: float) -> bool:
    return abs(number - round(number)) < 1e-5  # the compliance checker's tolerance


def violations(config: ConfigDict) -> list[str]:
    """One line for each closed-division rule that the config breaks: key, value, rule and source."""
    lines = []
    rules = CLOSED_RULES.get(config.benchmark, ()) + BY_OPTIMIZER.get(config.benchmark, {}).get(config.optimizer.name, ())
    for rule in rules:
        value: Any = config
        for part in rule.key.split("."):
            value = value[part]
        holds, words = _RELATIONS[rule.relation]
        if not holds(value, rule.allowed):
            allowed = " or ".join(map(repr, rule.allowed)) if rule.relation == "in" else rule.allowed
            lines.append(f"config.{rule.key} is {value!r}, must be {words.format(allowed)}: {rule.reason} [{rule.source}]")
    return lines


def check_division(config: ConfigDict) -> None:
    """Raises UserError for a division that is none."""
    if config.division not in ("closed", "open"):
        raise UserError(f"config.division is {config.division!r}, must be 'closed' or 'open'")


def preflight(config: ConfigDict) -> None:
    """Stops a run that claims the closed division without keeping its rules.

    Raises:
      UserError: an unknown division, or the violations, one a line, and the way out.
    """
    check_division(config)
    if config.division == "open":
        return
    if config.benchmark not in CLOSED_RULES:
        raise UserError(f"{config.benchmark} has no closed-division rules here; set --config.division=open")
    lines = violations(config)
    if lines:
        raise UserError("\n".join(["this config breaks rules of the closed division:", *lines,
                                   "mend it, or run in the open division with --config.division=open"]))
