"""What `data verify` prints, alike for every benchmark."""

from collections.abc import Sequence
from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.config import config_reference
from jax_mlperf.data.download import Check
from jax_mlperf.errors import UserError


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
    return f"get them again with: python -m jax_mlperf data download {config_reference(config)} --data_dir={data_dir}"
