"""From numbers to pixels, and the round numbers that stand on an axis."""

import dataclasses
import math
from collections.abc import Iterable

# Ranges of more than this factor get a logarithmic axis: below, the smallest still has a twelfth of the axis.
LOG_FROM = 12.0
# A range below this is no range.
_SMALLEST = 1e-12


@dataclasses.dataclass(frozen=True)
class Scale:
    """Maps low..high to start..stop.

    Attributes:
      low, high: numbers at the ends, low < high; both above 0 where `log`.
      start, stop: pixels at the ends.
      log: equal factors have equal lengths.
    """

    low: float
    high: float
    start: float
    stop: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Pixels of a number; numbers outside stay outside, except that a logarithmic scale begins at `low`."""
        if self.log:
            share = math.log(max(value, self.low) / self.low) / math.log(self.high / self.low)
        else:
            share = (value - self.low) / (self.high - self.low)
        return self.start + share * (self.stop - self.start)

    def ticks(self, most: int) -> list[float]:
        """At most so many round numbers from low to high."""
        return _log_ticks(self.low, self.high, most) if self.log else linear_ticks(self.low, self.high, most)


def linear_ticks(low: float, high: float, most: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten, as many as fit under `most`."""
    power = 10.0 ** math.floor(math.log10((high - low) / most))
    for step in (power * factor for factor in (1, 2, 5, 10, 20, 50)):
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
        if last - first + 1 <= most:
            return [round(index * step, 12 - math.floor(math.log10(step))) for index in range(first, last + 1)]
    return [low, high]


def _log_ticks(low: float, high: float, most: int) -> list[float]:
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for digits in ((1, 2, 5), (1, 3), (1,)):
        ticks = [digit * 10.0 ** power for power in decades for digit in digits]
        inside = [float(f"{tick:.6g}") for tick in ticks if low * (1 - 1e-9) <= tick <= high * (1 + 1e-9)]
        if len(inside) <= most:
            break
    else:
        inside = inside[::math.ceil(len(inside) / most)]
    return inside if len(inside) >= 2 else linear_ticks(low, high, most)


def around(values: Iterable[float], start: float, stop: float, *, zero: bool = False, log: bool = False,
           margin: float = 0.04) -> Scale:
    """A scale that holds all values.

    Args:
      values: what has to fit.
      start, stop: pixels at the ends.
      zero: begin (or end) at 0.
      log: logarithmic, where all values are well above 0.
      margin: share of the range that is left free at an end that is not 0.
    """
    found = list(values) or [0.0, 1.0]
    low, high = min(found), max(found)
    if log and low > _SMALLEST:
        low, high = (low, high) if high > low * 1.001 else (low / 2, high * 2)
        spare = (high / low) ** margin
        return Scale(low / spare, high * spare, start, stop, log=True)
    if zero:
        low, high = min(low, 0.0), max(high, 0.0)
    if high - low <= max(1e-9 * max(abs(low), abs(high)), _SMALLEST):
        spare = abs(high) / 2 or 1.0
        low, high = (low - spare, high + spare) if not zero else (0.0, 1.0)
    spare = margin * (high - low)
    return Scale(low - (0 if zero and low == 0 else spare), high + (0 if zero and high == 0 else spare), start, stop)


def wants_log(groups: Iterable[Iterable[float]]) -> bool:
    """Whether groups of numbers lie so far apart that the smaller ones would vanish on a linear axis."""
    largest = [max(values) for group in groups if (values := list(group))]
    return bool(largest) and min(largest) > 0 and max(largest) > LOG_FROM * min(largest)
