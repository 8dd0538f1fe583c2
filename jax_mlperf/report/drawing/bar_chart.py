"""Bars: parts of a whole side by side (a row for each run), and groups of columns over numbers of workers."""

import dataclasses
from collections.abc import Mapping, Sequence

from jax_mlperf.report.drawing import plot
from jax_mlperf.report.drawing.markup import Markup, tag
from jax_mlperf.report.drawing.plot import Box, Size
from jax_mlperf.report.drawing.scales import Scale, around
from jax_mlperf.report.drawing.styles import area

_ROW = 24.0
_BAR = 15.0


@dataclasses.dataclass(frozen=True)
class Bar:
    """One run: words before it, its parts from left to right, words behind it; a bar without parts is a heading."""

    name: str
    parts: Mapping[str, float]
    total: str = ""


@dataclasses.dataclass(frozen=True)
class StackedBars:
    """Rows of parts that add up, all in `unit`."""

    x_label: str
    unit: str
    bars: Sequence[Bar]

    def scale(self, size: Size) -> Scale:
        """From numbers to pixels; bars begin at 0."""
        left = 10 + max(size.text_width(bar.name) for bar in self.bars if bar.parts)
        right = size.width - 12 - max(size.text_width(bar.total) for bar in self.bars)
        return around([sum(bar.parts.values()) for bar in self.bars], left, right, zero=True, margin=0.0)

    def draw(self, size: Size, title: str, description: str) -> Markup:
        """The chart in one size."""
        scale = self.scale(size)
        rows: list[Markup] = []
        for index, bar in enumerate(self.bars):
            rows.append(_heading(size, bar, index) if not bar.parts else _stacked(size, bar, index, scale, self.unit))
        bottom = len(self.bars) * _ROW + 6
        axis = plot.horizontal_axis(size, Box(scale.start, scale.stop, 0, bottom), scale, self.x_label, grid=True)
        return plot.drawing(size, title, description, [axis, *rows], bottom + plot.below(size))


def _heading(size: Size, bar: Bar, index: int) -> Markup:
    return plot.text(size, bar.name[:size.letters(size.width)], 0, index * _ROW + size.text + 4, "strong halo")


def _stacked(size: Size, bar: Bar, index: int, scale: Scale, unit: str) -> Markup:
    top = index * _ROW + (_ROW - _BAR) / 2
    base = top + _BAR / 2 + 0.35 * size.text
    parts = [plot.text(size, bar.name, scale.start - 7, base, "", "end")]
    done = 0.0
    for part, value in bar.parts.items():
        left, right = scale(done), scale(done + value)
        if right - left > 0.05:
            parts.append(area(part, left, top, right - left, _BAR, f"{bar.name}, {part}: {value:.4g} {unit}"))
        done += value
    parts.append(plot.text(size, bar.total, scale(done) + 6, base, "halo"))
    return tag("g", *parts)


@dataclasses.dataclass(frozen=True)
class Columns:
    """Groups of columns.

    Attributes:
      x_label, y_label: names of the axes, with units.
      groups: (name of the group, part -> value) from left to right.
      stacked: one column a group, of parts on top of one another.
      ideal: a value for each group that a short line marks; empty: none.
    """

    x_label: str
    y_label: str
    groups: Sequence[tuple[str, Mapping[str, float]]]
    stacked: bool = False
    ideal: Sequence[float] = ()

    def scale(self, size: Size) -> Scale:
        """From values to pixels; columns begin at 0."""
        tops = [sum(parts.values()) if self.stacked else max(parts.values(), default=0.0) for _, parts in self.groups]
        return around([*tops, *self.ideal], size.height - plot.below(size), 2 * size.text + 22, zero=True, margin=0.02)

    def draw(self, size: Size, title: str, description: str) -> Markup:
        """The chart in one size."""
        scale = self.scale(size)
        box = Box(plot.left_margin(size, scale, 6), size.width - 6, scale.stop, scale.start)
        share = (box.right - box.left) / len(self.groups)
        parts = [plot.vertical_axis(size, box, scale, self.y_label, 6),
                 tag("line", x1=box.left, y1=box.bottom, x2=box.right, y2=box.bottom, class_="axis")]
        numbered = self._room_for_numbers(size, share)
        for index, (name, values) in enumerate(self.groups):
            left = box.left + index * share
            parts += self._group(size, scale, left, share, values, numbered)
            if self.ideal:
                y = scale(self.ideal[index])
                parts.append(tag("line", x1=left + 0.1 * share, y1=y, x2=left + 0.9 * share, y2=y, class_="target"))
            if size.text_width(name) < share:
                parts.append(plot.text(size, name, left + share / 2, box.bottom + 5 + size.text, "tick", "middle"))
        parts.append(plot.text(size, self.x_label, (box.left + box.right) / 2, box.bottom + 12 + 2 * size.text, "name", "middle"))
        return plot.drawing(size, title, description, parts)

    def _width(self, share: float, columns: int) -> float:
        return min(64.0, 0.66 * share if self.stacked else 0.8 * share / max(1, columns))

    def _room_for_numbers(self, size: Size, share: float) -> bool:
        """Whether the numbers of all columns fit over them; otherwise none is written."""
        if self.stacked:
            return all(size.text_width(_number(sum(values.values()))) <= share for _, values in self.groups)
        return all(size.text_width(_number(value)) <= self._width(share, len(values)) + 4
                   for _, values in self.groups for value in values.values())

    def _group(self, size: Size, scale: Scale, left: float, share: float, values: Mapping[str, float],
               numbered: bool) -> list[Markup]:
        width = self._width(share, len(values))
        x = left + (share - (width if self.stacked else width * len(values))) / 2
        parts, base = [], 0.0
        for part, value in values.items():
            top, bottom = scale(base + value), scale(base)
            parts.append(area(part, x, top, width - 2, max(bottom - top, 0.0), f"{part}: {value:.4g}"))
            if self.stacked:
                base += value
            else:
                parts += [plot.text(size, _number(value), x + width / 2, top - 5, "halo", "middle")] * numbered
                x += width
        if self.stacked and numbered:
            parts.append(plot.text(size, _number(base), x + width / 2, scale(base) - 5, "halo", "middle"))
        return parts


def _number(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"
