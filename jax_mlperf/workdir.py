"""The folder that a command's runs write to: whose it is, and which runs in it are done.

Layout: config.json; environment.json; result_<i>.txt (the MLPerf log); run_<i>/{checkpoints,tensorboard,summary.json}.
"""

import dataclasses
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jax_mlperf.config import differences, fingerprint
from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.seal import sha256
from jax_mlperf.mlperf.system.environment import LATER
from jax_mlperf.whole_file import write_whole


@dataclasses.dataclass(frozen=True)
class RunResult:
    """How one run ended.

    Attributes:
      reached: the quality target was reached.
      complete: False when the run was stopped from outside and can be resumed.
      as_asked: ended with the target, or with the time budget used up.
      step, epoch: where it ended.
      minutes: run_stop - run_start.
      quality: the last evaluation.
      seed: the run's seed.
      reason: in words, why it ended.
      phase_seconds: where the time went (phases.py), and the part of training that all-reduces would take by themselves.
      log_sha256: of the log as the run left it, so that a later change of it is found.
    """

    reached: bool
    complete: bool
    as_asked: bool
    step: int
    epoch: float
    minutes: float
    quality: dict[str, float]
    seed: int
    reason: str
    phase_seconds: dict[str, float]
    log_sha256: str = ""


class Workdir:
    """Paths and records in a work folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def log_file(self, run: int) -> Path:
        """The MLPerf log of a run."""
        return self.path / f"result_{run}.txt"

    def run_folder(self, run: int) -> Path:
        """Checkpoints and scalars of a run."""
        return self.path / f"run_{run}"

    def claim(self, config: ConfigDict, *, resume: bool, write: bool) -> None:
        """Makes the folder ready for this config.

        Args:
          config: the config of all runs in the folder.
          resume: go on with what is there; False wants an unused folder.
          write: create the folder and its config.json (process 0).
        Raises:
          UserError: not writable, belongs to another config, or in use although `resume` is False.
        """
        record = self.path / "config.json"
        if record.exists():
            self.check_owner(config)
            if not resume:
                raise UserError(f"workdir {self.path} already holds runs; choose another --workdir, or leave out --fresh")
        elif write:
            try:
                _write(record, {"fingerprint": fingerprint(config), "config": config.to_dict()})
            except OSError as error:
                raise UserError(f"workdir {self.path} cannot be written: {error.strerror}; choose another --workdir") from error
        else:
            raise UserError(f"workdir {self.path} has no config.json here: all processes must see the same --workdir")

    def recorded_config(self) -> dict[str, Any]:
        """The values of the config that the folder was made with.

        Raises:
          UserError: the folder was not trained in, or is damaged.
        """
        path = self.path / "config.json"
        if not path.is_file():
            raise UserError(f"{self.path} is no work folder: it has no config.json; give the --workdir of a run")
        return _read(path).get("config", {})

    def check_owner(self, config: ConfigDict, sections: Sequence[str] = ()) -> None:
        """Whether the folder was made with this config, or with these sections of it.

        Raises:
          UserError: it was not; the keys that differ.
        """
        owner = _read(self.path / "config.json")
        changed = differences(owner.get("config", {}), json.loads(json.dumps(config.to_dict())))
        if sections:
            changed = [key for key in changed if key.startswith(tuple(f"{section}{end}" for section in sections for end in ". "))]
        if changed or (not sections and owner.get("fingerprint") != fingerprint(config)):
            changed_keys = ", ".join(changed)
            raise UserError(f"workdir {self.path} belongs to another config: {changed_keys}; choose another --workdir")

    def finished(self, run: int) -> RunResult | None:
        """The result of a run that is complete, else None."""
        summary = self.run_folder(run) / "summary.json"
        if not summary.exists():
            return None
        try:
            return RunResult(**_read(summary))
        except TypeError as error:
            raise _damaged(summary) from error

    def finish(self, run: int, result: RunResult) -> RunResult:
        """Records a complete run; returns it with the hash of its log."""
        result = dataclasses.replace(result, log_sha256=sha256(self.log_file(run)))
        _write(self.run_folder(run) / "summary.json", dataclasses.asdict(result))
        return result

    def record_environment(self, environment: Mapping[str, str]) -> None:
        """Keeps the system that the runs are made on in environment.json; one that differs later is written behind the first."""
        path = self.path / "environment.json"
        before = _read(path) if path.exists() else {}
        merged = dict(before)
        for name, value in environment.items():
            values = str(before.get(name, value)).split(LATER)
            merged[name] = LATER.join(values if value in values else [*values, value])
        if merged != before:
            _write(path, merged)


def _write(path: Path, content: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=1))


def _read(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (ValueError, OSError) as error:
        raise _damaged(path) from error
    if not isinstance(content, dict):
        raise _damaged(path)
    return content


def _damaged(path: Path) -> UserError:
    return UserError(f"{path} is damaged; choose another --workdir or delete that folder")
