"""Scores as people and programs read them: a table, JSON, CSV."""

import csv
import dataclasses
import io
import json
import math
import textwrap
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from jax_mlperf.errors import printable
from jax_mlperf.mlperf.reading.folder_names import short_names
from jax_mlperf.mlperf.scoring.lp2bm import Lp2bm, lp2bm_scores
from jax_mlperf.mlperf.scoring.score import Score

WIDTH = 130
_GAP = "  "
_WIDEST_NAME = 22


class _Column(NamedTuple):
    """One column of the table; the one without a widest width gets what the others leave."""

    heading: str
    cell: Callable[[Score], str]
    right: bool = True
    widest: int | None = 12


def as_text(scores: Sequence[Score]) -> str:
    """A table of at most 130 columns, then what must be known about the scores, then LP2BM."""
    names = short_names([score.folder for score in scores])
    scores = [dataclasses.replace(score, name=name) for score, name in zip(scores, names, strict=True)]
    lines = _table(scores)
    if any(_mean_text(score).endswith("*") for score in scores):
        lines.append("* provisional")
    for score in scores:
        notes = [*score.notes, *([f"RCP test {score.rcp.message}."] if score.rcp else [])]
        if notes:
            lines += ["", printable(score.name)]
        for note in notes:
            lines += textwrap.wrap(printable(note), WIDTH, initial_indent="  - ", subsequent_indent="    ")
    pairs, obstacles = lp2bm_scores(scores)
    text = [_lp2bm_text(pair) for pair in pairs] + obstacles
    lines += [""] if text else []
    return "\n".join([*lines, *(line for entry in text for line in textwrap.wrap(printable(entry), WIDTH))])


def as_json(scores: Sequence[Score]) -> str:
    """All that is known of the scores; minutes are minutes, and what is not known is null."""
    pairs, obstacles = lp2bm_scores(scores)
    record = {"scores": [dataclasses.asdict(score) for score in scores],
              "lp2bm": [{"score": pair.score, "resnet": pair.resnet.folder, "bert": pair.bert.folder,
                         "provisional": pair.provisional} for pair in pairs],
              "lp2bm_notes": obstacles}
    return json.dumps(_plain(record), indent=1, allow_nan=False)


def as_csv(scores: Sequence[Score]) -> str:
    """A heading and a line for each score; minutes of the runs are separated by spaces, "-" for one that did not converge."""
    out = io.StringIO()
    writer = csv.DictWriter(out, list(_CSV), lineterminator="\n")
    writer.writeheader()
    for score in scores:
        values = {name: cell(score) for name, cell in _CSV.items()}
        writer.writerow({name: printable("" if value is None else str(value)) for name, value in values.items()})
    return out.getvalue()


_CSV: dict[str, Callable[[Score], Any]] = {
    "set": lambda score: score.name,
    "folder": lambda score: str(score.folder),
    "benchmark": lambda score: score.benchmark,
    "division": lambda score: score.division,
    "organization": lambda score: score.organization,
    "platform": lambda score: score.platform,
    "global_batch_size": lambda score: score.global_batch_size,
    "runs": lambda score: score.runs,
    "missing_runs": lambda score: score.missing_runs,
    "converged": lambda score: score.converged,
    "provisional": lambda score: score.provisional,
    "minutes": lambda score: " ".join("-" if value is None else f"{value:.6f}" for value in score.minutes),
    "olympic_minutes": lambda score: score.olympic_minutes,
    "scaled_minutes": lambda score: score.scaled_minutes,
    "epochs_to_converge": lambda score: score.epochs_to_converge,
    "unit": lambda score: score.unit,
    "samples_per_second": lambda score: score.samples_per_second,
    "rcp_passed": lambda score: score.rcp.passed if score.rcp else None,
    "rcp_scaling": lambda score: score.rcp.scaling if score.rcp else None,
    "rcp_message": lambda score: score.rcp.message if score.rcp else None,
    "notes": lambda score: " ".join(score.notes),
}


def _plain(value: Any) -> Any:
    """The value in what JSON has; numbers that are none become null."""
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(item) for item in value]
    if isinstance(value, Path):
        return str(value)
    return None if isinstance(value, float) and not math.isfinite(value) else value


# The table ---------------------------------------------------------------------------------------------------------


def _name_text(score: Score) -> str:
    return score.name if len(score.name) <= _WIDEST_NAME else score.name.replace("/", " /")


def _mean_text(score: Score) -> str:
    return _minutes(score.olympic_minutes) + "*" * (score.provisional and score.olympic_minutes is not None)


def _scaled_text(score: Score) -> str:
    return "-" if score.scaled_minutes == score.olympic_minutes else _minutes(score.scaled_minutes)


def _rcp_text(score: Score) -> str:
    if score.rcp is None:
        return "-"
    return score.rcp.word + (f" x{score.rcp.scaling:.4f}" if score.rcp.official and score.rcp.scaling > 1 else "")


def _epochs_text(score: Score) -> str:
    if score.epochs_to_converge is None:
        return "-"
    number = f"{score.epochs_to_converge:,.{0 if score.unit == 'samples' else 3}f}"
    return f"{number.rstrip('0').rstrip('.') if '.' in number else number} {score.unit}"


def _rate_text(score: Score) -> str:
    rate = score.samples_per_second
    return "-" if rate is None else f"{rate:,.0f}" if rate >= 100 else f"{rate:.3g}"


def _minutes(value: float | None) -> str:
    return "-" if value is None else f"{value:.{3 if value < 1 else 2}f}"


_COLUMNS = (
    _Column("set", _name_text, right=False, widest=_WIDEST_NAME),
    _Column("benchmark", lambda score: score.benchmark, right=False, widest=11),
    _Column("division", lambda score: score.division, right=False, widest=8),
    _Column("runs", lambda score: f"{score.runs} of {score.needed_runs}" if score.missing_runs else str(score.runs),
            widest=8),
    _Column("converged", lambda score: str(score.converged)),
    _Column("minutes of each run", lambda score: " ".join(map(_minutes, score.minutes)), right=False, widest=None),
    _Column("olympic mean", _mean_text),
    _Column("scaled mean", _scaled_text),
    _Column("to converge", _epochs_text),
    _Column("samples/s", _rate_text),
    _Column("RCP test", _rcp_text, right=False, widest=8),
)


def _table(scores: Sequence[Score]) -> list[str]:
    columns = [(column, [printable(column.cell(score)) for score in scores]) for column in _COLUMNS]
    columns = [(column, cells) for column, cells in columns if any(cell != "-" for cell in cells)]
    fixed = {column: _width(column.heading, cells, column.widest) for column, cells in columns if column.widest}
    rest = WIDTH - sum(fixed.values()) - len(_GAP) * (len(columns) - 1)
    widths = [fixed.get(column) or _width(column.heading, cells, rest) for column, cells in columns]
    rows = [[column.heading for column, _ in columns], *zip(*(cells for _, cells in columns), strict=True)]
    lines = [line for row in rows for line in _row(row, [column for column, _ in columns], widths)]
    heading = len(_row(rows[0], [column for column, _ in columns], widths))
    return [*lines[:heading], _GAP.join("-" * width for width in widths), *lines[heading:]]


def _width(heading: str, cells: Sequence[str], widest: int) -> int:
    lines = [line for cell in cells for line in _wrap(cell, widest)]
    return max(len(text) for text in (*heading.split(), *lines))


def _wrap(cell: str, width: int) -> list[str]:
    return textwrap.wrap(cell, width, break_on_hyphens=False) or [""]


def _row(cells: Sequence[str], columns: Sequence[_Column], widths: Sequence[int]) -> list[str]:
    wrapped = [_wrap(cell, width) for cell, width in zip(cells, widths, strict=True)]
    height = max(map(len, wrapped))
    texts = []
    for number in range(height):
        parts = [lines[number] if number < len(lines) else "" for lines in wrapped]
        texts.append(_GAP.join(part.rjust(width) if column.right else part.ljust(width)
                               for part, column, width in zip(parts, columns, widths, strict=True)).rstrip())
    return texts


def _lp2bm_text(pair: Lp2bm) -> str:
    resnet, bert = pair.resnet, pair.bert
    unscaled = any(score.scaled_minutes != score.olympic_minutes for score in (resnet, bert))
    return (f"LP2BM {pair.score:.2f}{' (provisional)' * pair.provisional} = 7.19 / {_minutes(resnet.olympic_minutes)} minutes of "
            f"{resnet.name} + 9.05 / {_minutes(bert.olympic_minutes)} minutes of {bert.name}; higher is better"
            + "; without RCP scaling" * unscaled)
