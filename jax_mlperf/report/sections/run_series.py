"""What charts draw of one run: quality and throughput over time, and where its time went."""

from collections.abc import Iterable
from typing import NamedTuple

from jax_mlperf.mlperf.reading.run_log import Evaluation, RunLog, as_number
from jax_mlperf.mlperf.scoring.convergence import counts_samples, epoch_samples, epochs_to_converge
from jax_mlperf.mlperf.scoring.scoring_rules import rule_of
from jax_mlperf.report.drawing.numbers import LARGEST_VALUE, LONGEST_MINUTES
from jax_mlperf.report.drawing.thinning import Point

# Names of the phases in our own logs (phases.py) and here.
_LOGGED_PHASES = {"train": "train", "input_wait": "input wait", "checkpoint": "checkpoint", "evaluate": "evaluate"}


def minutes_at(run: RunLog, time_ms: int) -> float | None:
    """Minutes since run_start; None before it, without it, and for times that no run lasts."""
    if run.run_start_ms is None:
        return None
    minutes = (time_ms - run.run_start_ms) / 60_000
    return minutes if 0 <= minutes <= LONGEST_MINUTES else None


def metrics(runs: Iterable[RunLog]) -> list[str]:
    """Names of the logged qualities, "" where they are one number, in alphabetical order."""
    found: set[str] = set()
    for run in runs:
        for entry in run.evaluations:
            found.update(entry.value if isinstance(entry.value, dict) else ("",))
    return sorted(found)


def quality_points(run: RunLog, metric: str) -> list[Point]:
    """(minutes since run_start, quality) of every evaluation that has both, in the order of time."""
    found = []
    for entry in run.evaluations:
        minutes, value = minutes_at(run, entry.time_ms), quality_of(entry, metric)
        if minutes is not None and value is not None and abs(value) <= LARGEST_VALUE:
            found.append((minutes, value))
    return sorted(found, key=lambda point: point[0])


def quality_of(entry: Evaluation, metric: str) -> float | None:
    """One number of an evaluation."""
    if isinstance(entry.value, dict):
        return entry.value.get(metric)
    return entry.value if metric == "" else None


def targets_of(runs: Iterable[RunLog], metric: str) -> list[float]:
    """The targets of a metric, in order; what no log should hold is left out."""
    found = (rule_of(run).targets.get(metric) for run in runs)
    return sorted({target for target in found if target is not None and abs(target) <= LARGEST_VALUE})


def reached_at(run: RunLog) -> float | None:
    """Minutes from run_start to the first evaluation that held all targets."""
    rule = rule_of(run)
    if not rule.targets:
        return None
    times = (minutes_at(run, entry.time_ms) for entry in run.evaluations if rule.reached(entry.value))
    return min((time for time in times if time is not None), default=None)


class RateCurve(NamedTuple):
    """Samples a second over minutes since run_start, and where they come from: "reported", "evaluations" or ""."""

    points: list[Point]
    source: str


def throughput(run: RunLog) -> RateCurve:
    """What the run reported itself, else samples between evaluations over the time between them.

    Time of evaluation does not count where the log tells it and training stood still meanwhile.
    """
    reported = [(minutes, entry.samples_per_second) for entry in run.throughputs
                if (minutes := minutes_at(run, entry.time_ms)) is not None and entry.samples_per_second <= LARGEST_VALUE]
    if run.run_stop_ms is not None:
        reported = [point for point in reported if point[0] <= (run.minutes or 0.0)]
    if len(reported) >= 2:
        return RateCurve(sorted(reported), "reported")
    each = samples_per_epoch(run)
    if each is None or run.run_start_ms is None:
        return RateCurve([], "")
    points, samples, trained_ms, began_ms = [], 0.0, run.run_start_ms, run.run_start_ms
    for entry in run.evaluations:
        begin, end = entry.start_ms or entry.time_ms, entry.stop_ms or entry.time_ms
        # Where the evaluation before went on beside training, training has gone on since that evaluation began.
        since = trained_ms if begin >= trained_ms else began_ms
        now, minutes = (entry.epoch or 0.0) * each, minutes_at(run, begin)
        if now == samples and begin >= since:  # nothing was trained: the first evaluation of all, or a second one
            trained_ms, began_ms = max(end, begin), begin
        if entry.epoch is None or now <= samples or begin <= since or minutes is None:
            continue
        rate = (now - samples) / ((begin - since) / 1000)
        if rate <= LARGEST_VALUE:
            points.append((minutes, rate))
        samples, trained_ms, began_ms = now, max(end, begin), begin
    return RateCurve(points, "evaluations" if points else "")


def samples_per_epoch(run: RunLog) -> float | None:
    """Samples that one unit of epoch_num stands for; None where that cannot be told (BERT logs that count steps)."""
    if counts_samples(run.benchmark):
        return None if epochs_to_converge(run) is None else 1.0
    return epoch_samples(run)


def phases(run: RunLog) -> dict[str, float]:
    """Seconds by phase, in the order of a bar; empty for a run without times.

    Without `phase_seconds` in the log: evaluation as the time within [eval_start, eval_stop] and within the run, overlaps
    counted once, and the rest as "train and other".
    """
    found: dict[str, float] = {}
    init = run.init_minutes
    if init is not None and 0 < init <= LONGEST_MINUTES:
        found["initialise and compile"] = init * 60
    logged = run.facts.get("phase_seconds")
    own = {shown: number for name, shown in _LOGGED_PHASES.items()
           if isinstance(logged, dict) and (number := as_number(logged.get(name))) is not None
           and 0 <= number <= LONGEST_MINUTES * 60}
    length = run_seconds(run)
    if own:
        return found | own | _outside(own, length)
    if length is None:
        return found
    evaluation = _covered(run, length)
    found["train and other"] = length - evaluation
    if evaluation:
        found["evaluate"] = evaluation
    return found


def _outside(own: dict[str, float], length: float | None) -> dict[str, float]:
    """What a run that was stopped and resumed spent in no phase; roundings are none."""
    rest = (length or 0.0) - sum(own.values())
    return {"outside of phases": rest} if rest > max(1.0, 0.01 * (length or 0.0)) else {}


def run_seconds(run: RunLog) -> float | None:
    """From run_start to run_stop, or to the last line of a run that has none."""
    end = run.run_stop_ms if run.run_stop_ms is not None else run.last_ms
    minutes = minutes_at(run, end) if end is not None else None
    return minutes * 60 if minutes is not None else None


def _covered(run: RunLog, length: float) -> float:
    """Seconds of the run in which some evaluation was under way."""
    start = run.run_start_ms or 0
    spans = sorted(((entry.start_ms - start) / 1000, (entry.stop_ms - start) / 1000) for entry in run.evaluations
                   if entry.start_ms is not None and entry.stop_ms is not None)
    covered, done = 0.0, 0.0
    for begin, end in spans:
        begin, end = max(begin, done), min(end, length)
        if end > begin:
            covered += end - begin
            done = end
    return covered
