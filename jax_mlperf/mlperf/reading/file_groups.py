"""Which result files have something in common, and how a sentence lists them."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence

from jax_mlperf.mlperf.reading.run_log import RunLog


def files_by(runs: Sequence[RunLog], values: Callable[[RunLog], Iterable[str]]) -> dict[str, list[str]]:
    """Value -> names of the files that have it, both in the order of the runs."""
    files: dict[str, list[str]] = defaultdict(list)
    for run in runs:
        for value in values(run):
            files[value].append(run.path.name)
    return dict(files)


def listed(names: Sequence[str], most: int) -> str:
    """At most so many names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")
