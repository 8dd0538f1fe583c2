"""One result folder as the page shows it: its name, look and score, and what became of each of its runs."""

import dataclasses
from collections.abc import Sequence

from jax_mlperf.mlperf.reading.folder_names import short_names
from jax_mlperf.mlperf.reading.result_set import ResultSet
from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.convergence import olympic_kept
from jax_mlperf.mlperf.scoring.score import Score, score
from jax_mlperf.mlperf.scoring.score_notes import target_text
from jax_mlperf.mlperf.scoring.scoring_rules import converged, rule_of_set
from jax_mlperf.report.drawing.markup import clean
from jax_mlperf.report.drawing.styles import Style


@dataclasses.dataclass(frozen=True)
class Shown:
    """A result folder.

    Attributes:
      result_set: its logs and records.
      name: unique on the page, and short.
      style: its look in all charts.
      score: by MLPerf's rules.
    """

    result_set: ResultSet
    name: str
    style: Style
    score: Score

    @property
    def runs(self) -> Sequence[RunLog]:
        """By the number in the file's name."""
        return self.result_set.runs

    def run_name(self, run: RunLog) -> str:
        """The folder's name and the run's number."""
        return f"{self.name}, {run_label(run)}"

    def fates(self) -> list[str]:
        """Of each run: "counted" in the olympic mean, "dropped" from it as fastest, slowest or surplus, or "failed"."""
        if self.score.olympic_minutes is None:
            return ["counted" if converged(run) else "failed" for run in self.runs]
        counted = [run for run in self.runs if run.path.name in self.score.counted]
        good = sorted(filter(converged, counted), key=lambda run: run.minutes or 0.0)
        kept = {id(run) for run in olympic_kept(good, len(counted) - len(good), rule_of_set(self.runs).drop)}
        return ["failed" if not converged(run) else "counted" if id(run) in kept else "dropped" for run in self.runs]


def run_label(run: RunLog) -> str:
    """"run 3" of result_3.txt."""
    return f"run {run.path.stem.rpartition('_')[2]}"


def show(sets: Sequence[ResultSet]) -> list[Shown]:
    """Scores the folders and gives each its name and look."""
    return [Shown(result_set, clean(name, 60), Style(index), score(result_set))
            for index, (result_set, name) in enumerate(zip(sets, short_names([each.folder for each in sets]), strict=True))]


def target_words(shown: Shown) -> str:
    """The targets as a reader wants them: "0.759", "at most 0.23", "BBOX 0.377 and SEGM 0.339"; "" where none is known."""
    rule = rule_of_set(shown.runs)
    direction = "" if rule.higher_is_better else "at most "
    strict = (" (more than)" if rule.higher_is_better else " (less than)") if rule.strict else ""
    return clean(direction + target_text(rule.targets) + strict) if rule.targets else ""
