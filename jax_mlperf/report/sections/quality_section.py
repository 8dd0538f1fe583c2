"""Quality against time: a chart for each metric of a benchmark."""

from collections.abc import Sequence

from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.scoring_rules import converged, rule_of
from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.line_chart import Line, LineChart
from jax_mlperf.report.drawing.markup import Markup, join
from jax_mlperf.report.drawing.styles import legend, outcome_swatch
from jax_mlperf.report.drawing.thinning import thin
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.benchmark_names import metric_name
from jax_mlperf.report.sections.run_series import metrics, quality_points, reached_at, targets_of
from jax_mlperf.report.sections.shown import Shown, run_label

_MOST_METRICS = 6


def quality_section(sets: Sequence[Shown]) -> Markup:
    """One chart for each metric; nothing where no run has an evaluation with a time."""
    names = metrics(run for shown in sets for run in shown.runs)
    wanted = [name for name in names if any(name in rule_of(run).targets for shown in sets for run in shown.runs)] or names
    return join(*(_chart(sets, metric) for metric in wanted[:_MOST_METRICS]))


def _chart(sets: Sequence[Shown], metric: str) -> Markup | str:
    lines = [(shown, run, _line(shown, run, metric)) for shown in sets for run in shown.runs if quality_points(run, metric)]
    if not lines:
        return ""
    words = metric_name(sets[0].score.benchmark, metric)
    chart = LineChart("minutes since run_start", _axis(words, [run for _, run, _ in lines]), [line for *_, line in lines],
                      targets=_targets(sets, metric))
    drawn = [shown for shown in sets if any(shown is other for other, *_ in lines)]
    swatches = [(shown.style.swatch(), shown.name) for shown in drawn]
    outcomes = [(outcome_swatch("dot"), "converged")] * any(line.end == "dot" for *_, line in lines)
    outcomes += [(outcome_swatch("cross"), "did not converge, or was killed")] * any(line.end == "cross" for *_, line in lines)
    title = "Quality against time" + (f": {words}" if words != "quality" else "")
    return blocks.figure(title, _summary(lines, metric), chart.draw,
                         legend=legend(*swatches, *outcomes), data=_table(lines, words))


def _axis(words: str, runs: Sequence[RunLog]) -> str:
    return words if all(rule_of(run).higher_is_better for run in runs) else f"{words} (lower is better)"


def _line(shown: Shown, run: RunLog, metric: str) -> Line:
    points = quality_points(run, metric)
    reached = reached_at(run) if converged(run) else None
    mark = next((index for index, point in enumerate(points) if point[0] == reached), len(points) - 1)
    return Line(shown.run_name(run), shown.style, points, end="dot" if converged(run) else "cross", mark=mark)


def _targets(sets: Sequence[Shown], metric: str) -> list[tuple[float, str]]:
    """Each target once; with the folders that it belongs to where folders have different ones."""
    owners: dict[float, list[str]] = {}
    for shown in sets:
        for target in targets_of(shown.runs, metric):
            owners.setdefault(target, []).append(shown.name)
    several = len(owners) > 1
    return [(target, f"target {numbers.short(target)}" + (f" ({', '.join(names)})" if several else ""))
            for target, names in owners.items()]


def _summary(lines: Sequence[tuple[Shown, RunLog, Line]], metric: str) -> str:
    reached = [time for _, run, _ in lines if converged(run) and (time := reached_at(run)) is not None]
    runs = numbers.plural(len(lines), "run")
    if not any(rule_of(run).targets for _, run, _ in lines):
        return f"{runs}; the benchmark has no target that is known here."
    if not reached:
        return f"{runs}; none converged."
    first, last = numbers.minutes(min(reached)), numbers.minutes(max(reached))
    when = f"after {first} minutes" if first == last else f"after {first} to {last} minutes"
    every = " (all targets in one evaluation)" if metric else ""
    return f"{len(reached)} of {runs} converged, reaching the target{every} {when}."


def _table(lines: Sequence[tuple[Shown, RunLog, Line]], words: str) -> Markup:
    most = max(3, 600 // len(lines))
    rows = [(shown.name, run_label(run), numbers.minutes(minutes), numbers.quality(value))
            for shown, run, line in lines for minutes, value in thin(line.points, most)]
    return blocks.table(("Folder", "Run", "Minutes since run_start", words), rows, text_columns=2,
                        caption="Evaluations" + (" (thinned)" if any(len(line.points) > most for *_, line in lines) else ""))
