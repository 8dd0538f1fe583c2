"""What every chart has: its sizes, its frame with axes, and the words that stand for it."""

import dataclasses
from collections.abc import Sequence

from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.markup import Markup, clean, join, tag
from jax_mlperf.report.drawing.scales import Scale


@dataclasses.dataclass(frozen=True)
class Size:
    """Of a drawing.

    Attributes:
      name: CSS class that shows it on screens that it fits.
      width, height: in its own units, about pixels.
      text: height of letters.
      ticks: most labels on the horizontal axis.
    """

    name: str
    width: float
    height: float
    text: float
    ticks: int

    def text_width(self, text: str) -> float:
        """An upper estimate of the length of a label."""
        return 0.6 * self.text * len(text)

    def letters(self, width: float) -> int:
        """How many letters surely fit."""
        return max(4, int(width / (0.6 * self.text)))


# Every chart is drawn twice, so that its letters stay legible on a phone.
WIDE = Size("wide", 920, 340, 13, 9)
NARROW = Size("narrow", 340, 270, 11.5, 6)


@dataclasses.dataclass(frozen=True)
class Box:
    """The area of a chart between its axes."""

    left: float
    right: float
    top: float
    bottom: float


def text(size: Size, content: str, x: float, y: float, class_: str = "", anchor: str = "start") -> Markup:
    """A label; y is the line that its letters stand on."""
    return tag("text", clean(content), x=x, y=y, class_=f"label {class_}".strip(), font_size=size.text,
               text_anchor=None if anchor == "start" else anchor)


def left_margin(size: Size, scale: Scale, most: int) -> float:
    """Room for the labels of a vertical axis."""
    return 10 + max((size.text_width(label) for label in numbers.tick_texts(scale.ticks(most))), default=0.0)


def vertical_axis(size: Size, box: Box, scale: Scale, label: str, most: int) -> Markup:
    """Lines across the box with their numbers, and the axis's name above them."""
    ticks = scale.ticks(most)
    parts: list[Markup] = [text(size, label, 0, size.text, "name")]
    for tick, number in zip(ticks, numbers.tick_texts(ticks), strict=True):
        y = scale(tick)
        parts += [tag("line", x1=box.left, y1=y, x2=box.right, y2=y, class_="grid"),
                  text(size, number, box.left - 7, y + 0.35 * size.text, "tick", "end")]
    return tag("g", *parts)


def horizontal_axis(size: Size, box: Box, scale: Scale, label: str, *, grid: bool = False) -> Markup:
    """Numbers under the box that do not touch each other, and the axis's name."""
    ticks = scale.ticks(size.ticks)
    parts = [tag("line", x1=box.left, y1=box.bottom, x2=box.right, y2=box.bottom, class_="axis")]
    free = -1e9
    for tick, number in zip(ticks, numbers.tick_texts(ticks), strict=True):
        x, half = scale(tick), size.text_width(number) / 2
        top, kind = (box.top, "grid") if grid else (box.bottom, "axis")
        parts.append(tag("line", x1=x, y1=top, x2=x, y2=box.bottom + 4, class_=kind))
        middle = min(max(x, half), size.width - half)
        if middle - half > free:
            parts.append(text(size, number, middle, box.bottom + 5 + size.text, "tick", "middle"))
            free = middle + half + 4
    parts.append(text(size, label, (box.left + box.right) / 2, box.bottom + 12 + 2 * size.text, "name", "middle"))
    return tag("g", *parts)


def below(size: Size) -> float:
    """Room for a horizontal axis with its name."""
    return 18 + 2 * size.text


def drawing(size: Size, title: str, description: str, parts: Sequence[Markup], height: float | None = None) -> Markup:
    """The SVG of one size; readers that do not see it get its title and description."""
    return tag("svg", tag("title", clean(title)), tag("desc", clean(description, 600)), join(*parts),
               viewBox=f"0 0 {size.width:g} {height or size.height:g}", class_=f"chart {size.name}", role="img",
               aria_label=clean(f"{title}. {description}", 800))
