"""The score of a folder of runs, by MLPerf's rules: the olympic mean of the minutes that its runs took."""

import dataclasses
import math
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
from jax_mlperf.mlperf.scoring.score_notes import mixture, run_notes
from jax_mlperf.mlperf.scoring.scoring_rules import ScoringRule, converged, rule_of, ruleset_of


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
      missing_runs: how many more the rule asks for.
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


def lp2bm(resnet_minutes: float, bert_minutes: float) -> float:
    """SciNet's LP2BM score, higher is better: 7.19 / ResNet-50 minutes + 9.05 / BERT minutes, both olympic means."""
    return 7.19 / resnet_minutes + 9.05 / bert_minutes


def score(result_set: ResultSet) -> Score:
    """The score of a folder; whatever is wrong with its runs is in `notes`.

    A run that did not converge is the slowest one, and at most `rule.drop` of them may be there; a run without run_stop is one
    too. Runs of several benchmarks, divisions, platforms, batch sizes or targets have no common score.
    """
    runs = result_set.runs
    known = next((run for run in runs if run.benchmark), runs[0])
    rule = rule_of(known)
    apart, odd = mixture(runs)
    chosen = Selection(sorted(runs, key=_launch), None) if apart else select(runs, rule)
    judged = None if apart else verdict(chosen.runs)
    counts = [run for run in runs if converged(run)]
    missing = max(0, rule.runs - len(runs))
    scaling = judged.scaling if judged and judged.official else 1.0
    return Score(
        name=result_set.name, folder=result_set.folder, benchmark=result_set.benchmark,
        division=_first(runs, "submission_division"), organization=_first(runs, "submission_org"),
        platform=_first(runs, "submission_platform"), ruleset=ruleset_of(known),
        global_batch_size=next((size for run in runs if (size := run.number("global_batch_size")) is not None), None),
        targets=rule.targets, runs=len(runs), needed_runs=rule.runs, converged=len(counts),
        minutes=tuple(run.minutes if converged(run) else None for run in runs), olympic_minutes=chosen.minutes,
        scaled_minutes=None if chosen.minutes is None else chosen.minutes * scaling, missing_runs=missing,
        provisional=bool(missing or odd or any(run.status is None for run in chosen.runs)),
        counted=tuple(run.path.name for run in chosen.runs),
        unit="samples" if counts_samples(result_set.benchmark) else "epochs",
        epochs_to_converge=None if apart else _epochs(chosen.runs, rule),
        samples_per_second=None if apart else _median(counts),
        rcp=judged, notes=(*apart, *odd, *([] if apart else _count_notes(runs, rule, chosen)), *run_notes(runs)))


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


# Which runs a result is of -----------------------------------------------------------------------------------------


@dataclasses.dataclass(frozen=True)
class Selection:
    """The runs that a result is of, by their starts, and their olympic mean in minutes; None where they have none."""

    runs: Sequence[RunLog]
    minutes: float | None


def select(runs: Sequence[RunLog], rule: ScoringRule) -> Selection:
    """Takes the runs that count of what was run.

    More runs than the rule wants: of all windows of so many consecutive runs, by launch time, the one with the median score; a
    window without a valid score is infinitely slow, and of an even number of windows the slower of the two in the middle is
    taken. Rules with `first_converged`: so many converged runs, the first in the order of their starts.
    """
    ordered = sorted(runs, key=_launch)
    if rule.first_converged:
        good = [run for run in ordered if converged(run)][:rule.first_converged]
        complete = len(good) == rule.first_converged or len(runs) < rule.runs
        return Selection(good, _minutes(good, rule) if complete else None)
    if len(ordered) <= rule.runs:
        return Selection(ordered, _minutes(ordered, rule))
    windows = [ordered[start:start + rule.runs] for start in range(len(ordered) - rule.runs + 1)]
    scored = sorted((Selection(window, _minutes(window, rule)) for window in windows),
                    key=lambda window: math.inf if window.minutes is None else window.minutes)
    return scored[len(scored) // 2]


def _minutes(runs: Sequence[RunLog], rule: ScoringRule) -> float | None:
    minutes = [run.minutes for run in runs if converged(run) and run.minutes is not None]
    return olympic_mean(minutes, len(runs) - len(minutes), rule.drop)


def _launch(run: RunLog) -> float:
    """When a run was launched; runs that do not tell come last, in the order of their numbers."""
    starts = (run.run_start_ms, run.init_start_ms)
    return next((start for start in starts if start is not None), math.inf)


def _count_notes(runs: Sequence[RunLog], rule: ScoringRule, chosen: Selection) -> list[str]:
    """What the number of runs, and of converged ones, means for the score."""
    good = sum(converged(run) for run in runs)
    failed = len(chosen.runs) - sum(converged(run) for run in chosen.runs)
    notes = []
    if len(runs) < rule.runs:
        missing = rule.runs - len(runs)
        least = f", and an olympic mean takes {2 * rule.drop + 1} at least" if chosen.minutes is None else ""
        more = "1 more run is" if missing == 1 else f"{missing} more runs are"
        notes.append(f"Provisional: {more} needed. The rule asks for {rule.runs}{least}.")
    elif len(runs) > rule.runs and not rule.first_converged:
        names = f"{chosen.runs[0].path.name} to {chosen.runs[-1].path.name}"
        notes.append(f"{len(runs)} runs where the rule asks for {rule.runs}: the score is that of the median window of "
                     f"{rule.runs} runs in the order of their starts, {names}. The rules allow more runs if their number was "
                     "decided before.")
    elif rule.first_converged and chosen.minutes is None:
        notes.append(f"No valid score: {good} runs converged, and the rule counts the first {rule.first_converged} that do.")
    elif rule.first_converged:
        notes.append(f"The first {rule.first_converged} runs that converged count; {good} did.")
    if chosen.minutes is None and failed > rule.drop:
        notes.append(f"No valid score: {failed} of {len(chosen.runs)} runs did not converge, and at most {rule.drop} may.")
    return notes
