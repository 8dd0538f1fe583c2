"""The score of a folder of runs, by MLPerf's rules: the olympic mean of the minutes that its runs took."""

import dataclasses
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path

from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.convergence import (
    counts_samples,
    epochs_to_converge,
    finite_mean,
    olympic_mean,
    samples_per_second,
)
from jax_mlperf.mlperf.scoring.rcp import Verdict, verdict
from jax_mlperf.mlperf.scoring.score_notes import budget_notes, count_notes, mixture, run_notes
from jax_mlperf.mlperf.scoring.scoring_rules import ScoringRule, converged, rule_of_set, ruleset_of
from jax_mlperf.mlperf.scoring.selection import Selection, launch, select
from jax_mlperf.mlperf.scoring.time_budget import time_budget_minutes


@dataclasses.dataclass(frozen=True)
class Score:
    """What the runs of one folder come to.

    Attributes:
      name: what tables call it.
      folder: where the result files lie.
      benchmark, division, organization, platform: as logged; "unknown" where no run tells.
      ruleset: of the compliance checker, as far as it can be told; "" where it knows no such benchmark.
      global_batch_size: None where no run tells.
      targets: metric name -> target; the name is "" where the benchmark has one number.
      runs: number of result files.
      needed_runs: how many the rule asks for.
      converged: how many of them count as converged.
      minutes: of each file, in the order of their numbers; None where it did not converge.
      olympic_minutes: the score before scaling; None where the runs give no valid result.
      scaled_minutes: the official score: olympic_minutes x the scaling of a passed RCP test.
      missing_runs: how many more the rule asks for; 0 where the runs have a time budget, which no rule knows.
      provisional: a run is missing or has not ended, or the runs do not belong together in all respects.
      counted: names of the files that the result is of, in the order of their starts; all of them, unless there are more runs
        than the rule wants.
      unit: of epochs_to_converge, "epochs" or "samples".
      epochs_to_converge: olympic mean of the counted runs; the plain mean of the converged ones where they are too few for that.
      samples_per_second: median of the converged runs: samples trained / seconds from run_start to run_stop.
      rcp: the reference convergence points' verdict; None where there are none.
      notes: what a reader must know about the score, in sentences.
    """

    name: str
    folder: Path
    benchmark: str
    division: str
    organization: str
    platform: str
    ruleset: str
    global_batch_size: float | None
    targets: Mapping[str, float]
    runs: int
    needed_runs: int
    converged: int
    minutes: tuple[float | None, ...]
    olympic_minutes: float | None
    scaled_minutes: float | None
    missing_runs: int
    provisional: bool
    counted: tuple[str, ...]
    unit: str
    epochs_to_converge: float | None
    samples_per_second: float | None
    rcp: Verdict | None
    notes: tuple[str, ...]


def score(result_set: ResultSet) -> Score:
    """The score of a folder; whatever is wrong with its runs is in `notes`.

    A run that did not converge is the slowest one, and at most `rule.drop` of them may be there; a run without run_stop is one
    too. Runs of several benchmarks, divisions, platforms, batch sizes or targets have no common score, and runs with a time
    budget have none at all: they are as long as the budget, wherever in it they reached the target.
    """
    runs, budget = result_set.runs, time_budget_minutes(result_set)
    rule = rule_of_set(runs)
    apart, odd = mixture(runs)
    unscored = bool(apart or budget)
    chosen = Selection(sorted(runs, key=launch), None) if unscored else select(runs, rule)
    judged = None if unscored else verdict(chosen.runs)
    counts = [run for run in runs if converged(run)]
    missing = 0 if budget else max(0, rule.runs - len(runs))
    scaling = judged.scaling if judged and judged.official else 1.0
    return Score(
        name=result_set.name, folder=result_set.folder, benchmark=result_set.benchmark,
        division=_first(runs, "submission_division"), organization=_first(runs, "submission_org"),
        platform=_first(runs, "submission_platform"), ruleset=next((ruleset_of(run) for run in runs if run.benchmark), ""),
        global_batch_size=next((size for run in runs if (size := run.number("global_batch_size")) is not None), None),
        targets=rule.targets, runs=len(runs), needed_runs=rule.runs, converged=len(counts),
        minutes=tuple(run.minutes if converged(run) else None for run in runs), olympic_minutes=chosen.minutes,
        scaled_minutes=None if chosen.minutes is None else chosen.minutes * scaling, missing_runs=missing,
        provisional=bool(missing or odd or any(run.status is None for run in chosen.runs)),
        counted=tuple(run.path.name for run in chosen.runs),
        unit="samples" if counts_samples(result_set.benchmark) else "epochs",
        epochs_to_converge=None if unscored else _epochs(chosen.runs, rule),
        samples_per_second=None if apart else _median(counts),
        rcp=judged, notes=(*apart, *odd, *budget_notes(budget), *([] if unscored else count_notes(runs, rule, chosen)),
                           *run_notes(runs)))


def _first(runs: Sequence[RunLog], key: str) -> str:
    return next((text for run in runs if (text := run.text(key))), "unknown")


def _median(runs: Sequence[RunLog]) -> float | None:
    rates = [rate for run in runs if (rate := samples_per_second(run)) is not None]
    return statistics.median(rates) if rates else None


def _epochs(runs: Sequence[RunLog], rule: ScoringRule) -> float | None:
    """The olympic mean of the converged runs' epochs, their plain mean where they are too few; None where one tells none."""
    good = [run for run in runs if converged(run)]
    values = [number for run in good if (number := epochs_to_converge(run)) is not None]
    if len(values) < len(good):
        return None
    mean = olympic_mean(values, len(runs) - len(good), rule.drop)
    return finite_mean(values) if mean is None else mean
