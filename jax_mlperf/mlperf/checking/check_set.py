"""What a file alone does not show: seeds used twice, copied results, logs that are not the ones their runs left."""

import functools
import itertools
from collections.abc import Hashable, Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from jax_mlperf.mlperf.checking.checker_rulesets import OWN
from jax_mlperf.mlperf.reading.file_groups import files_by, listed
from jax_mlperf.mlperf.reading.log_lines import Damage, log_lines
from jax_mlperf.mlperf.reading.result_set import ResultSet, read_record
from jax_mlperf.mlperf.reading.run_log import RunLog, as_number
from jax_mlperf.mlperf.reading.seal import sha256

# Two runs may well have one or two evaluations of the same value, or as far apart; with this many it is the same run.
_TELLING_EVALUATIONS = 3
# How far the record of a run may be from its log: the log's times are those of writing the lines, its quality is rounded.
_MINUTES_APART = 1 / 60
_QUALITY_APART = 2e-6
_MOST_NAMES = 3
_SAME = {"submission_benchmark": "benchmark", "submission_division": "division", "submission_platform": "platform",
         "global_batch_size": "global batch size"}


def check_set(result_set: ResultSet, ruleset: str) -> list[str]:
    """What keeps the files of a folder from being one result; empty where nothing does.

    Args:
      result_set: the files.
      ruleset: that they were checked by; "own" for our rule files.
    """
    runs = result_set.runs
    findings = [*_differing(runs), *_copies(runs)]
    closed = any(run.text("submission_division") == "closed" for run in runs)
    # Seeds count from this ruleset on: package_checker of mlperf_logging.
    if closed and (ruleset == OWN or tuple(map(int, ruleset.split("."))) >= (1, 0, 0)):
        findings += _seeds(runs)
    for run in runs:
        findings += _unlike_its_record(result_set.folder, run)
    return [*findings, *_missing_logs(result_set.folder)]


def set_warnings(result_set: ResultSet) -> list[str]:
    """What is unusual about the files of a folder and breaks no rule: runs that overlap in time on one platform."""
    timed = sorted(((run.run_start_ms, run.run_stop_ms, run) for run in result_set.runs
                    if run.run_start_ms is not None and run.run_stop_ms is not None), key=lambda entry: entry[:2])
    warnings = []
    for (_, stop, before), (start, _, after) in itertools.pairwise(timed):
        if start < stop and before.text("submission_platform") == after.text("submission_platform"):
            warnings.append(f"{after.path.name} began at {_clock(start)}, before {before.path.name} ended at {_clock(stop)}: "
                            "two runs at once on one platform")
    return warnings


def _clock(time_ms: int) -> str:
    try:
        return f"{datetime.fromtimestamp(time_ms / 1000, UTC):%Y-%m-%d %H:%M:%S} UTC"
    except (OverflowError, ValueError, OSError):
        return f"{time_ms} ms"


def _differing(runs: Sequence[RunLog]) -> Iterator[str]:
    for key, name in _SAME.items():
        files = files_by(runs, functools.partial(_fact, key))
        if len(files) > 1:
            values = "; ".join(f"{value} in {listed(names, _MOST_NAMES)}" for value, names in files.items())
            yield f"the {name} is not the same in all files: {values}"


def _fact(key: str, run: RunLog) -> list[str]:
    return [str(run.facts[key])[:60]] if key in run.facts else []


def _copies(runs: Sequence[RunLog]) -> Iterator[str]:
    """Runs with the times, or the qualities, of another one: no two runs share them, whatever their seeds say."""
    marks: dict[Hashable, tuple[RunLog, str]] = {}
    for run in runs:
        found = None
        for mark, words in _marks(run):
            other = marks.setdefault(mark, (run, words))
            if other[0] is not run and found is None:
                found = f"{run.path.name} looks like a copy of {other[0].path.name}: {words}"
        if found:
            yield found


def _marks(run: RunLog) -> Iterator[tuple[Hashable, str]]:
    evaluations = run.evaluations
    if run.run_start_ms is None:
        return
    times = tuple(entry.time_ms - run.run_start_ms for entry in evaluations)
    length = None if run.run_stop_ms is None else run.run_stop_ms - run.run_start_ms
    if evaluations or length is not None:
        yield ("times", run.run_start_ms, times, length), "run_start, evaluations and run_stop have the same times"
    if len(evaluations) >= _TELLING_EVALUATIONS:
        yield ("shifted", times, length), "all evaluations are equally far from run_start, to the millisecond"
    values = tuple((entry.epoch, str(entry.value)) for entry in evaluations)
    if len({value for _, value in values}) >= _TELLING_EVALUATIONS:
        yield ("values", values), f"all {len(values)} evaluations have the same values"


def _seeds(runs: Sequence[RunLog]) -> Iterator[str]:
    """Rules (v4.1, Random numbers) and seed_checker of mlperf_logging: file, line and value of a seed belong to one run."""
    first: dict[Hashable, str] = {}
    for run in runs:
        number = 0
        for value, metadata in _seed_lines(run.path):
            number += 1
            seed = _integer(value)
            if seed is None:
                yield f"{run.path.name}: the seed {str(value)[:40]!r} is no integer"
                continue
            if "file" not in metadata or "lineno" not in metadata:
                yield f"{run.path.name}: the line of seed {seed} does not name the file and lineno that logged it"
                continue
            place = (str(metadata["file"]), str(metadata["lineno"]), seed)
            if place in first:
                where = "twice" if first[place] == run.path.name else f"as in {first[place]}"
                yield f"{run.path.name} has seed {seed} {where}: each run needs its own"
            first.setdefault(place, run.path.name)
        if run.lines and not number:  # of a file without any lines check_file says so
            yield f"{run.path.name} logs no seed"


def _seed_lines(path: Path) -> Iterator[tuple[Any, dict[str, Any]]]:
    try:
        for line in log_lines(path):
            if not isinstance(line, Damage) and line.key == "seed":
                yield line.value, line.metadata
    except OSError:
        return  # check_file says so


def _integer(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError, OverflowError):
        return None


def _unlike_its_record(folder: Path, run: RunLog) -> Iterator[str]:
    """Where a log disagrees with run_<i>/summary.json, which the run that wrote the log left beside it."""
    name = run.path.name
    record = read_record(folder / name.replace("result_", "run_").removesuffix(".txt") / "summary.json")
    if not isinstance(record, dict):
        return
    sealed = record.get("log_sha256")
    if isinstance(sealed, str) and sealed and not _is_sealed(run.path, sealed):
        yield f"{name} is not as its run left it: its SHA-256 differs from the one in the run's summary.json"
    minutes = as_number(record.get("minutes"))
    if minutes is not None and run.minutes is not None and abs(minutes - run.minutes) > _MINUTES_APART:
        yield f"{name} lasts {run.minutes:.3f} minutes, but its run's summary.json says {minutes:.3f}"
    seed = record.get("seed")
    if isinstance(seed, int) and run.seeds and seed not in run.seeds:
        yield f"{name} has seed {run.seeds[0]}, but its run's summary.json says {seed}"
    yield from _unlike_quality(name, run, record.get("quality"))


def _is_sealed(path: Path, seal: str) -> bool:
    try:
        return sha256(path) == seal
    except OSError:
        return False


def _unlike_quality(name: str, run: RunLog, quality: Any) -> Iterator[str]:
    last = as_number(run.evaluations[-1].value) if run.evaluations else None
    values = quality.values() if isinstance(quality, dict) else ()
    numbers = [number for value in values if (number := as_number(value)) is not None]
    if last is None or not numbers:
        return
    # A record holds percentages where the log holds fractions, and metrics that the log does not have.
    if min(abs(number / scale - last) for number in numbers for scale in (1, 100)) > _QUALITY_APART:
        listed = ", ".join(f"{number:g}" for number in numbers)
        yield f"{name} ends with quality {last:g}, but its run's summary.json says {listed}"


def _missing_logs(folder: Path) -> Iterator[str]:
    """Runs that ended, and whose logs are gone: leaving out a slow run makes a result look better than it is."""
    for summary in sorted(folder.glob("run_*/summary.json")):
        log = folder / f"{summary.parent.name.replace('run_', 'result_')}.txt"
        if not log.exists():
            yield f"{summary.parent.name} has a summary.json, but its log {log.name} is missing"
