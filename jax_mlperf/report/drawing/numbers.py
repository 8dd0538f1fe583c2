"""Numbers as people read them."""

import datetime
import itertools
from collections.abc import Sequence

# Beyond these a log is wrong, and drawing would only flatten everything else: 10^12 for values, 19 years for minutes.
LARGEST_VALUE = 1e12
LONGEST_MINUTES = 1e7


def minutes(value: float | None) -> str:
    """Minutes with three decimals below one, two below a hundred: 0.400, 12.03, 105.4."""
    if value is None:
        return "–"
    return f"{value:.{3 if abs(value) < 1 else 2 if abs(value) < 100 else 1}f}"


def seconds(value: float | None) -> str:
    """Seconds with three significant digits, or whole ones."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"


def quality(value: float | None) -> str:
    """A logged quality: five decimals below ten, which tell apart what one of 50,000 evaluation samples changes."""
    if value is None:
        return "–"
    return f"{value:.5f}" if 1e-3 <= abs(value) < 10 or value == 0 else f"{value:.6g}"


def short(value: float) -> str:
    """A target or factor, without trailing zeros."""
    return f"{value:.6g}"


def rate(value: float | None) -> str:
    """Samples a second: 63,581 or 640.4."""
    if value is None:
        return "–"
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


def plural(count: int, one: str, many: str = "") -> str:
    """A number with its noun."""
    return f"{count:,} {one if count == 1 else many or one + 's'}"


def tick_texts(ticks: Sequence[float]) -> list[str]:
    """Labels of ticks: all with the decimals that their distance needs, millions and more in powers."""
    largest = max((abs(tick) for tick in ticks), default=0.0)
    factor, ending = next(((10.0 ** power, name) for power, name in ((9, " G"), (6, " M")) if largest >= 10 ** power), (1.0, ""))
    if largest >= LARGEST_VALUE:
        return [f"{tick:.3g}" for tick in ticks]
    scaled = [tick / factor for tick in ticks]
    return ["0" if ending and not number else f"{number:,.{_decimals(scaled, number)}f}{ending}" for number in scaled]


def _decimals(ticks: Sequence[float], number: float) -> int:
    """Of evenly spaced ticks all alike, of ticks on a logarithmic scale as many as each number needs."""
    steps = [after - before for before, after in itertools.pairwise(ticks)]
    even = not steps or max(steps) - min(steps) < 1e-6 * max(steps)
    group = ticks if even else [number]
    return next((digits for digits in range(7)
                 if all(abs(round(tick, digits) - tick) < 1e-9 + 1e-6 * abs(tick) for tick in group)), 6)


def time_range(first_ms: int, last_ms: int) -> str:
    """From when to when, in UTC; "" for times that no calendar has."""
    try:
        first, last = (datetime.datetime.fromtimestamp(ms / 1000, datetime.UTC) for ms in (first_ms, last_ms))
    except (OverflowError, OSError, ValueError):
        return ""
    begin = f"{first.day} {first:%B %Y}, {first:%H:%M}"
    if first.date() == last.date():
        return f"{begin} to {last:%H:%M} UTC"
    return f"{begin} to {last.day} {last:%B %Y}, {last:%H:%M} UTC"
