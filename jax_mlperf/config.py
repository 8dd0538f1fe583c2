"""Loading a config file, applying `--config.key=value` overrides, and telling two configs apart.

A config file is a Python module with `get_config(variant: str) -> ConfigDict`; it holds values only. What depends on
several values (steps per epoch, accumulation steps) is computed by the benchmark after the overrides.
"""

import ast
import difflib
import hashlib
import importlib.util
import json
import math
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jax_mlperf.errors import UserError

CONFIGS = Path(__file__).resolve().parents[1] / "configs"
# Values that may change between a run and its resumption: they decide how long and how visibly to train, not what.
OPERATIONAL_KEYS = ("runs", "time_budget_minutes", "max_epochs", "log_every_steps", "checkpoint_every_steps",
                    "checkpoints_kept", "submission", "plain_log_seconds")
_LEAST = {"runs": 1, "steps_per_dispatch": 0, "log_every_steps": 1, "microbatch_per_device": 0, "prefetch_batches": 1,
          "time_budget_minutes": 0, "checkpoints_kept": 1, "checkpoint_every_steps": 0, "seed": -1}
_MOST = {"max_epochs": 100_000, "seed": 2**63 - 1}  # all evaluation points are listed; a seed is an int64


def base_config() -> ConfigDict:
    """Values that every benchmark has, for the trainer; a config file starts from these."""
    return ConfigDict({
        "benchmark": "",                # name in the registry and in the MLPerf log
        "variant": "",
        "division": "closed",           # "closed": preflight against the rules; "open": no rules
        "seed": -1,                     # -1: drawn from the operating system for each run, and logged
        "runs": 1,                      # repeated runs with fresh seeds: result_0.txt, result_1.txt, ...
        "max_epochs": 10.0,             # give up (exit status 3) at the next evaluation point, when the target was not reached
        "time_budget_minutes": 0.0,     # > 0: train exactly this long and evaluate at the end (accuracy after time)
        "compute_dtype": "bfloat16",
        "rng_impl": "threefry2x32",     # a stock generator of JAX, or "hash32" (ops/hash_rng.py): cheaper, open division
        "mesh": {"data": -1, "fsdp": 1},  # -1: all the devices that the other axis leaves
        "steps_per_dispatch": 1,        # training steps in one device program; 0: 1 on the CPU, 100 elsewhere
        "microbatch_per_device": 0,     # > 0: rows a device takes at once; the rest is gradient accumulation
        "prefetch_batches": 4,
        "log_every_steps": 100,
        "plain_log_seconds": 10.0,      # least time between two progress lines when the output is no terminal
        "checkpoint_every_steps": 0,    # 0: only at evaluation points and on SIGTERM
        "checkpoints_kept": 2,
        "submission": {"org": "jax_mlperf", "platform": "", "status": "research"},
    })


def load_config(reference: str, overrides: Iterable[str] = ()) -> ConfigDict:
    """The config that `FILE[:VARIANT]` names, with `key.subkey=value` overrides applied.

    A bare name stands for the file of that name in configs/: `transformer:tiny`.

    Raises:
      UserError: no such file, unknown variant, unknown key (the nearest is named), or a value of the wrong type.
    """
    filename, _, variant = reference.partition(":")
    path = Path(filename) if filename.endswith(".py") else CONFIGS / f"{filename}.py"
    if not path.is_file():
        raise UserError(f"config file {filename!r} does not exist{_similar_file(path)}")
    spec = importlib.util.spec_from_file_location(f"config_{path.stem}", path)
    if spec is None or spec.loader is None:
        raise UserError(f"config file {filename!r} is not a Python file")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if not hasattr(module, "get_config"):
        raise UserError(f"config file {filename!r} defines no get_config(variant)")
    config = module.get_config(variant)
    config.variant = variant
    for override in overrides:
        _apply_override(config, override)
    for key, least in _LEAST.items():
        if config[key] < least:
            raise UserError(f"config.{key} is {config[key]}, must be at least {least}")
    for key, most in _MOST.items():
        if config[key] > most:
            raise UserError(f"config.{key} is {config[key]}, must be at most {most}")
    if config.max_epochs <= 0:
        raise UserError(f"config.max_epochs is {config.max_epochs}, must be above 0")
    return config.lock()


def split_overrides(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Separates `--config.key=value` (or `--config.key value`) from the other command-line arguments."""
    overrides, rest = [], []
    pending = ""
    for argument in arguments:
        if pending:
            overrides.append(f"{pending}={argument}")
            pending = ""
        elif argument.startswith("--config."):
            key = argument.removeprefix("--config.")
            if "=" in key:
                overrides.append(key)
            else:
                pending = key
        else:
            rest.append(argument)
    if pending:
        raise UserError(f"--config.{pending} needs a value: --config.{pending}=VALUE")
    return overrides, rest


def config_reference(config: ConfigDict) -> str:
    """NAME[:VARIANT], which `load_config` takes."""
    return ":".join(filter(None, (config.benchmark, config.variant)))


def fingerprint(config: ConfigDict) -> str:
    """A short hash of everything in the config that decides what is trained; operational keys do not count."""
    values = {key: value for key, value in config.to_dict().items() if key not in OPERATIONAL_KEYS}
    return hashlib.sha256(json.dumps(values, sort_keys=True, default=str).encode()).hexdigest()[:16]


def differences(old: dict[str, Any], new: dict[str, Any]) -> list[str]:
    """The dotted keys under which two plain config dicts differ, operational keys apart."""
    return [f"{key} ({before!r} there, {after!r} now)" for key, before, after in changes(old, new)
            if key.partition(".")[0] not in OPERATIONAL_KEYS]


def changes(old: dict[str, Any], new: dict[str, Any], prefix: str = "") -> Iterator[tuple[str, Any, Any]]:
    """(dotted key, value before, value after) where two plain config dicts differ; None for a value that is not there."""
    for key in sorted(old.keys() | new.keys()):
        before, after = old.get(key), new.get(key)
        if isinstance(before, dict) and isinstance(after, dict):
            yield from changes(before, after, f"{prefix}{key}.")
        elif json.dumps(before, default=str) != json.dumps(after, default=str):
            yield f"{prefix}{key}", before, after


def _similar_file(path: Path) -> str:
    names = [candidate.name for candidate in path.parent.glob("*.py")] if path.parent.is_dir() else []
    near = difflib.get_close_matches(path.name, names, n=1)
    return f"; did you mean {str(path.parent / near[0])!r}?" if near else ""


def _all_keys(config: ConfigDict, prefix: str = "") -> list[str]:
    keys = []
    for key, value in config.items():
        keys.append(prefix + key)
        if isinstance(value, ConfigDict):
            keys += _all_keys(value, f"{prefix}{key}.")
    return keys


def _apply_override(config: ConfigDict, override: str) -> None:
    key, _, text = override.partition("=")
    if key in ("benchmark", "variant"):
        raise UserError(f"config.{key} belongs to the config file: choose another with --config=FILE:VARIANT")
    known = _all_keys(config)
    if key not in known:
        raise UserError(f"unknown config key {key!r}; the nearest is {_nearest_key(key, known)!r}")
    *parents, leaf = key.split(".")
    section = config
    for parent in parents:
        section = section[parent]
    section[leaf] = _parse(key, text, section[leaf])


def _nearest_key(key: str, known: list[str]) -> str:
    """The known key most like `key`, looking at its last part first: people misplace the section more than the name."""
    leaf = key.rsplit(".", 1)[-1]

    def likeness(candidate: str) -> float:
        same_leaf = difflib.SequenceMatcher(None, leaf, candidate.rsplit(".", 1)[-1]).ratio()
        return same_leaf + difflib.SequenceMatcher(None, key, candidate).ratio()

    return max(known, key=likeness)


def _parse(key: str, text: str, default: Any) -> Any:
    """The value that `text` stands for, of the type that `default` has."""
    wanted = type(default).__name__
    if isinstance(default, ConfigDict):
        raise UserError(f"config key {key!r} is a section; set one of {', '.join(key + '.' + k for k in default)}")
    if isinstance(default, str):
        return text
    try:
        value = ast.literal_eval({"true": "True", "false": "False"}.get(text, text))
    except (ValueError, SyntaxError):
        value = text
    if isinstance(default, bool) or isinstance(value, bool):
        accepted = isinstance(default, bool) and isinstance(value, bool)
    elif isinstance(default, float):
        accepted, value = isinstance(value, int | float), float(value) if isinstance(value, int) else value
        if accepted and not math.isfinite(value):
            raise UserError(f"config key {key!r} takes a finite number, not {text!r}")
    elif isinstance(default, tuple):
        accepted, value = isinstance(value, tuple | list), tuple(value) if isinstance(value, list) else value
    else:
        accepted = isinstance(value, type(default))
    if not accepted:
        raise UserError(f"config key {key!r} takes a value of type {wanted} (default {default!r}), not {text!r}")
    return value
