"""Throughput over time."""

import statistics
from collections.abc import Sequence

from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.line_chart import Line, LineChart
from jax_mlperf.report.drawing.markup import Markup
from jax_mlperf.report.drawing.styles import legend
from jax_mlperf.report.drawing.thinning import thin
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.run_series import RateCurve, throughput
from jax_mlperf.report.sections.shown import Shown, run_label

_SOURCES = {"reported": "as the runs reported it themselves",
            "evaluations": "samples between two evaluations over the time between them, without the time of evaluation where the "
                           "log tells it"}


def throughput_section(sets: Sequence[Shown]) -> Markup | str:
    """Nothing where no log tells how many samples were trained on."""
    found = [(shown, run, each) for shown in sets for run in shown.runs if (each := throughput(run)).points]
    if not found:
        return ""
    lines = [Line(shown.run_name(run), shown.style, each.points) for shown, run, each in found]
    chart = LineChart("minutes since run_start", "samples/s", lines, y_zero=True)
    drawn = [shown for shown in sets if any(shown is other for other, *_ in found)]
    return blocks.figure("Throughput over time", "; ".join(_words(shown, found) for shown in drawn) + ".", chart.draw,
                         legend=legend(*((shown.style.swatch(), shown.name) for shown in drawn)), data=_table(found),
                         note=_note(sets, drawn, found))


def _words(shown: Shown, found: Sequence[tuple[Shown, RunLog, RateCurve]]) -> str:
    middle = statistics.median([rate for other, _, each in found if other is shown for _, rate in each.points])
    return f"{shown.name}: median {numbers.rate(middle)} samples/s"


def _note(sets: Sequence[Shown], drawn: Sequence[Shown], found: Sequence[tuple[Shown, RunLog, RateCurve]]) -> str:
    sentences = []
    for source, words in _SOURCES.items():
        names = [shown.name for shown in drawn if any(other is shown and each.source == source for other, _, each in found)]
        if names:
            sentences.append(f"{', '.join(names)}: {words}." if len(sets) > 1 else f"{words[0].upper()}{words[1:]}.")
    missing = [shown.name for shown in sets if all(shown is not other for other in drawn)]
    if missing:
        sentences.append(f"{', '.join(missing)}: the logs do not tell how many samples were trained on.")
    return " ".join(sentences)


def _table(found: Sequence[tuple[Shown, RunLog, RateCurve]]) -> Markup:
    most = max(3, 600 // len(found))
    rows = [(shown.name, run_label(run), numbers.minutes(minutes), numbers.rate(rate))
            for shown, run, each in found for minutes, rate in thin(each.points, most)]
    return blocks.table(("Folder", "Run", "Minutes since run_start", "Samples/s"), rows, text_columns=2,
                        caption="Throughput" + (" (thinned)" if any(len(each.points) > most for *_, each in found) else ""))
