"""Folders of result files: the runs of one benchmark on one system."""

import dataclasses
import json
import os
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from jax_mlperf.errors import UserError
from jax_mlperf.mlperf.reading.log_lines import open_file
from jax_mlperf.mlperf.reading.run_log import RunLog, read_run

_RESULT_FILE = re.compile(r"result_(\d+)\.txt")


@dataclasses.dataclass(frozen=True)
class ResultSet:
    """The result files of one folder.

    Attributes:
      folder: where they lie.
      runs: by the number in the file's name.
      records: what lies beside the logs of our own runs, by file name without ending ("config", "environment"); parsed JSON.
    """

    folder: Path
    runs: Sequence[RunLog]
    records: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def benchmark(self) -> str:
        """MLPerf's name of it, of the first run that tells one; "unknown" where none does."""
        return next((run.benchmark for run in self.runs if run.benchmark), "unknown")

    @property
    def name(self) -> str:
        """What tables call it: the last two parts of the folder."""
        return "/".join(self.folder.parts[-2:])


def read_result_sets(paths: Iterable[Path]) -> list[ResultSet]:
    """Reads every folder with result_<i>.txt files at or below the paths; a path may also be one such file.

    Raises:
      UserError: a path is not there, or has no result files.
    """
    files: dict[Path, set[Path]] = defaultdict(set)
    names: dict[Path, Path] = {}  # a folder that is given by two names is one
    for path in paths:
        found = list(result_files(path))
        if not found:
            state = "is not there" if not path.exists() else "holds no result_<i>.txt files" if path.is_dir() else (
                "is a pipe or a device")
            raise UserError(f"{path} {state}; "
                            "give work folders of run.py, folders of result files, or single files")
        for file in found:
            folder = names.setdefault(file.parent.resolve(), file.parent)
            files[folder].add(folder / file.name)
    return [_read(folder, sorted(found, key=_number)) for folder, found in sorted(files.items())]


def result_files(path: Path) -> Iterator[Path]:
    """The file itself, or every result_<i>.txt at or below the folder."""
    path = path.absolute()
    if path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names if _RESULT_FILE.fullmatch(name))


def _number(path: Path) -> tuple[int, str]:
    match = _RESULT_FILE.fullmatch(path.name)
    return (int(match[1]) if match else 0, path.name)


def _read(folder: Path, files: Sequence[Path]) -> ResultSet:
    return ResultSet(folder, [read_run(file) for file in files],
                     {name: record for name in ("config", "environment") if (record := read_record(folder / f"{name}.json"))})


def read_record(path: Path) -> Any:
    """The content of a JSON file that need not be there; None where it is missing or damaged."""
    try:
        with open_file(path) as file:
            return json.loads(file.read())
    except (OSError, ValueError, RecursionError):
        return None
