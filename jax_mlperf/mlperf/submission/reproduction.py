"""The command that repeats the runs of a work folder: its config file and what was overridden, told from config.json."""

import dataclasses
import json
import shlex
from collections.abc import Mapping
from typing import Any

from ml_collections import ConfigDict

from jax_mlperf.config import OPERATIONAL_KEYS, changes, differences, fingerprint, load_config
from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.result_set import ResultSet

# Operational keys that belong to the command: when a run ends, and who submits it.
_TOLD = {"time_budget_minutes", "max_epochs", "submission"}
_LEFT_OUT = {"variant", *OPERATIONAL_KEYS} - _TOLD


@dataclasses.dataclass(frozen=True)
class Command:
    """How the runs were started.

    Attributes:
      config: NAME[:VARIANT], as `--config` takes it.
      overrides: `key=value` texts, as `--config.key=value` takes them.
      local: those whose value is a folder or file of the machine that ran: key -> value.
      fingerprint: of the whole config (config.fingerprint).
    """

    config: str
    overrides: tuple[str, ...]
    local: Mapping[str, str]
    fingerprint: str

    def variables(self) -> dict[str, str]:
        """Config key -> shell variable that stands for its local folder or file: data.raw_dir -> DATA_RAW_DIR."""
        return {key: key.replace(".", "_").upper() for key in self.local}

    def flags(self) -> list[str]:
        """The flags as words of a shell script; a local folder becomes a variable that must be set."""
        words = [f"--config={shlex.quote(self.config)}", *(f"--config.{shlex.quote(override)}" for override in self.overrides)]
        return words + [f'--config.{key}="${{{name}:?set it to the folder or file of config.{key}}}"'
                        for key, name in self.variables().items()]


def command_of(result_set: ResultSet) -> Command | None:
    """The command of a work folder; None for logs that do not lie in one.

    Raises:
      UserError: the config cannot be had any more with this version of the code, which is then not the code that ran.
    """
    record = result_set.records.get("config")
    if not isinstance(record, dict) or not isinstance(record.get("config"), dict):
        return None
    recorded = record["config"]
    reference = ":".join(filter(None, (str(recorded.get("benchmark", "")), str(recorded.get("variant", "")))))
    try:
        texts = {key: _text(value) for key, _, value in changes(_plain(load_config(reference)), recorded)
                 if key.partition(".")[0] not in _LEFT_OUT and value is not None}
        repeated = load_config(reference, [f"{key}={text}" for key, text in texts.items()])
        if fingerprint(repeated) != record.get("fingerprint"):
            raise UserError(", ".join(differences(recorded, _plain(repeated))))
    except UserError as error:
        raise UserError(f"{result_set.folder}/config.json is not of this version of jax_mlperf: {error}; pack the runs with the "
                        "version that made them") from error
    local = {key: text for key, text in texts.items() if text.startswith(("/", "~", "."))}
    overrides = tuple(f"{key}={text}" for key, text in texts.items() if key not in local)
    return Command(reference, overrides, local, fingerprint(repeated))


def _plain(config: ConfigDict) -> dict[str, Any]:
    """As a JSON file gives it back."""
    content: dict[str, Any] = json.loads(json.dumps(config.to_dict()))
    return content


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return repr(tuple(value)) if isinstance(value, list) else str(value)
