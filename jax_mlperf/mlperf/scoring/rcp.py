"""The test that keeps submissions from converging faster than the reference: MLPerf's RCP test of a set of runs."""

import dataclasses
from collections.abc import Sequence

from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.convergence import counts_samples, epochs_to_converge, olympic_mean
from jax_mlperf.mlperf.scoring.reference_points import (
    ReferencePoint,
    ReferenceTable,
    interpolated,
    minimum,
    pruned,
    reference_table,
)
from jax_mlperf.mlperf.scoring.scoring_rules import RULES, converged, ruleset_of

_WORDS = {True: "passed", False: "failed", None: "not judged"}


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What the test says.

    Attributes:
      passed: None where it cannot be told: too few runs for a mean, or a batch size that unofficial points do not reach.
      message: the verdict in words.
      reference: "found" at this batch size, "interpolated" between two, "below" all points (the smallest one judges), "missing"
        (the batch is above all points: the rules ask for reference runs at it); "" where the test did not come so far.
      unit: of the means, "epochs" or "samples".
      mean: olympic mean of the runs.
      reference_mean: of the reference at this batch size.
      reference_minimum: the lowest mean that passes.
      scaling: what the score is multiplied by, 1 or more: reference mean / mean where that passes and is below the reference's.
      official: the points are MLPerf's; by others no score is scaled.
    """

    passed: bool | None
    message: str
    reference: str = ""
    unit: str = "epochs"
    mean: float | None = None
    reference_mean: float | None = None
    reference_minimum: float | None = None
    scaling: float = 1.0
    official: bool = True

    @property
    def word(self) -> str:
        """passed, failed or not judged; in brackets by unofficial points."""
        return _WORDS[self.passed] if self.official else f"({_WORDS[self.passed]})"


def verdict(runs: Sequence[RunLog]) -> Verdict | None:
    """Judges the runs of one result, which are as many as the benchmark's rule asks for, by the pruned reference points.

    A run that did not converge is the slowest one, and only one may be. Unlike the official checker, which reads the status
    alone, a run counts as converged when an evaluation holds the target too.

    Returns:
      None where there are no points: in the open division, and for benchmarks and rulesets without any.
    """
    first = next((run for run in runs if run.benchmark), None)
    table = reference_table(first.benchmark or "") if first else None
    if first is None or table is None or not any(run.text("submission_division") == "closed" and ruleset_of(run) in table.rulesets
                                                 for run in runs):
        return None
    return _Judge(first.benchmark or "", table).judge(runs)


class _Judge:
    """The test of one benchmark."""

    def __init__(self, benchmark: str, table: ReferenceTable) -> None:
        self.benchmark = benchmark
        self.table = table
        self.runs = RULES[benchmark].runs
        self.unit = "samples" if counts_samples(benchmark) else "epochs"

    def judge(self, runs: Sequence[RunLog]) -> Verdict:
        batches = {run.number("global_batch_size") for run in runs}
        batch = batches.pop()
        if batches or batch is None:
            return self._not_tested(False, "not every run has the same global_batch_size")
        good = [run for run in runs if converged(run)]
        missed = len(runs) - len(good)
        epochs = [number for run in good if (number := epochs_to_converge(run)) is not None]
        if missed > 1:
            return self._not_tested(False, f"{missed} runs did not converge, and one may")
        if len(epochs) < len(good):
            return self._not_tested(False, f"the epoch_num of not every eval_accuracy is a number of {self.unit}")
        mean = olympic_mean(epochs, missed)
        if mean is None:
            return self._not_tested(None, "its mean takes three runs")
        return self._compare(mean, batch)

    def _not_tested(self, passed: bool | None, reason: str) -> Verdict:
        return Verdict(passed, f"{_WORDS[passed]}: {reason}", unit=self.unit, official=self.table.official)

    def _compare(self, mean: float, batch: float) -> Verdict:
        kind, point = reference(self.table, batch, self.runs)
        if point is None:
            largest = self.table.points[-1].batch_size
            asked = "; the rules ask for reference runs at it" if self.table.official else ""
            passed = False if self.table.official else None
            return Verdict(passed, f"{_WORDS[passed]}: batch size {batch:.0f} is above all reference points (the largest is "
                           f"{largest:.0f}){asked}", kind, self.unit, mean, official=self.table.official)
        lowest = minimum(point, self.runs)
        passed = mean >= lowest
        scaling = max(1.0, point.mean / mean) if passed and mean > 0 else 1.0
        return Verdict(passed, self._message(mean, point, lowest, kind, scaling), kind, self.unit, mean, point.mean, lowest,
                       scaling, self.table.official)

    def _message(self, mean: float, point: ReferencePoint, lowest: float, kind: str, scaling: float) -> str:
        where = {"found": "", "interpolated": ", interpolated",
                 "below": f", of the smallest batch size, {point.batch_size:.0f}"}[kind]
        facts = (f"{self._number(mean)} {self.unit}; the reference takes {self._number(point.mean)}{where}, "
                 f"and {self._number(lowest)} is the least that passes")
        if not self.table.official:
            facts += " (unofficial: MLPerf has no reference points for this benchmark)"
        if mean < lowest:
            return f"failed: faster than the reference allows: {facts}"
        if scaling == 1:
            return f"passed: {facts}"
        effect = "the score is multiplied" if self.table.official else "an official score would be multiplied"
        return f"passed, but {effect} by {scaling:.4f} for being faster than the reference: {facts}"

    def _number(self, value: float) -> str:
        return f"{value:,.0f}" if self.unit == "samples" else f"{value:.3f}".rstrip("0").rstrip(".")


def reference(table: ReferenceTable, batch_size: float, submission_runs: int) -> tuple[str, ReferencePoint | None]:
    """How the pruned points cover a batch size (`Verdict.reference`), and the point to judge by; None above all of them.

    A point between two counts with twice the submission's runs, what a reference point takes.
    """
    points = pruned(table.points)
    if batch_size < points[0].batch_size:
        return "below", points[0]
    for low, high in zip(points, [*points[1:], None], strict=True):
        if batch_size == low.batch_size:
            return "found", low
        if high is not None and batch_size < high.batch_size:
            return "interpolated", interpolated(batch_size, low, high, 2 * submission_runs)
    return "missing", None
