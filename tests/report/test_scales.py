"""Scales, ticks, thinning and numbers against values worked by hand."""

import pytest

from jax_mlperf.report.drawing import numbers
from jax_mlperf.report.drawing.markup import clean, escape, tag
from jax_mlperf.report.drawing.scales import Scale, around, linear_ticks, wants_log
from jax_mlperf.report.drawing.strip_chart import beeswarm
from jax_mlperf.report.drawing.thinning import thin


@pytest.mark.parametrize("low, high, most, expected", [
    (0, 12.3, 8, [0, 2, 4, 6, 8, 10, 12]), (0.30, 0.76, 6, [0.3, 0.4, 0.5, 0.6, 0.7]), (-3, 3, 4, [-2, 0, 2]),
    (0, 63_000, 7, [0, 10_000, 20_000, 30_000, 40_000, 50_000, 60_000]), (12.019, 12.041, 5, [12.02, 12.025, 12.03, 12.035, 12.04]),
    (0, 1e-7, 3, [0, 5e-8, 1e-7])])
def test_ticks_are_round_and_lie_inside(low: float, high: float, most: int, expected: list[float]) -> None:
    assert linear_ticks(low, high, most) == pytest.approx(expected, rel=1e-9, abs=1e-15)


def test_a_scale_maps_its_ends_and_its_middle() -> None:
    scale = Scale(10, 20, 300, 100)
    assert [scale(value) for value in (10, 15, 20, 25)] == [300, 200, 100, 0]
    log = Scale(0.1, 10, 0, 200, log=True)
    assert [log(value) for value in (0.1, 1, 10)] == pytest.approx([0, 100, 200])
    assert log(0.0) == 0
    assert log.ticks(9) == [0.1, 0.2, 0.5, 1, 2, 5, 10]
    assert Scale(1, 1e6, 0, 1, log=True).ticks(7) == [1, 10, 100, 1e3, 1e4, 1e5, 1e6]


def test_axes_hold_their_values() -> None:
    assert around([3, 5], 0, 100, zero=True, margin=0).low == 0
    assert around([-4, -2], 0, 100, zero=True).high == 0
    same = around([7, 7], 0, 100)
    assert same.low < 7 < same.high and same(7) == pytest.approx(50)
    nothing = around([0.0], 0, 100, zero=True)
    assert nothing.low == 0 and nothing.high > 0
    assert around([2, 800], 0, 1, log=True).log and not around([0, 800], 0, 1, log=True).log


def test_far_apart_means_more_than_twelve_times() -> None:
    assert wants_log([[1, 2], [30]]) and not wants_log([[2], [20]]) and not wants_log([[0.0], [20]]) and not wants_log([])


def test_thinning_keeps_first_last_and_extremes() -> None:
    points = [(float(at), (at * 7919) % 1000 / 1000) for at in range(10_000)]
    points[4321] = (4321.0, 9.0)
    points[1234] = (1234.0, -9.0)
    kept = thin(points, 200)
    assert len(kept) <= 200 and kept[0] == points[0] and kept[-1] == points[-1]
    assert points[4321] in kept and points[1234] in kept
    assert kept == sorted(kept) and set(kept) <= set(points)
    assert thin(points[:5], 5) == points[:5]


def test_dots_that_would_touch_get_levels() -> None:
    assert beeswarm([100, 100, 100, 200, 105]) == [0, 1, -1, 0, 2]


@pytest.mark.parametrize("value, minutes, quality", [
    (0.4, "0.400", "0.40000"), (12.0333, "12.03", "12.0333"), (105.44, "105.4", "105.44"), (None, "–", "–"), (0.758999, "0.759", "0.75900")])
def test_numbers_have_sensible_digits(value: float | None, minutes: str, quality: str) -> None:
    assert numbers.minutes(value) == minutes
    assert numbers.quality(value) == quality


def test_tick_labels() -> None:
    assert numbers.tick_texts([0, 20_000, 40_000]) == ["0", "20,000", "40,000"]
    assert numbers.tick_texts([0.3, 0.35, 0.4]) == ["0.30", "0.35", "0.40"]
    assert numbers.tick_texts([0.5, 1, 2, 5]) == ["0.5", "1", "2", "5"]
    assert numbers.tick_texts([0, 500_000, 1_000_000]) == ["0", "0.5 M", "1.0 M"]


def test_times_that_no_calendar_has_are_left_out() -> None:
    assert numbers.time_range(1_700_000_000_000, 1_700_003_600_000) == "14 November 2023, 22:13 to 23:13 UTC"
    assert numbers.time_range(0, 10 ** 20) == ""


def test_everything_is_escaped() -> None:
    assert tag("b", "<&\"'", title='">') == '<b title="&quot;&gt;">&lt;&amp;&quot;&#x27;</b>'
    assert tag("p", tag("b", 1), class_="x", hidden=None) == '<p class="x"><b>1</b></p>'
    assert escape("a\x00\u202eb\ud800") == "a\ufffd\ufffdb\ufffd"
    assert clean("x" * 4000, 21) == "x" * 10 + "…" + "x" * 10
