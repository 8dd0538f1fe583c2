"""Fewer points for a line whose shape stays."""

from collections.abc import Sequence

Point = tuple[float, float]


def thin(points: Sequence[Point], most: int) -> list[Point]:
    """At most about `most` points: the first, the last, and of each stretch between them the lowest and the highest."""
    if len(points) <= most:
        return list(points)
    inner = range(1, len(points) - 1)
    stretches = max(1, (most - 2) // 2)
    kept = {0, len(points) - 1}
    for index in range(stretches):
        stretch = inner[index * len(inner) // stretches:(index + 1) * len(inner) // stretches]
        kept.add(min(stretch, key=lambda at: points[at][1]))
        kept.add(max(stretch, key=lambda at: points[at][1]))
    return [points[at] for at in sorted(kept)]
