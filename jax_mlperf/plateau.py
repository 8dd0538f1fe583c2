"""MLBench's Task 1a learning rate: linear warm-up by epochs, then halving where the validation loss stands still.

`mlbench/mlbench-benchmarks`, cifar10-resnet20-all-reduce; the halving is PyTorch's ReduceLROnPlateau with mode "min",
threshold_mode "abs". It runs on the host, once an epoch, after the evaluation.
"""

import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np


class PlateauState(NamedTuple):
    """Scalars, so that they can live in the optimizer's state.

    Attributes:
      best: float32, the least loss that counted as better; infinity before the first one.
      bad_epochs: int32, epochs since then that were not better, less those that a halving has used up.
      learning_rate: float32, of the epoch that follows.
      epoch: int32, epochs done.
    """

    best: np.ndarray
    bad_epochs: np.ndarray
    learning_rate: np.ndarray
    epoch: np.ndarray


_FACTOR = 0.5  # what a plateau multiplies the rate by
_PATIENCE = 1  # epochs without improvement that are borne; the next one lowers the rate
_THRESHOLD = 0.01  # a loss is better only when it is below the best one less this


@dataclass(frozen=True)
class Plateau:
    """The rule.

    Attributes:
      base: learning rate of one worker, from which the warm-up starts.
      workers: k; the warm-up ends at base * k.
      min_learning_rate: the rate never falls below it. MLBench sets it to `base`, so that one worker never lowers its rate.
    """

    base: float
    workers: int
    min_learning_rate: float = 0.02

    @property
    def warmup_epochs(self) -> float:
        """log2(workers)."""
        return math.log2(self.workers)

    def initial(self) -> PlateauState:
        """The state before the first epoch."""
        return _state(math.inf, 0, self.base, 0)

    def update(self, state: PlateauState, validation_loss: float) -> PlateauState:
        """The state after an epoch whose evaluation gave this mean loss; no bookkeeping during the warm-up."""
        best, bad_epochs, rate, epoch = (array.item() for array in map(np.asarray, state))
        epoch += 1
        if epoch <= self.warmup_epochs:
            share = min(1.0, epoch / self.warmup_epochs)
            return _state(best, bad_epochs, self.base * (1 + (self.workers - 1) * share), epoch)
        if epoch - 1 < self.warmup_epochs:  # the first epoch after a warm-up that did not end with an epoch
            rate = self.base * self.workers
        if validation_loss < best - _THRESHOLD:
            best, bad_epochs = validation_loss, 0
        else:
            bad_epochs += 1
        if bad_epochs > _PATIENCE:
            bad_epochs = 0
            rate = max(rate * _FACTOR, self.min_learning_rate)
        return _state(best, bad_epochs, rate, epoch)


def _state(best: float, bad_epochs: int, rate: float, epoch: int) -> PlateauState:
    return PlateauState(np.asarray(best, np.float32), np.asarray(bad_epochs, np.int32), np.asarray(rate, np.float32),
                        np.asarray(epoch, np.int32))
