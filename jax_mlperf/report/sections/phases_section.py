"""Where the time of each run went."""

from collections.abc import Sequence

from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.bar_chart import Bar, StackedBars
from jax_mlperf.report.drawing.markup import Markup
from jax_mlperf.report.drawing.styles import PARTS, part_legend
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.run_series import phases
from jax_mlperf.report.sections.shown import Shown, run_label

Timed = tuple[RunLog, dict[str, float]]

# More bars than this of one folder are too many to read: then the fastest, the middle and the slowest stand for all.
_MOST_BARS = 10


def phases_section(sets: Sequence[Shown]) -> Markup | str:
    """Nothing where no run has a beginning and an end."""
    timed = [(shown, [(run, parts) for run in shown.runs if sum((parts := phases(run)).values()) > 0]) for shown in sets]
    timed = [(shown, runs) for shown, runs in timed if runs]
    if not timed:
        return ""
    longest = max(sum(parts.values()) for _, runs in timed for _, parts in runs)
    unit, factor = ("minutes", 60.0) if longest >= 120 else ("seconds", 1.0)
    bars = [bar for shown, runs in timed for bar in _bars(shown, runs, factor, heading=len(timed) > 1 or len(runs) > _MOST_BARS)]
    names = [name for name in PARTS if any(name in parts for _, runs in timed for _, parts in runs)]
    return blocks.figure("Where the time goes", _summary(timed), StackedBars(unit, unit, bars).draw,
                         legend=part_legend(names), data=_table(timed, names), note=_note(names))


def _bars(shown: Shown, runs: Sequence[Timed], factor: float, *, heading: bool) -> list[Bar]:
    few = len(runs) <= _MOST_BARS
    ordered = sorted(runs, key=lambda entry: sum(entry[1].values()))
    chosen = runs if few else [ordered[0], ordered[len(ordered) // 2], ordered[-1]]
    head = [Bar(shown.name + ("" if few else f" · fastest, middle, slowest of {len(runs)}"), {})] if heading else []
    scaled = [(run, {name: value / factor for name, value in parts.items()}) for run, parts in chosen]
    return head + [Bar(run_label(run), parts, _total(sum(parts.values()))) for run, parts in scaled]


def _total(value: float) -> str:
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def _summary(timed: Sequence[tuple[Shown, Sequence[Timed]]]) -> str:
    sentences = []
    for shown, runs in timed:
        total: dict[str, float] = {}
        for _, parts in runs:
            for name, value in parts.items():
                total[name] = total.get(name, 0.0) + value
        whole = sum(total.values()) or 1.0
        shares = ", ".join(f"{name} {_percent(100 * value / whole)} %" for name, value in total.items())
        sentences.append(f"{shown.name}: {shares}")
    return "; ".join(sentences) + "."


def _percent(share: float) -> str:
    return f"{share:.0f}" if share >= 1 or not share else f"{share:.1g}" if share >= 0.01 else "under 0.01"


def _note(names: Sequence[str]) -> str:
    sentences = []
    if "initialise and compile" in names:
        sentences.append("Initialising and compiling lies before run_start and does not count for the score.")
    if "train and other" in names:
        sentences.append("Logs without phase_seconds tell the time of evaluation at most; in some, training goes on meanwhile.")
    return " ".join(sentences)


def _table(timed: Sequence[tuple[Shown, Sequence[Timed]]], names: Sequence[str]) -> Markup:
    rows = [(shown.name, run_label(run), *(numbers.seconds(parts.get(name)) for name in names))
            for shown, runs in timed for run, parts in runs]
    return blocks.table(("Folder", "Run", *map(blocks.headed, names)), rows, text_columns=2, caption="Phases")
