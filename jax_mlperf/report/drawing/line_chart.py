"""Lines over a horizontal axis: quality against time, throughput over time."""

import dataclasses
from collections.abc import Sequence

from jax_mlperf.report.drawing import plot
from jax_mlperf.report.drawing.markup import Markup, pixels, tag
from jax_mlperf.report.drawing.plot import Box, Size
from jax_mlperf.report.drawing.scales import Scale, around, wants_log
from jax_mlperf.report.drawing.styles import Style
from jax_mlperf.report.drawing.thinning import Point, thin

# From so many lines on they are drawn thin.
_MANY = 24


@dataclasses.dataclass(frozen=True)
class Line:
    """One run.

    Attributes:
      name: shown when the pointer rests on it.
      style: its look.
      points: from left to right.
      end: "dot" at `mark`, "cross" at the last point, or "" for nothing.
      mark: index of the point that the dot stands on.
    """

    name: str
    style: Style
    points: Sequence[Point]
    end: str = ""
    mark: int = -1


@dataclasses.dataclass(frozen=True)
class LineChart:
    """What a chart of lines shows.

    Attributes:
      x_label, y_label: names of the axes, with units.
      lines: each with a point at least.
      targets: (value, words) of lines across the chart.
      y_zero: the vertical axis begins at 0.
    """

    x_label: str
    y_label: str
    lines: Sequence[Line]
    targets: Sequence[tuple[float, str]] = ()
    y_zero: bool = False

    @property
    def log_x(self) -> bool:
        """Whether the horizontal axis is logarithmic: the longest line is many times as long as the shortest."""
        return wants_log([x for x, _ in line.points] for line in self.lines)

    @property
    def log_y(self) -> bool:
        """Whether the vertical axis is logarithmic; only charts from 0 are candidates."""
        return self.y_zero and wants_log([y for _, y in line.points] for line in self.lines)

    def scales(self, size: Size) -> tuple[Box, Scale, Scale]:
        """The area and its two scales."""
        top, bottom = size.text + 16, size.height - plot.below(size)
        xs = [x for line in self.lines for x, _ in line.points]
        ys = [y for line in self.lines for _, y in line.points] + [value for value, _ in self.targets]
        y = around(ys, bottom, top, zero=self.y_zero, log=self.log_y)
        left = plot.left_margin(size, y, _most(size))
        right = size.width - 12
        return Box(left, right, top, bottom), around(xs, left, right, zero=True, log=self.log_x and min(xs) > 0), y

    def draw(self, size: Size, title: str, description: str) -> Markup:
        """The chart in one size."""
        box, x, y = self.scales(size)
        parts = [plot.vertical_axis(size, box, y, self.y_label + (" (logarithmic)" if y.log else ""), _most(size)),
                 plot.horizontal_axis(size, box, x, self.x_label + (" (logarithmic)" if x.log else ""))]
        parts += [tag("line", x1=box.left, y1=y(value), x2=box.right, y2=y(value), class_="target") for value, _ in self.targets]
        most = max(60, min(400, int(6000 / len(self.lines))))
        drawn = [(line, [(x(a), y(b)) for a, b in thin(line.points, most)]) for line in self.lines]
        parts.append(tag("g", *(_line(line, points) for line, points in drawn), class_="many" if len(drawn) > _MANY else None))
        parts += [end for line in self.lines for end in _end(line, x, y)]
        return plot.drawing(size, title, description, [*parts, *_target_labels(size, box, y, self.targets)])


def _most(size: Size) -> int:
    return 7 if size.width > 500 else 6


def _line(line: Line, points: Sequence[Point]) -> Markup:
    at = " ".join(f"{pixels(x)},{pixels(y)}" for x, y in points)
    return tag("g", tag("title", line.name),
               tag("polyline", points=at, class_=f"{line.style.colour} line", stroke_dasharray=line.style.dash))


def _end(line: Line, x: Scale, y: Scale) -> list[Markup]:
    """The mark of a run's outcome; a dot for a line of a single point, which would not be seen."""
    def at(index: int) -> tuple[float, float]:
        return x(line.points[index][0]), y(line.points[index][1])

    if line.end == "dot":
        return [line.style.marker(*at(line.mark), 4.5)]
    if line.end == "cross":
        return [line.style.cross(*at(-1), 4.5)]
    return [line.style.marker(*at(0), 3.5)] if len(line.points) == 1 else []


def _target_labels(size: Size, box: Box, y: Scale, targets: Sequence[tuple[float, str]]) -> list[Markup]:
    """The highest line has its words above it; others below theirs, where there is room."""
    labels: list[Markup] = []
    taken: list[float] = []
    for value, words in sorted(targets, key=lambda target: y(target[0])):
        above, below = y(value) - 5, y(value) + size.text + 2
        fits = [at for at in (above, below) if 2 * size.text + 4 <= at <= box.bottom - 3
                and all(abs(at - other) > size.text + 3 for other in taken)]
        if fits:
            taken.append(fits[0])
            labels.append(plot.text(size, words[:size.letters(box.right - box.left)], box.left + 8, fits[0], "halo"))
    return labels
