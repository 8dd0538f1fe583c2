"""The scores of a benchmark's folders in a table, compared with the first."""

from collections.abc import Callable, Sequence

from jax_mlperf.mlperf.scoring.score import Score
from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.markup import Markup, clean, join, tag
from jax_mlperf.report.sections import blocks
from jax_mlperf.report.sections.shown import Shown


def score_section(sets: Sequence[Shown]) -> Markup:
    """One row a folder; with two or more, the ratio of olympic means against the first that has one.

    The score after RCP scaling has a column where it is another one.
    """
    first = next((shown.score.olympic_minutes for shown in sets if shown.score.olympic_minutes), None) if len(sets) > 1 else None
    shown_if = {_RATIO: first is not None, _SCALED: any(_is_scaled(shown.score) for shown in sets)}
    columns = {name: cell for name, cell in _COLUMNS.items() if shown_if.get(name, True)}
    rows = [[join(shown.style.swatch(), " ", blocks.breakable(shown.name)),
             *(cell(shown.score, first) for cell in columns.values())] for shown in sets]
    note = tag("p", "Against the first: its olympic mean over this one; above 1 is faster.", class_="note") if first else ""
    return join(blocks.table(("Folder", *columns), rows, caption="Scores", wide_first=True), note)


def _ratio(score: Score, first: float | None) -> str:
    return f"{first / score.olympic_minutes:.3g}" if first and score.olympic_minutes else "–"


def _is_scaled(score: Score) -> bool:
    return score.scaled_minutes != score.olympic_minutes


def _scaled(score: Score, _: float | None) -> str:
    if score.rcp is None or not _is_scaled(score):
        return "–"
    return f"{numbers.minutes(score.scaled_minutes)} (×\u00a0{score.rcp.scaling:.4f})"


def _mean(score: Score, _: float | None) -> str:
    minutes = [value for value in score.minutes if value is not None]
    return numbers.minutes(sum(minutes) / len(minutes) if minutes else None)


def _to_converge(score: Score, _: float | None) -> str:
    if score.epochs_to_converge is None:
        return "–"
    return f"{score.epochs_to_converge:,.0f} samples" if score.unit == "samples" else f"{score.epochs_to_converge:.6g} epochs"


_RATIO, _SCALED = "Against the first", "With RCP scaling (min)"
# What matters most comes first: on a phone the others are scrolled to.
_COLUMNS: dict[str, Callable[[Score, float | None], str]] = {
    "Olympic mean (min)": lambda score, _: numbers.minutes(score.olympic_minutes),
    _SCALED: _scaled,
    _RATIO: _ratio,
    "Converged": lambda score, _: f"{score.converged}\u00a0of\u00a0{score.runs}",
    "Runs needed": lambda score, _: str(score.needed_runs),
    "Mean of converged (min)": _mean,
    "To converge": _to_converge,
    "Samples/s": lambda score, _: numbers.rate(score.samples_per_second),
    "RCP test": lambda score, _: "–" if score.rcp is None else score.rcp.word,
    "Batch size": lambda score, _: "–" if score.global_batch_size is None else f"{score.global_batch_size:,.0f}",
    "Platform, division": lambda score, _: f"{clean(score.platform, 40)}, {clean(score.division, 20)}",
}
