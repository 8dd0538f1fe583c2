"""Which samples go into which batch: pure functions of (seed, step), the same in every process.

A single worker shuffles all samples every epoch. For several, MLBench cuts one shuffled list into a part for each, once and for
the whole run; each worker shuffles its part anew every epoch
(`mlbench/mlbench-core:mlbench_core/dataset/util/pytorch/partition.py`).
"""

import functools
import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from jax_mlperf.errors import UserError

PADDING = -1
_PARTITION, _EPOCH = 0, 1  # streams of the seed


def _permutation(size: int, *stream: int) -> np.ndarray:
    return np.random.default_rng(stream).permutation(size).astype(np.int32)


def partition(order: np.ndarray, workers: int) -> list[np.ndarray]:
    """`order` cut into contiguous parts, which end at int() of the cumulative fractions (float64 sums of 1 / workers).

    The last part goes to the end, also where the fractions sum to 0.9999999999999999 and MLBench loses an image (k = 10).
    """
    ends = (np.cumsum(np.full(workers, 1.0 / workers)) * len(order)).astype(np.int64)
    return np.split(order, ends[:-1])[:workers]


@dataclass(frozen=True)
class TrainOrder:
    """The batches of a run.

    Args:
      samples: in the training set.
      workers: k; 1 shuffles all samples every epoch.
      worker_batch_size: b, samples of one worker in one step.
      seed: of the partition and of every epoch's order.
      drop_last: leave out what fills no whole batch; otherwise an epoch's last batch is filled with -1.

    Raises:
      UserError: some worker would have no sample in a step.
    """

    samples: int
    workers: int
    worker_batch_size: int
    seed: int
    drop_last: bool = False

    def __post_init__(self) -> None:
        """Refuses what cannot make a batch."""
        for name, value in (("workers", self.workers), ("batch size of a worker", self.worker_batch_size)):
            if value < 1:
                raise UserError(f"the {name} is {value}, must be at least 1")
        smallest = min(self._sizes)
        if smallest <= (self.steps_per_epoch - 1) * self.worker_batch_size or not self.steps_per_epoch:
            raise UserError(f"{self.samples} samples over {self.workers} workers are {smallest} for one of them, too few for "
                            f"batches of {self.worker_batch_size}: take fewer workers or smaller batches")

    @functools.cached_property
    def _sizes(self) -> list[int]:
        return [len(part) for part in partition(np.arange(self.samples), self.workers)]

    @property
    def steps_per_epoch(self) -> int:
        """Steps in one pass of every worker over its part."""
        if self.drop_last:
            return min(self._sizes) // self.worker_batch_size
        return -(-max(self._sizes) // self.worker_batch_size)

    def batches(self, step: int) -> Iterator[np.ndarray]:
        """int32 [workers * worker_batch_size] for `step`, `step + 1`, ... without end: worker 0's rows first, -1 = padding."""
        for epoch in itertools.count(step // self.steps_per_epoch):
            order = self._epoch(epoch)
            first = step - epoch * self.steps_per_epoch if epoch == step // self.steps_per_epoch else 0
            yield from order[first:]

    def _epoch(self, epoch: int) -> np.ndarray:
        """int32 [steps_per_epoch, workers * worker_batch_size]."""
        slots = self.steps_per_epoch * self.worker_batch_size
        order = np.full((self.workers, slots), PADDING, np.int32)
        for worker, part in enumerate(self._parts):
            shuffled = part[_permutation(len(part), self.seed, _EPOCH, epoch, worker)][:slots]
            order[worker, : len(shuffled)] = shuffled
        by_step = order.reshape(self.workers, self.steps_per_epoch, self.worker_batch_size).swapaxes(0, 1)
        return by_step.reshape(self.steps_per_epoch, -1)

    @functools.cached_property
    def _parts(self) -> list[np.ndarray]:
        return partition(_permutation(self.samples, self.seed, _PARTITION), self.workers)


def eval_batches(samples: int, workers: int, worker_batch_size: int, seed: int) -> np.ndarray:
    """int32 [batches, workers * worker_batch_size]: every sample once, each worker its part of a shuffled list, -1 = padding."""
    parts = partition(_permutation(samples, seed, _PARTITION), workers)
    batches = -(-max(len(part) for part in parts) // worker_batch_size)
    order = np.full((workers, batches * worker_batch_size), PADDING, np.int32)
    for worker, part in enumerate(parts):
        order[worker, : len(part)] = part
    return order.reshape(workers, batches, worker_batch_size).swapaxes(0, 1).reshape(batches, -1)
