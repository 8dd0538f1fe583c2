"""How much training a run took, and the mean that MLPerf takes of several runs."""

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from jax_mlperf.mlperf.reading.run_log import RunLog
from jax_mlperf.mlperf.scoring.scoring_rules import RULES

Kept = TypeVar("Kept")

# Images of an epoch where the closed division fixes the data: ImageNet's training set; COCO 2017's images with annotations.
DATA_SET_SAMPLES = {"resnet": 1_281_167, "maskrcnn": 117_266}


def olympic_mean(values: Iterable[float], not_converged: int = 0, drop: int = 1) -> float | None:
    """The mean without the `drop` lowest and the `drop` highest values (MLPerf training rules, Run Results).

    Args:
      values: of the converged runs.
      not_converged: further runs, without a value; they are the first of the highest to be dropped.
      drop: how many are dropped at either end.
    Returns:
      None where more runs than `drop` did not converge, or nothing is left.
    """
    return finite_mean(olympic_kept(sorted(values), not_converged, drop))


def olympic_kept(ordered: Sequence[Kept], not_converged: int, drop: int) -> Sequence[Kept]:
    """What an olympic mean is of: all but the fastest and slowest; arguments as `olympic_mean` has them, in order already."""
    return ordered[drop:len(ordered) - (drop - not_converged)] if not_converged <= drop else ordered[:0]


def finite_mean(values: Iterable[float]) -> float | None:
    """The mean; None of nothing, and where it is too large for a number."""
    values = list(values)
    mean = sum(values) / len(values) if values else math.nan
    return mean if math.isfinite(mean) else None


def counts_samples(benchmark: str | None) -> bool:
    """Whether epoch_num of this benchmark's logs is a number of training samples."""
    return benchmark in RULES and RULES[benchmark].epoch_num_is_samples


def epochs_to_converge(run: RunLog) -> float | None:
    """Epochs (BERT: samples) that a run trained: epoch_num of its last evaluation, to three digits as the RCP checker reads it.

    None where the log does not tell. A number of samples below one batch is none: some BERT logs of round v0.7 count steps.
    """
    if not run.evaluations or run.evaluations[-1].epoch is None:
        return None
    epochs = round(run.evaluations[-1].epoch, 3)
    if counts_samples(run.benchmark) and epochs < (run.number("global_batch_size") or 0):
        return None
    return epochs


def epoch_samples(run: RunLog) -> float | None:
    """Samples of an epoch: what the closed division fixes, else the log's train_samples."""
    if run.text("submission_division") == "closed" and run.benchmark in DATA_SET_SAMPLES:
        return DATA_SET_SAMPLES[run.benchmark]
    return run.number("train_samples")


def samples_per_second(run: RunLog) -> float | None:
    """Samples trained until convergence / seconds from run_start to run_stop: evaluations and waiting take their part."""
    epochs, minutes = epochs_to_converge(run), run.minutes
    samples = 1 if counts_samples(run.benchmark) else epoch_samples(run)
    if epochs is None or samples is None or not minutes:
        return None
    rate = epochs * samples / (60 * minutes)
    return rate if math.isfinite(rate) else None
