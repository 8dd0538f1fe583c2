"""Accuracy after time: what runs with a fixed time budget reached at its end."""

from collections.abc import Sequence

from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.time_budget import time_budget_minutes
from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.markup import Markup, join
from jax_mlperf.report.drawing.strip_chart import Dot, Row, StripChart
from jax_mlperf.report.drawing.styles import legend, outcome_swatch
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.benchmark_names import metric_name
from jax_mlperf.report.sections.run_series import metrics, quality_points, targets_of
from jax_mlperf.report.sections.shown import Shown, run_label


def budget_section(sets: Sequence[Shown]) -> Markup:
    """One chart for each metric; nothing where no folder has a time budget, or no run of one has ended."""
    budgeted = [shown for shown in sets if time_budget_minutes(shown.result_set)]
    return join(*(_chart(budgeted, metric) for metric in metrics(run for shown in budgeted for run in shown.runs)))


def budget_words(shown: Shown) -> tuple[str, str, str] | None:
    """Number, unit and explanation of a folder with a time budget and one metric, for its tile; None for others."""
    budget, names = time_budget_minutes(shown.result_set), metrics(shown.runs)
    ends = _ends(shown, names[0]) if len(names) == 1 else []
    if budget is None or not ends:
        return None
    mean = sum(value for _, value in ends) / len(ends)
    return (numbers.quality(mean), "", f"{metric_name(shown.score.benchmark, names[0])} after {numbers.short(budget)} minutes, "
            + ("one run" if len(ends) == 1 else f"mean of {len(ends)} runs"))


def _ends(shown: Shown, metric: str) -> list[tuple[RunLog, float]]:
    """The last evaluation of each run that ended."""
    return [(run, points[-1][1]) for run in shown.runs if run.run_stop_ms is not None and (points := quality_points(run, metric))]


def _chart(sets: Sequence[Shown], metric: str) -> Markup | str:
    ends = [(shown, run, value) for shown in sets for run, value in _ends(shown, metric)]
    if not ends:
        return ""
    words = metric_name(sets[0].score.benchmark, metric)
    rows = [_row(shown, _ends(shown, metric)) for shown in sets]
    targets = targets_of((run for _, run, _ in ends), metric)
    marks = [(outcome_swatch("dot"), "one run")]
    marks += [(outcome_swatch("target"), f"target {numbers.short(target)}") for target in targets]
    return blocks.figure(
        f"Accuracy after time: {words} at the end of the budget", "; ".join(map(_words, rows, sets)) + ".",
        StripChart(words, [row for row in rows if row.dots], targets).draw, legend=legend(*marks), data=_table(ends, words),
        note="The bar across a row is the mean of its runs. The last evaluation comes after the end of the budget.")


def _table(ends: Sequence[tuple[Shown, RunLog, float]], words: str) -> Markup:
    rows = [(shown.name, run_label(run), _budget(shown), numbers.quality(value)) for shown, run, value in ends]
    return blocks.table(("Folder", "Run", "Budget (minutes)", words), rows, text_columns=2,
                        caption="Quality at the end of the budget")


def _row(shown: Shown, ends: Sequence[tuple[RunLog, float]]) -> Row:
    mean = sum(value for _, value in ends) / len(ends) if ends else None
    dots = [Dot(value, "mark", f"{shown.run_name(run)}: {numbers.quality(value)}") for run, value in ends]
    return Row(f"{shown.name} · {numbers.quality(mean)}", shown.style, dots, mean)


def _words(row: Row, shown: Shown) -> str:
    runs = numbers.plural(len(row.dots), "run")
    return f"{shown.name}: mean {numbers.quality(row.mark)} after {_budget(shown)} minutes, {runs}"


def _budget(shown: Shown) -> str:
    return numbers.short(time_budget_minutes(shown.result_set) or 0.0)
