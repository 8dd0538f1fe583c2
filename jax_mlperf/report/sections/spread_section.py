"""Time to target over seeds: a dot for each run, the olympic mean as a bar."""

from collections.abc import Sequence

from jax_mlperf.mlperf.scoring.time_budget import time_budget_minutes
from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.markup import Markup
from jax_mlperf.report.drawing.strip_chart import Dot, Row, StripChart
from jax_mlperf.report.drawing.styles import legend, outcome_swatch
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.shown import Shown, run_label

_KINDS = {"counted": "mark", "dropped": "hollow", "failed": "cross"}
_WORDS = {"counted": "counts", "dropped": "left out of the mean", "failed": "did not converge"}


def spread_section(sets: Sequence[Shown]) -> Markup | str:
    """Nothing where there are fewer than two runs with a time; a fixed time is no time to target, so those runs are left out."""
    sets = [shown for shown in sets if not time_budget_minutes(shown.result_set)]
    rows = [row for shown in sets if (row := _row(shown)).dots]
    if sum(len(row.dots) for row in rows) < 2:
        return ""
    chart = StripChart("minutes from run_start to run_stop", rows)
    fates = {fate for shown in sets for run, fate in zip(shown.runs, shown.fates(), strict=True) if _usable(run.minutes)}
    entries = [(outcome_swatch(kind), words) for fate, kind, words in (
        ("counted", "dot", "converged"), ("dropped", "hollow", "converged, left out of the olympic mean"),
        ("failed", "cross", "did not converge")) if fate in fates]
    summary = "; ".join(_words(shown) for shown in sets) + "."
    return blocks.figure("Time to target, run by run", summary, chart.draw, legend=legend(*entries), data=_table(sets),
                         note="The bar across a row is the olympic mean: the mean without the fastest and the slowest run. "
                              "The axis need not begin at zero.")


def _usable(minutes: float | None) -> bool:
    return minutes is not None and minutes <= numbers.LONGEST_MINUTES


def _row(shown: Shown) -> Row:
    dots = [Dot(run.minutes, _KINDS[fate], f"{shown.run_name(run)}: {numbers.minutes(run.minutes)} minutes, {_WORDS[fate]}")
            for run, fate in zip(shown.runs, shown.fates(), strict=True) if run.minutes is not None and _usable(run.minutes)]
    mean = shown.score.olympic_minutes
    name = shown.name if mean is None else f"{shown.name} · {numbers.minutes(mean)} min"
    return Row(name, shown.style, dots, mean)


def _words(shown: Shown) -> str:
    mean = shown.score.olympic_minutes
    return f"{shown.name}: " + (f"olympic mean {numbers.minutes(mean)} minutes" if mean is not None else "no olympic mean")


def _table(sets: Sequence[Shown]) -> Markup:
    rows = [(shown.name, run_label(run), ", ".join(map(str, run.seeds[:4])) + ("…" if len(run.seeds) > 4 else "") or "–",
             numbers.minutes(run.minutes), _WORDS[fate])
            for shown in sets for run, fate in zip(shown.runs, shown.fates(), strict=True)]
    return blocks.table(("Folder", "Run", "Seed", "Minutes", "Olympic mean"), rows, text_columns=2, caption="Time to target")
