"""Which of the runs that were made a result is of."""

import dataclasses
import math
from collections.abc import Sequence

from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.convergence import olympic_mean
from jax_mlperf.mlperf.scoring.scoring_rules import ScoringRule, converged


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
    ordered = sorted(runs, key=launch)
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


def launch(run: RunLog) -> float:
    """When a run was launched; runs that do not tell come last, in the order of their numbers."""
    starts = (run.run_start_ms, run.init_start_ms)
    return next((start for start in starts if start is not None), math.inf)
