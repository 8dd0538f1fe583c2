"""Dots along one axis, a row for each set: how much runs of the same kind differ."""

import dataclasses
from collections.abc import Sequence

from jax_mlperf.report.drawing import plot
from jax_mlperf.report.drawing.markup import Markup, tag
from jax_mlperf.report.drawing.plot import Box, Size
from jax_mlperf.report.drawing.scales import Scale, around, wants_log
from jax_mlperf.report.drawing.styles import Style

_RADIUS = 4.5
_STEP = 11.0  # from dot to dot where they would touch
_MOST_LEVELS = 7


@dataclasses.dataclass(frozen=True)
class Dot:
    """One run: its number on the axis, how it is drawn ("mark", "hollow" or "cross"), and words for the pointer."""

    value: float
    kind: str
    name: str


@dataclasses.dataclass(frozen=True)
class Row:
    """One set: its words, look, dots, and the number that is marked by a bar; None: no bar."""

    name: str
    style: Style
    dots: Sequence[Dot]
    mark: float | None = None


@dataclasses.dataclass(frozen=True)
class StripChart:
    """What a chart of dots shows; the axis need not begin at 0, because positions are compared and not lengths."""

    x_label: str
    rows: Sequence[Row]
    targets: Sequence[float] = ()

    def scale(self, size: Size) -> Scale:
        """From numbers to pixels."""
        values = [[dot.value for dot in row.dots] + ([row.mark] if row.mark is not None else []) for row in self.rows]
        every = [value for row in values for value in row] + list(self.targets)
        return around(every, 12.0, size.width - 12, log=wants_log(values) and min(every) > 0, margin=0.06)

    def draw(self, size: Size, title: str, description: str) -> Markup:
        """The chart in one size."""
        scale = self.scale(size)
        parts: list[Markup] = []
        top = 4.0
        for row in self.rows:
            levels = beeswarm([scale(dot.value) for dot in row.dots])
            reach = max((abs(level) for level in levels), default=0)
            middle = top + size.text + 18 + reach * _STEP
            parts += [plot.text(size, row.name[:size.letters(size.width)], 0, top + size.text, "strong halo"),
                      tag("line", x1=12, y1=middle, x2=size.width - 12, y2=middle, class_="grid"),
                      *_row(row, scale, levels, middle)]
            top = middle + reach * _STEP + 18
        box = Box(12, size.width - 12, 0, top)
        lines = [tag("line", x1=scale(value), y1=0, x2=scale(value), y2=top, class_="target") for value in self.targets]
        axis = plot.horizontal_axis(size, box, scale, self.x_label + (" (logarithmic)" if scale.log else ""))
        return plot.drawing(size, title, description, [*lines, *parts, axis], top + plot.below(size))


def beeswarm(positions: Sequence[float]) -> list[int]:
    """A level for each dot (0, 1, -1, 2, ...) so that dots of the same level do not touch, up to a bound on levels."""
    levels = [0] * len(positions)
    last: dict[int, float] = {}
    for index in sorted(range(len(positions)), key=lambda at: (positions[at], at)):
        order = [0] + [sign * level for level in range(1, _MOST_LEVELS + 1) for sign in (1, -1)]
        levels[index] = next((level for level in order if positions[index] - last.get(level, -1e9) >= _STEP), 0)
        last[levels[index]] = positions[index]
    return levels


def _row(row: Row, scale: Scale, levels: Sequence[int], middle: float) -> list[Markup]:
    parts = []
    if row.mark is not None:
        reach = max((abs(level) for level in levels), default=0) * _STEP + 10
        x = scale(row.mark)
        parts.append(tag("line", x1=x, y1=middle - reach, x2=x, y2=middle + reach, class_=f"{row.style.colour} mean"))
    for dot, level in zip(row.dots, levels, strict=True):
        x, y = scale(dot.value), middle + level * _STEP
        shape = row.style.cross(x, y, 4) if dot.kind == "cross" else row.style.marker(x, y, _RADIUS, hollow=dot.kind == "hollow")
        parts.append(tag("g", tag("title", dot.name), shape))
    return parts
