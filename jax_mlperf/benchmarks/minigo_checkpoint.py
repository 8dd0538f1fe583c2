"""Networks out of work folders: opponents, starting points, and whoever plays or shows games outside of training."""

import dataclasses
import re
from pathlib import Path
from typing import Any

import jax
from ml_collections import ConfigDict

from jax_mlperf.benchmark import TrainState
from jax_mlperf.benchmarks.minigo_settings import RANDOM
from jax_mlperf.checkpoint import restore_newest
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.programs import state_target
from jax_mlperf.selfplay.agent import Variables
from jax_mlperf.workdir import Workdir

_RUN = re.compile(r"run_(\d+)")
_ARCHITECTURE = ("game.board_size", "model.planes", "model.filters", "model.blocks", "model.value_width", "model.conv_bias")


def config_of(folder: Path) -> ConfigDict:
    """The config that a work folder was trained with.

    Args:
      folder: WORKDIR, or WORKDIR/run_N.

    Raises:
      UserError: it is no work folder, or one of another benchmark.
    """
    content = Workdir(_workdir(folder)).recorded_config()
    if not isinstance(content, dict):
        raise UserError(f"{_workdir(folder) / 'config.json'} is damaged: it holds no config; give another work folder")
    if content.get("benchmark") != "minigo":
        raise UserError(f"{folder} is a work folder of {content.get('benchmark')!r}, not of minigo")
    lacking = _lacking(content, load_config("minigo").to_dict())
    if lacking:
        raise UserError(f"{_workdir(folder) / 'config.json'} is damaged, or of another version: it has no {lacking}; give "
                        "another work folder")
    return ConfigDict(_with_tuples(content)).lock()


def _lacking(content: dict[str, Any], known: dict[str, Any], prefix: str = "") -> str:
    """The first key of `known` that is missing, or stands for no section where it should; "" for none."""
    for key, value in known.items():
        if key not in content or (isinstance(value, dict) and not isinstance(content[key], dict)):
            return prefix + key
        if isinstance(value, dict) and (lacking := _lacking(content[key], value, f"{prefix}{key}.")):
            return lacking
    return ""


def _with_tuples(value: Any) -> Any:
    """What was written as JSON, which has lists instead of tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(entry) for key, entry in value.items()}
    return tuple(value) if isinstance(value, list) else value


def restored(config: ConfigDict, data_dir: Path, folder: Path, *, experience: bool = False) -> TrainState:
    """The newest checkpoint of a run on one device of this process; run 0 where `folder` does not name one.

    Args:
      config: of the folder.
      data_dir: of the config's data, which need not be there.
      folder: WORKDIR, or WORKDIR/run_N.
      experience: games and replay window too, which may be large.

    Raises:
      UserError: there is no checkpoint, or it is not one of this config's network.
    """
    from jax_mlperf.benchmarks.minigo import benchmark_on_one_device  # here: minigo imports this module for its opponents

    benchmark = benchmark_on_one_device(config, data_dir)
    path = check_trained(folder)
    target = state_target(benchmark, make_mesh(1, 1, jax.local_devices()[:1]))
    if not experience:
        target = dataclasses.replace(target, experience={})
    try:
        state = restore_newest(path, target)
    except (KeyError, ValueError, OSError) as error:
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise UserError(f"the checkpoint in {path} is damaged, or does not fit the config beside it: {reason}") from error
    if state is None:
        raise UserError(f"{path} has no whole checkpoint; train until the first evaluation")
    return state


def check_trained(folder: Path) -> Path:
    """The folder of the checkpoints of WORKDIR or WORKDIR/run_N; of run 0 where it does not name one.

    Raises:
      UserError: there is none, or no checkpoint in it.
    """
    workdir = _workdir(folder)
    run = int(match[1]) if (match := _RUN.fullmatch(folder.name)) else 0
    path = Workdir(workdir).run_folder(run) / "checkpoints"
    if not path.is_dir():
        raise UserError(f"{workdir} has no run {run} with checkpoints; train first with run.py")
    if not any(entry.name.isdigit() for entry in path.iterdir()):
        raise UserError(f"run {run} in {workdir} has no checkpoint yet; train until its first evaluation")
    return path


def alone(config: ConfigDict) -> ConfigDict:
    """The config without the other work folders that it names, which its network does not need and which may be gone."""
    copy = ConfigDict(config.to_dict())
    copy.model.initial_weights = ""
    if copy.evaluation.opponent:
        copy.evaluation.opponent = RANDOM
    return copy.lock()


def check_initial_weights(config: ConfigDict) -> None:
    """Refuses a network to start from that is not of the config's own architecture, before anything is compiled.

    Raises:
      UserError: `config.model.initial_weights` is no work folder of minigo, or one of another network.
    """
    if not config.model.initial_weights:
        return
    folder = Path(config.model.initial_weights)
    theirs = config_of(folder)
    check_trained(folder)
    for key in _ARCHITECTURE:
        section, name = key.split(".")
        if theirs[section][name] != config[section][name]:
            raise UserError(f"config.model.initial_weights {folder} has {key} {theirs[section][name]!r}, but config.{key} is "
                            f"{config[section][name]!r}: they must be equal")


def variables_from(config: ConfigDict, data_dir: Path, folder: Path) -> Variables:
    """The trained network of a work folder, as arrays of the host; see `restored`."""
    state = restored(config, data_dir, folder)
    return jax.device_get(Variables(state.params, state.model_state))


def _workdir(folder: Path) -> Path:
    return folder.parent if _RUN.fullmatch(folder.name) else folder
