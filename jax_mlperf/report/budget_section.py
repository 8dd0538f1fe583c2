"""Accuracy after time: what runs with a fixed time budget reached at its end."""

from collections.abc import Sequence

from jax_mlperf.mlperf.reading.run_log import RunLog, as_number
from jax_mlperf.report import blocks, numbers
from jax_mlperf.report.benchmark_names import metric_name
from jax_mlperf.report.markup import Markup, join
from jax_mlperf.report.run_series import metrics, quality_points, targets_of
from jax_mlperf.report.shown import Shown, run_label
from jax_mlperf.report.strip_chart import Dot, Row, StripChart
from jax_mlperf.report.styles import legend, outcome_swatch


def budget_minutes(shown: Shown) -> float | None:
    """The config's time budget; None where it has none."""
    record = shown.result_set.records.get("config")
    config = record.get("config") if isinstance(record, dict) else None
    budget = as_number(config.get("time_budget_minutes")) if isinstance(config, dict) else None
    return budget if budget is not None and 0 < budget <= numbers.LONGEST_MINUTES else None


def budget_section(sets: Sequence[Shown]) -> Markup:
    """One chart for each metric; nothing where no folder has a time budget, or no run of one has ended."""
    budgeted = [shown for shown in sets if budget_minutes(shown)]
    return join(*(_chart(budgeted, metric) for metric in metrics(run for shown in budgeted for run in shown.runs)))


def budget_words(shown: Shown) -> tuple[str, str, str] | None:
    """Number, unit and explanation of a folder with a time budget and one metric, for its tile; None for others."""
    budget, names = budget_minutes(shown), metrics(shown.runs)
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
    rows = [(shown.name, run_label(run), numbers.short(budget_minutes(shown) or 0.0), numbers.quality(value))
            for shown, run, value in ends]
    return blocks.table(("Folder", "Run", "Budget (minutes)", words), rows, text_columns=2,
                        caption="Quality at the end of the budget")


def _row(shown: Shown, ends: Sequence[tuple[RunLog, float]]) -> Row:
    mean = sum(value for _, value in ends) / len(ends) if ends else None
    dots = [Dot(value, "mark", f"{shown.run_name(run)}: {numbers.quality(value)}") for run, value in ends]
    return Row(f"{shown.name} · {numbers.quality(mean)}", shown.style, dots, mean)


def _words(row: Row, shown: Shown) -> str:
    budget = numbers.short(budget_minutes(shown) or 0.0)
    return f"{shown.name}: mean {numbers.quality(row.mark)} after {budget} minutes, {numbers.plural(len(row.dots), 'run')}"
