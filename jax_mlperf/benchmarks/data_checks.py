"""What the data verbs do and print alike for every benchmark."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

from ml_collections import ConfigDict

from jax_mlperf.config import config_reference
from jax_mlperf.data.download import Check
from jax_mlperf.errors import UserError


class Meta(Protocol):
    """The content of a prepared folder's meta.json."""

    @property
    def fingerprint(self) -> str:
        """What identifies the arrays."""


class DataModule(Protocol):
    """What a module of data/ has whose data set becomes one folder of arrays; its `Settings` are passed through."""

    def prepared_folder(self, data_dir: str | os.PathLike[str], settings: Any) -> Path:
        """Where `prepare` writes."""

    def required_files(self, data_dir: str | os.PathLike[str], settings: Any) -> list[tuple[Path, bool]]:
        """What `prepare` reads, each with whether it is there."""

    def read_meta(self, folder: Path) -> Meta | None:
        """None for a folder that was not prepared."""

    def prepare(self, data_dir: str | os.PathLike[str], settings: Any) -> Path:
        """Makes the prepared folder."""

    def download(self, data_dir: str | os.PathLike[str], settings: Any, mirror: str | None = None) -> None:
        """Fetches the published files."""

    def verify(self, data_dir: str | os.PathLike[str], settings: Any) -> Sequence[Check]:
        """Holds them against what is known of them."""


def execute(action: str, module: DataModule, settings: Any, config: ConfigDict, data_dir: Path, mirror: str | None) -> None:
    """`data download|verify|prepare` of a data set that the program fetches by itself.

    Raises:
      UserError: from the module; or a file that is missing or damaged.
    """
    if action == "prepare":
        print(f"prepared {module.prepare(data_dir, settings)}")
    elif action == "download":
        module.download(data_dir, settings, mirror=mirror)
    else:
        report(module.verify(data_dir, settings), download_again(config, data_dir))


def report(checks: Sequence[Check], remedy: str) -> None:
    """One line for each file.

    Args:
      checks: what was found.
      remedy: what to do about a file that is not as it should be, for the message.

    Raises:
      UserError: a file is missing or damaged.
    """
    for check in checks:
        print(f"{check.state:8} {check.path}{'  ' + check.detail if check.detail else ''}")
    bad = [check for check in checks if check.state != "ok"]
    if bad:
        raise UserError(f"{len(bad)} of {len(checks)} files are not as they should be, {bad[0].path} first ({bad[0].state}); "
                        f"{remedy}")


def download_again(config: ConfigDict, data_dir: Path) -> str:
    """The remedy where the program can download what the config reads."""
    own = f" --config.data.raw_dir={config.data.raw_dir}" if config.data.raw_dir else ""
    return f"get them again with: python -m jax_mlperf data download {config_reference(config)} --data_dir={data_dir}{own}"
