"""Reference convergence points (RCPs): how many epochs, or samples, the reference needs at a batch size.

The rules are those of MLPerf's training rules (Reference Convergence Points) as its RCP checker carries them out; where text and
checker differ, the checker's way is taken.
"""

import dataclasses
import functools
import json
import math
import statistics
from collections.abc import Sequence
from pathlib import Path

from jax_mlperf.mlperf.scoring.convergence import olympic_mean

_FOLDER = Path(__file__).parent / "rcps"
_BENCHMARKS = ("resnet", "bert", "maskrcnn", "transformer")
# One-sided: a submission that is no faster than the reference is refused once in twenty times.
_SIGNIFICANCE = 0.05


@dataclasses.dataclass(frozen=True)
class ReferencePoint:
    """The reference at one batch size.

    Attributes:
      batch_size: global.
      mean: olympic mean of the runs' epochs (samples).
      stdev: population standard deviation of all runs; the rules' worked example leaves out two, the checker does not.
      runs: how many runs the t-test counts for the mean.
    """

    batch_size: float
    mean: float
    stdev: float
    runs: int


@dataclasses.dataclass(frozen=True)
class ReferenceTable:
    """The points of one benchmark.

    Attributes:
      rulesets: those of the compliance checker that they hold for.
      official: they are MLPerf's.
      source: where the numbers come from.
      points: all of them, by batch size.
    """

    rulesets: Sequence[str]
    official: bool
    source: str
    points: Sequence[ReferencePoint]


@functools.cache
def reference_table(benchmark: str) -> ReferenceTable | None:
    """The table of a benchmark; None where there is none."""
    if benchmark not in _BENCHMARKS:
        return None
    content = json.loads((_FOLDER / f"{benchmark}.json").read_text(encoding="utf-8"))
    points = sorted((reference_point(int(batch), epochs) for batch, epochs in content["points"].items()),
                    key=lambda point: point.batch_size)
    return ReferenceTable(content["rulesets"], content["official"], content["source"], points)


def reference_point(batch_size: float, epochs: Sequence[float]) -> ReferencePoint:
    """The point that at least three reference runs make."""
    mean = olympic_mean(epochs)
    assert mean is not None, "a reference point takes three runs"
    return ReferencePoint(batch_size, mean, statistics.pstdev(epochs), len(epochs) - 2)


def pruned(points: Sequence[ReferencePoint]) -> list[ReferencePoint]:
    """The points that submissions are judged by.

    Those of a smaller batch than the fastest point's are left out; then, from small to large batches, each that is slower than
    the line between its neighbours. As in the checker the walk does not look back after that, so what stays need not be convex.
    """
    fastest = min(points, key=lambda point: point.mean)
    kept = [point for point in points if point.batch_size >= fastest.batch_size]
    index = 1
    while index < len(kept) - 1:
        before, here, after = kept[index - 1:index + 2]
        if here.mean > interpolated(here.batch_size, before, after, runs=0).mean:
            del kept[index]
        else:
            index += 1
    return kept


def interpolated(batch_size: float, low: ReferencePoint, high: ReferencePoint, runs: int) -> ReferencePoint:
    """The point on the line between two others; `runs` is the number that the t-test is to count for it."""
    share = (batch_size - low.batch_size) / (high.batch_size - low.batch_size)
    return ReferencePoint(batch_size, low.mean + share * (high.mean - low.mean),
                          low.stdev + share * (high.stdev - low.stdev), runs)


def minimum(point: ReferencePoint, submission_runs: int) -> float:
    """The lowest mean that a submission of so many runs may have.

    A one-sided two-sample t-test with the point's stdev on both sides, where the submission counts without its fastest and
    slowest run: mean - t(0.95, n + m - 2) stdev sqrt(1/n + 1/m). The checker finds the same by bisection, to 0.0001.
    """
    if point.stdev == 0:
        return point.mean
    from scipy.special import stdtrit  # quantiles of Student's t; a quarter of what scipy.stats takes to import

    counted = submission_runs - 2
    quantile = float(stdtrit(point.runs + counted - 2, 1 - _SIGNIFICANCE))
    return max(0.0, point.mean - quantile * point.stdev * math.sqrt(1 / point.runs + 1 / counted))
