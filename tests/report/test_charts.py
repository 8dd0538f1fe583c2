"""Charts: what is drawn lands where the scale says."""

import re
import xml.etree.ElementTree as ET

import pytest

from jax_mlperf.report.drawing.bar_chart import Bar, Columns, StackedBars
from jax_mlperf.report.drawing.line_chart import Line, LineChart
from jax_mlperf.report.drawing.plot import NARROW, WIDE, Size
from jax_mlperf.report.drawing.strip_chart import Dot, Row, StripChart
from jax_mlperf.report.drawing.styles import COLOURS, Style

SIZES = pytest.mark.parametrize("size", [WIDE, NARROW], ids=["wide", "narrow"])


def elements(svg: str, name: str, class_: str = "") -> list[ET.Element]:
    return [element for element in ET.fromstring(svg).iter(name) if class_ in element.get("class", "").split() or not class_]


@SIZES
def test_points_and_targets_lie_where_the_scale_says(size: Size) -> None:
    points = [(1.0, 0.2), (2.0, 0.6), (4.0, 0.8)]
    chart = LineChart("minutes", "quality", [Line("run 0", Style(0), points, end="dot", mark=1), Line("run 1", Style(0), points[:2], end="cross")],
                      targets=[(0.75, "target 0.75")])
    svg = chart.draw(size, "T", "D")
    box, x, y = chart.scales(size)
    drawn = [tuple(map(float, point.split(","))) for point in elements(svg, "polyline")[0].get("points", "").split()]
    assert drawn == [pytest.approx((x(a), y(b)), abs=0.01) for a, b in points]
    # Equal steps of time have equal widths, and the axis begins at run_start.
    assert drawn[2][0] - drawn[1][0] == pytest.approx(2 * (drawn[1][0] - drawn[0][0]), abs=0.05)
    assert x(0.0) == box.left and box.left < drawn[0][0] < drawn[2][0] <= box.right
    target = elements(svg, "line", "target")[0]
    share = (0.75 - 0.6) / (0.8 - 0.6)
    assert float(target.get("y1", "")) == pytest.approx(drawn[1][1] + share * (drawn[2][1] - drawn[1][1]), abs=0.05)
    assert "target 0.75" in [text.text for text in elements(svg, "text")]
    dot = elements(svg, "circle", "mark")[0]
    assert (float(dot.get("cx", "")), float(dot.get("cy", ""))) == pytest.approx(drawn[1])
    assert len(elements(svg, "path", "cross")) == 1


def test_runs_that_differ_much_in_length_share_a_logarithmic_axis() -> None:
    chart = LineChart("minutes", "quality", [Line("a", Style(0), [(0.1, 0.5), (0.4, 0.7)]), Line("b", Style(1), [(1.0, 0.5), (40.0, 0.7)])])
    _, x, _ = chart.scales(WIDE)
    assert x.log and x(4.0) - x(0.4) == pytest.approx(x(40.0) - x(4.0))
    assert "minutes (logarithmic)" in chart.draw(WIDE, "T", "D")


@SIZES
def test_parts_of_a_bar_add_up(size: Size) -> None:
    chart = StackedBars("minutes", "min", [Bar("folder", {}), Bar("run 0", {"train": 6.0, "evaluate": 2.0}, "8.0"), Bar("run 1", {"train": 4.0}, "4.0")])
    svg = chart.draw(size, "T", "D")
    scale = chart.scale(size)
    boxes = [(float(rect.get("x", "")), float(rect.get("width", ""))) for rect in elements(svg, "rect", "area")]
    assert [width for _, width in boxes] == pytest.approx([scale(6) - scale(0), scale(2) - scale(0), scale(4) - scale(0)], abs=0.05)
    assert boxes[1][0] == pytest.approx(boxes[0][0] + boxes[0][1], abs=0.05)
    assert boxes[0][0] == boxes[2][0] == pytest.approx(scale.start, abs=0.01)
    assert boxes[0][1] + boxes[1][1] == pytest.approx(2 * boxes[2][1], abs=0.05)


def test_columns_stand_on_zero_and_stacked_ones_on_one_another() -> None:
    grouped = Columns("workers", "speedup", [("1", {"with communication": 1.0, "without communication": 1.0}),
                                             ("4", {"with communication": 2.0, "without communication": 3.0})], ideal=[1.0, 4.0])
    heights = [float(rect.get("height", "")) for rect in elements(grouped.draw(WIDE, "T", "D"), "rect", "area")]
    assert heights == pytest.approx([heights[0] * factor for factor in (1, 1, 2, 3)], abs=0.06)
    ideal = [float(line.get("y1", "")) for line in elements(grouped.draw(WIDE, "T", "D"), "line", "target")]
    assert grouped.scale(WIDE)(0) - ideal[1] == pytest.approx(4 * heights[0], abs=0.06)
    stacked = Columns("workers", "seconds", [("1", {"compute": 3.0, "communication": 1.0})], stacked=True)
    low, high = elements(stacked.draw(WIDE, "T", "D"), "rect", "area")
    assert float(high.get("y", "")) + float(high.get("height", "")) == pytest.approx(float(low.get("y", "")), abs=0.05)
    assert "4" in [text.text for text in elements(stacked.draw(WIDE, "T", "D"), "text", "halo")]


@SIZES
def test_dots_lie_on_their_numbers_and_the_mean_has_a_bar(size: Size) -> None:
    row = Row("folder", Style(0), [Dot(10.0, "hollow", "a"), Dot(11.0, "mark", "b"), Dot(13.0, "mark", "c"), Dot(20.0, "cross", "d")], 12.0)
    chart = StripChart("minutes", [row])
    svg, scale = chart.draw(size, "T", "D"), chart.scale(size)
    assert [float(dot.get("cx", "")) for dot in elements(svg, "circle")] == pytest.approx([scale(10), scale(11), scale(13)], abs=0.01)
    assert [dot.get("class") for dot in elements(svg, "circle")] == ["c1 hollow", "c1 mark", "c1 mark"]
    assert float(elements(svg, "line", "mean")[0].get("x1", "")) == pytest.approx(scale(12), abs=0.01)
    assert len(elements(svg, "path", "cross")) == 1


def test_series_differ_without_colour() -> None:
    looks = {(style.dash, re.sub(r"[\d. -]", "", style.marker(0, 0, 4).split(' class')[0]), style.colour) for style in map(Style, range(3 * COLOURS))}
    assert len(looks) == 3 * COLOURS
    assert len({(style.dash, style.marker(0, 0, 4).replace(style.colour, "")) for style in map(Style, range(COLOURS))}) == COLOURS


@SIZES
def test_a_chart_tells_what_it_is(size: Size) -> None:
    svg = LineChart("minutes", "quality", [Line("<run>", Style(0), [(1.0, 2.0)])]).draw(size, "T & U", 'the "text"')
    root = ET.fromstring(svg)
    assert root.get("role") == "img" and root.get("aria-label") == 'T & U. the "text"'
    assert [child.tag for child in root][:2] == ["title", "desc"]
    assert "<run>" in [title.text for title in elements(svg, "title")]
