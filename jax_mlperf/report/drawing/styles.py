"""How series are told apart: by colour, and without colour by dashes and markers."""

import dataclasses
from collections.abc import Iterable

from jax_mlperf.report.drawing.markup import Markup, pixels, tag

COLOURS = 8
_DASHES = ("", "9 4", "3 3", "12 4 3 4")
_MARKERS = ("circle", "square", "diamond", "triangle", "down")


@dataclasses.dataclass(frozen=True)
class Style:
    """The look of series number `index` in every chart of a page; colours come from style.css."""

    index: int

    @property
    def colour(self) -> str:
        """CSS class of it."""
        return f"c{self.index % COLOURS + 1}"

    @property
    def dash(self) -> str | None:
        """Of lines; another one when the colours come round again."""
        return _DASHES[(self.index + self.index // COLOURS) % len(_DASHES)] or None

    def marker(self, x: float, y: float, radius: float, *, hollow: bool = False) -> Markup:
        """A point of the series."""
        kind = _MARKERS[(self.index + self.index // COLOURS) % len(_MARKERS)]
        class_ = f"{self.colour} {'hollow' if hollow else 'mark'}"
        if kind == "circle":
            return tag("circle", cx=x, cy=y, r=radius, class_=class_)
        return tag("path", d=_outline(kind, x, y, radius), class_=class_)

    def cross(self, x: float, y: float, radius: float) -> Markup:
        """A run that does not count."""
        side = pixels(2 * radius)
        return tag("path", d=f"M{pixels(x - radius)} {pixels(y - radius)}l{side} {side}m0 -{side}l-{side} {side}",
                   class_=f"{self.colour} cross")

    def swatch(self) -> Markup:
        """A piece of the line with a marker, for legends and tables."""
        line = tag("line", x1=1, y1=7, x2=31, y2=7, class_=f"{self.colour} line", stroke_dasharray=self.dash)
        return tag("svg", line, self.marker(16, 7, 4.5), viewBox="0 0 32 14", class_="swatch", aria_hidden="true")


def _outline(kind: str, x: float, y: float, radius: float) -> str:
    corners = {"square": ((-0.9, -0.9), (0.9, -0.9), (0.9, 0.9), (-0.9, 0.9)),
               "diamond": ((0, -1.25), (1.25, 0), (0, 1.25), (-1.25, 0)),
               "triangle": ((0, -1.2), (1.15, 0.9), (-1.15, 0.9)),
               "down": ((0, 1.2), (1.15, -0.9), (-1.15, -0.9))}[kind]
    return "M" + "L".join(f"{pixels(x + radius * dx)} {pixels(y + radius * dy)}" for dx, dy in corners) + "Z"


# Parts of a bar: CSS class of the colour, and how the area is hatched.
PARTS = {
    "initialise and compile": ("p1", ""), "train": ("p2", "solid"), "train and other": ("p2", "solid"),
    "compute": ("p2", "solid"), "communication": ("p4", "up"), "input wait": ("p3", "down"), "checkpoint": ("p5", "across"),
    "evaluate": ("p6", "upright"),
    "with communication": ("p2", "solid"), "without communication": ("p6", "upright"), "outside of phases": ("p7", ""),
    "price index": ("p5", "solid")}


def area(part: str, x: float, y: float, width: float, height: float, text: str) -> Markup:
    """One part of a bar: a filled box with its hatching, and a text that shows when the pointer rests on it."""
    colour, hatching = PARTS[part]
    box = tag("rect", x=x, y=y, width=width, height=height,
              class_=f"{colour} {'area' if hatching else 'area empty'}")
    strokes = _hatching(hatching, x, y, width, height)
    lines = tag("path", d=strokes, class_="hatch") if strokes else ""
    return tag("g", tag("title", text), box, lines)


def part_swatch(part: str) -> Markup:
    """A piece of a bar, for legends."""
    return tag("svg", area(part, 1, 1, 22, 12, part), viewBox="0 0 24 14", class_="swatch part", aria_hidden="true")


def part_legend(parts: Iterable[str]) -> Markup:
    """The names of parts with pieces of their bars."""
    return legend(*((part_swatch(part), part) for part in parts))


def _hatching(kind: str, x: float, y: float, width: float, height: float, step: float = 5.0) -> str:
    """Parallel lines inside a box, as a path."""
    if kind == "upright":
        return _path((x + at, y, x + at, y + height) for at in _steps(width, step))
    if kind == "across":
        return _path((x, y + at, x + width, y + at) for at in _steps(height, step - 1))
    if kind in ("up", "down"):
        found = []
        for at in _steps(width + height, step):
            right, left = min(at, width), max(0.0, at - height)
            top, bottom = at - right, at - left
            found.append((x + right, y + top, x + left, y + bottom) if kind == "up"
                         else (x + width - right, y + top, x + width - left, y + bottom))
        return _path(found)
    return ""


def _steps(length: float, step: float) -> list[float]:
    return [step * index for index in range(1, int(length / step) + 1) if step * index < length]


def _path(lines: Iterable[tuple[float, float, float, float]]) -> str:
    return "".join(f"M{pixels(x1)} {pixels(y1)}L{pixels(x2)} {pixels(y2)}" for x1, y1, x2, y2 in lines)


def legend(*entries: tuple[Markup, str]) -> Markup:
    """Swatches with their names."""
    return tag("ul", *(tag("li", swatch, " ", tag("bdi", name)) for swatch, name in entries), class_="legend")


def outcome_swatch(kind: str) -> Markup:
    """A dot, an empty dot or a cross in the colour of text, or a piece of a target's line ("target"), for legends."""
    if kind == "target":
        line = tag("line", x1=1, y1=7, x2=31, y2=7, class_="target")
        return tag("svg", line, viewBox="0 0 32 14", class_="swatch", aria_hidden="true")
    style = Style(0)
    mark = style.cross(7, 7, 4) if kind == "cross" else style.marker(7, 7, 4.5, hollow=kind == "hollow")
    return tag("svg", mark, viewBox="0 0 14 14", class_="swatch outcome", aria_hidden="true")

