"""Reads the scaling.json files of the `study` verb."""

import dataclasses
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from jax_mlperf.mlperf.reading.result_set import read_record
from jax_mlperf.mlperf.reading.run_log import RunLog, as_number, read_run
from jax_mlperf.report.drawing.numbers import LARGEST_VALUE

# Seconds; a ratio with less would be no number.
_SHORTEST = 1e-6
_PHASES = ("compute", "all_reduce", "input_wait", "checkpoint", "evaluate")


@dataclasses.dataclass(frozen=True)
class Entry:
    """The first run with so many workers.

    Attributes:
      workers: of the run; devices: that it ran on, None where the file does not tell.
      reached: the target.
      train_seconds: MLBench's clock, training batches only; it consists of compute_seconds and all_reduce_seconds.
      minutes, epochs: wall clock, and epochs trained; None where the file does not tell.
      phase_seconds: what the file has of compute, all_reduce, input_wait, checkpoint and evaluate.
      run: its log, where it lies beside the file.
    """

    workers: int
    devices: int | None
    reached: bool
    train_seconds: float
    minutes: float | None
    epochs: float | None
    phase_seconds: Mapping[str, float]
    run: RunLog | None = None

    @property
    def compute_seconds(self) -> float:
        """Training without communication."""
        return self.phase_seconds.get("compute", self.train_seconds)

    @property
    def communication_seconds(self) -> float:
        """All-reduces."""
        return self.phase_seconds.get("all_reduce", 0.0)


@dataclasses.dataclass(frozen=True)
class Scaling:
    """A scaling study: its folder, its runs by number of workers, and what is wrong with the file, in words."""

    folder: Path
    entries: Sequence[Entry]
    problems: Sequence[str] = ()

    @property
    def benchmark(self) -> str:
        """MLPerf's name of it, of the first log that tells one; "" where none does."""
        return next((entry.run.benchmark for entry in self.entries if entry.run and entry.run.benchmark), "")

    def speedups(self) -> list[float]:
        """T(1)/T(k): training seconds of the fewest workers over those of each number."""
        first = self.entries[0].train_seconds
        return [first / entry.train_seconds for entry in self.entries]

    def compute_speedups(self) -> list[float]:
        """The same without communication; 0 where a run has no compute time."""
        first = self.entries[0].compute_seconds
        return [first / entry.compute_seconds if entry.compute_seconds else 0.0 for entry in self.entries]

    def price_indices(self) -> list[float]:
        """Price increase / performance increase, k/speedup relative to the fewest workers: 1 is as cheap, 2 costs twice."""
        first = self.entries[0].workers
        return [entry.workers / first / speedup for entry, speedup in zip(self.entries, self.speedups(), strict=True)]


def read_scaling(paths: Iterable[Path]) -> list[Scaling]:
    """The scaling.json files at or below the paths; what is damaged in one is in its `problems`, never an exception."""
    files = {file for path in paths for file in scaling_files(path)}
    return [_read(file) for file in sorted(files)]


def scaling_files(path: Path) -> Iterator[Path]:
    """The file itself, or every scaling.json at or below the folder."""
    path = path.absolute()
    if path.name == "scaling.json" and path.is_file():
        yield path
    for folder, _, names in os.walk(path):
        yield from (Path(folder, name) for name in names if name == "scaling.json")


def _read(file: Path) -> Scaling:
    record = read_record(file)
    if not isinstance(record, list):
        return Scaling(file.parent, (), ("scaling.json cannot be read, or is no list of runs",))
    found: dict[int, Entry] = {}
    problems = []
    for number, item in enumerate(record, 1):
        entry = _entry(item, file.parent)
        if entry is None:
            problems.append(f"entry {number} of scaling.json has no number of workers or no training time, and is left out")
        elif entry.workers in found:
            problems.append(f"scaling.json has {entry.workers} workers more than once; the first one counts")
        else:
            found[entry.workers] = entry
    return Scaling(file.parent, [found[workers] for workers in sorted(found)], problems[:8])


def _entry(item: Any, folder: Path) -> Entry | None:
    if not isinstance(item, dict):
        return None

    def positive(key: str) -> float | None:
        number = as_number(item.get(key))
        return number if number is not None and (number == 0 or _SHORTEST <= number <= LARGEST_VALUE) else None

    workers, train = positive("workers"), positive("train_seconds")
    if not workers or workers != int(workers) or not train:
        return None
    seconds = {name: number for name in _PHASES if (number := positive(f"{name}_seconds")) is not None}
    devices = positive("devices")
    return Entry(int(workers), None if devices is None else int(devices), item.get("reached") is True, train, positive("minutes"),
                 positive("epochs"), seconds, _log(folder / f"workers_{int(workers)}" / "result_0.txt"))


def _log(path: Path) -> RunLog | None:
    return read_run(path) if path.is_file() else None
