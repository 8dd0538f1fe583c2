"""What one result file tells about its run, gathered line by line."""

import dataclasses
import math
from pathlib import Path
from typing import Any, NamedTuple

from jax_mlperf.mlperf.reading.log_lines import Damage, LogLine, log_lines, old_format

# Bounds on what is kept of one file: far more than a run writes, and little enough for a file of any size.
_MOST_KEYS = 1000
_MOST_VALUE_CHARACTERS = 4096  # of a key, too
_MOST_QUALITIES = 64  # of one evaluation
_MOST_EVALUATIONS = 100_000
_MOST_THROUGHPUTS = 2048
_MOST_PROBLEMS = 8

# Keys of lines that are events of a run and not facts about it.
_EVENTS = frozenset(("init_start", "init_stop", "run_start", "run_stop", "epoch_start", "epoch_stop", "block_start", "block_stop",
                     "eval_start", "eval_stop", "eval_accuracy", "eval_error", "tracked_stats", "throughput",
                     "weights_initialization", "actual_selfplay_games_per_generation", "run_final"))


@dataclasses.dataclass
class Evaluation:
    """One evaluation.

    Attributes:
      time_ms: of its eval_accuracy line.
      epoch: its epoch_num (or samples_count, step_num); None where the line has none.
      value: the quality as logged: a number, or numbers by name (Mask R-CNN).
      start_ms, stop_ms: of its eval_start and eval_stop lines.
    """

    time_ms: int
    epoch: float | None
    value: float | dict[str, float]
    start_ms: int | None = None
    stop_ms: int | None = None


class Throughput(NamedTuple):
    """Samples a second that a run reported at a time."""

    time_ms: int
    samples_per_second: float


@dataclasses.dataclass
class RunLog:
    """One result file.

    Attributes:
      path: the file.
      facts: key -> first value of every line that is no event: submission_*, seed, global_batch_size, hyperparameters,
        phase_seconds, ...
      seeds: all seeds, in their order.
      tensors: number of weights_initialization lines.
      init_start_ms, init_stop_ms, run_start_ms, run_stop_ms: the first of each; None where there is none.
      last_ms: of the last line.
      status: of run_stop ("success", "aborted", ...); None for a run that was killed.
      evaluations: in the order of the file.
      throughputs: what the run reported itself, thinned to some thousands; empty for most logs.
      lines: number of MLPerf lines.
      problems: what is wrong with the file, in words.
    """

    path: Path
    facts: dict[str, Any] = dataclasses.field(default_factory=dict)
    seeds: list[int] = dataclasses.field(default_factory=list)
    tensors: int = 0
    init_start_ms: int | None = None
    init_stop_ms: int | None = None
    run_start_ms: int | None = None
    run_stop_ms: int | None = None
    last_ms: int | None = None
    status: str | None = None
    evaluations: list[Evaluation] = dataclasses.field(default_factory=list)
    throughputs: list[Throughput] = dataclasses.field(default_factory=list)
    lines: int = 0
    problems: list[str] = dataclasses.field(default_factory=list)

    def text(self, key: str) -> str | None:
        """A fact that is text."""
        value = self.facts.get(key)
        return value if isinstance(value, str) else None

    def number(self, key: str) -> float | None:
        """A fact that is a finite number."""
        return as_number(self.facts.get(key))

    @property
    def benchmark(self) -> str | None:
        """MLPerf's name of it."""
        return self.text("submission_benchmark")

    @property
    def minutes(self) -> float | None:
        """run_start to run_stop; None for a run that did not stop by itself."""
        if self.run_start_ms is None or self.run_stop_ms is None:
            return None
        return (self.run_stop_ms - self.run_start_ms) / 60_000

    @property
    def init_minutes(self) -> float | None:
        """First init_start to init_stop: building and compiling, which is not timed."""
        if self.init_start_ms is None or self.init_stop_ms is None:
            return None
        return (self.init_stop_ms - self.init_start_ms) / 60_000


def as_number(value: Any) -> float | None:
    """A finite number as float, else None; booleans are none."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def read_run(path: Path) -> RunLog:
    """Reads a result file of any size in constant memory; what is wrong with it is in `problems`, never an exception."""
    reader = _Reader(RunLog(path))
    try:
        for line in log_lines(path):
            reader.add(line)
        if not reader.run.lines:
            old = old_format(path)
            reader.problem("has lines of MLPerf 0.5 or 0.6 only, which are not read here" if old else "has no :::MLLOG lines")
    except OSError as error:
        reader.problem(f"cannot be read: {error.strerror or error}")
    return reader.finish()


class _Reader:
    """Adds line after line to a RunLog."""

    def __init__(self, run: RunLog) -> None:
        self.run = run
        self._damaged = 0
        self._pending: dict[float | None, Evaluation] = {}
        self._starts: dict[float | None, int] = {}
        self._stops: dict[float | None, int] = {}  # of evaluations whose accuracy is written after their end
        self._keep_every = 1
        self._reported = 0

    def problem(self, text: str) -> None:
        if text not in self.run.problems and len(self.run.problems) < _MOST_PROBLEMS:
            self.run.problems.append(text)

    def add(self, line: LogLine | Damage) -> None:
        if isinstance(line, Damage):
            self._damaged += 1
            if self._damaged == 1:
                self.problem(f"a line {line.reason}: {line.text}")
            return
        run = self.run
        run.lines += 1
        run.last_ms = line.time_ms
        if line.key in ("init_start", "init_stop", "run_start"):
            self._interval(line)
        elif line.key == "run_stop":
            self._run_stop(line)
        elif line.key in ("eval_start", "eval_stop", "eval_accuracy", "eval_error"):
            self._evaluation(line)
        elif line.key in ("tracked_stats", "throughput"):
            self._throughput(line)
        elif line.key == "weights_initialization":
            run.tensors += 1
        elif line.key not in _EVENTS:
            self._fact(line)

    def _interval(self, line: LogLine) -> None:
        name = f"{line.key}_ms"
        if getattr(self.run, name) is None:
            setattr(self.run, name, line.time_ms)
        elif line.key == "run_start":
            self.problem("run_start stands there more than once; the first one counts")

    def _run_stop(self, line: LogLine) -> None:
        if self.run.run_stop_ms is None:
            self.run.run_stop_ms = line.time_ms
            status = line.metadata.get("status")
            self.run.status = status if isinstance(status, str) else "unknown"
        else:
            self.problem("run_stop stands there more than once; the first one counts")

    def _fact(self, line: LogLine) -> None:
        facts = self.run.facts
        if line.key == "seed" and len(self.run.seeds) < _MOST_KEYS and as_number(line.value) is not None:
            self.run.seeds.append(int(line.value))
        if line.key not in facts:
            if len(facts) < _MOST_KEYS and max(len(line.key), len(str(line.value))) <= _MOST_VALUE_CHARACTERS:
                facts[line.key] = line.value
        elif facts[line.key] != line.value and line.key != "seed":
            self.problem(f"{line.key} stands there with different values; the first one counts")

    def _evaluation(self, line: LogLine) -> None:
        epoch = next((number for name in ("epoch_num", "samples_count", "step_num")
                      if (number := as_number(line.metadata.get(name))) is not None), None)
        if line.key == "eval_start":
            if len(self._starts) < _MOST_EVALUATIONS:
                self._starts[epoch] = line.time_ms
        elif line.key == "eval_stop":
            entry = self._pending.pop(epoch, None)
            if entry:
                entry.stop_ms = line.time_ms
            elif len(self._stops) < _MOST_EVALUATIONS:
                self._stops[epoch] = line.time_ms
        elif len(self.run.evaluations) < _MOST_EVALUATIONS:
            value = _quality(line.value)
            if value is None:
                self.problem(f"{line.key} is no finite number: {str(line.value)[:40]}")
                return
            if self.run.run_stop_ms is not None:
                return  # of another rank, or of another run in the same file
            entry = Evaluation(line.time_ms, epoch, value, start_ms=self._starts.pop(epoch, None),
                               stop_ms=self._stops.pop(epoch, None))
            self._pending[epoch] = entry
            self.run.evaluations.append(entry)

    def _throughput(self, line: LogLine) -> None:
        value = line.value.get("throughput") if isinstance(line.value, dict) else line.value
        number = as_number(value)
        if number is None or number < 0:
            return
        self._reported += 1
        if self._reported % self._keep_every == 0:
            self.run.throughputs.append(Throughput(line.time_ms, number))
        if len(self.run.throughputs) > _MOST_THROUGHPUTS:
            del self.run.throughputs[::2]
            self._keep_every *= 2

    def finish(self) -> RunLog:
        run = self.run
        if self._damaged > 1:
            self.problem(f"{self._damaged} lines are damaged")
        if run.lines:
            if run.run_start_ms is None:
                self.problem("has no run_start: cut off, or stopped before training began")
            elif run.run_stop_ms is None:
                self.problem("has no run_stop: cut off, killed, or still running")
            elif run.run_stop_ms < run.run_start_ms:
                self.problem("run_stop is earlier than run_start")
                run.run_stop_ms = None
        return run


def _quality(value: Any) -> float | dict[str, float] | None:
    if isinstance(value, dict):
        if len(value) > _MOST_QUALITIES or any(len(name) > _MOST_VALUE_CHARACTERS for name in value):
            return None
        numbers = {str(name): number for name, item in value.items() if (number := as_number(item)) is not None}
        return numbers if numbers and len(numbers) == len(value) else None
    return as_number(value)
