"""Batches of masked-language-model pre-training from a folder that `jax_mlperf.data.bert.prepare` made.

A batch is a number of sequences, packed several to a row or one to each. The samples of an epoch stand in an order that is
computed from (seed, epoch); windows of this stream are packed, by every process alike, and each assembles its own slice of the
rows of every global batch: the same global batches on any number of processes, from any step on.
"""

import functools
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_mlperf.data import bert
from jax_mlperf.data.pretraining_store import Samples
from jax_mlperf.data.sequence_packing import Dealt, Trial, deal, row_of_each, trial, window_batches
from jax_mlperf.data.shuffling import permuted
from jax_mlperf.errors import UserError

Batch = dict[str, np.ndarray]
_PACKING, _DEALING, _PLACES = 0, 1, 2  # streams of the seed


class Window(NamedTuple):
    """Consecutive batches that were packed together.

    Attributes:
      samples: int64 [placed], batch after batch and row after row.
      predictions: int64 [placed], of each.
      rows, batch_offsets: see `sequence_packing.Dealt`.
    """

    samples: np.ndarray
    predictions: np.ndarray
    rows: np.ndarray
    batch_offsets: np.ndarray


def predictions_per_row(max_sequence_length: int, max_predictions: int, masked_lm_prob: float, sequences_per_row: int) -> int:
    """The most predictions that sequences which fill a row together can have.

    A sequence of n tokens has round(masked_lm_prob * n) <= masked_lm_prob * n + 1/2, but at least one and at most
    max_predictions.
    """
    rounded_up = int(masked_lm_prob * max_sequence_length + sequences_per_row / 2 + 1e-9)
    return max(min(rounded_up, sequences_per_row * max_predictions), sequences_per_row)


class PretrainingData:
    """Training and evaluation batches. Construction reads meta.json and maps the indices, no sample.

    A batch of R rows of T slots, P predictions and S sequences is a dict of "input_ids", "segmentation" (1, 2, ... in each row,
    0: padding), "token_type_ids", "position_ids" int32 [R, T]; "masked_lm_positions" (slots of the row), "masked_lm_ids"
    int32 [R, P], "masked_lm_weights" float32 [R, P]; "sequence_starts" (slot of each [CLS]), "next_sentence_labels"
    (1: random) int32 [R, S], "next_sentence_weights" float32 [R, S]; and of the GLOBAL batch "predictions" and "sequences"
    float32 []. What no weight covers is 0.

    Every epoch holds every sample once; batches cross its end.

    Args:
      folder: the prepared folder.
      batch_size: sequences of a global batch.
      max_sequence_length: T.
      max_predictions: the most of one sequence.
      masked_lm_prob: share of a sequence's tokens that are predicted.
      packed: several sequences to a row.
      sequences_per_row: at most, when packed.
      rows_multiple: `rows` is one of it; itself one of process_count.
      process_index, process_count: which contiguous share of each global batch's rows this process yields.

    Attributes:
      meta: of the prepared folder.
      rows: of a global training batch.
      predictions_per_row: P.
      sequences_per_row: S.
      left_out: training sequences so far that their window had no room for.

    Raises:
      UserError: the folder was not prepared or is damaged, holds no samples or longer ones, or rows_multiple does not divide.
    """

    def __init__(self, folder: Path, *, batch_size: int, max_sequence_length: int, max_predictions: int,
                 masked_lm_prob: float, packed: bool, sequences_per_row: int = 4, rows_multiple: int = 1, process_index: int = 0,
                 process_count: int = 1):
        meta = bert.read_meta(folder)
        if meta is None:
            raise UserError(f"{folder} holds no prepared samples: run `python -m jax_mlperf data prepare` with this config")
        self.meta = meta
        self._slots = max_sequence_length
        self._batch_size = batch_size
        self._process = (process_index, process_count)
        self.left_out = 0
        self._check(folder, rows_multiple)
        self.sequences_per_row = sequences_per_row if packed else 1
        self.predictions_per_row = predictions_per_row(max_sequence_length, max_predictions, masked_lm_prob,
                                                       self.sequences_per_row)
        rows = self._trial.rows if packed else batch_size
        self.rows = -(-rows // rows_multiple) * rows_multiple
        self._train = Samples(folder / bert.TRAIN, list(meta.train_shards), list(meta.train_shards.values()))
        self._eval = Samples(folder / bert.EVAL, list(meta.eval_shards), list(meta.eval_shards.values()))

    def _check(self, folder: Path, rows_multiple: int) -> None:
        meta = self.meta
        if not meta.train_samples or not meta.eval_samples:
            raise UserError(f"{folder} holds {meta.train_samples:,} training and {meta.eval_samples:,} evaluation samples: "
                            "prepare it from more text")
        longest = int(np.flatnonzero(meta.length_counts)[-1])
        if max(longest, meta.longest_eval) > self._slots:
            raise UserError(f"{folder} holds samples of up to {max(longest, meta.longest_eval)} tokens, data.max_sequence_length "
                            f"is {self._slots}: prepare the data with this length")
        if rows_multiple % self._process[1]:
            raise UserError(f"rows come in multiples of {rows_multiple}, which do not divide over {self._process[1]} processes: "
                            "use as many devices on each")

    @functools.cached_property
    def _trial(self) -> Trial:
        counts = np.zeros(self._slots + 1, np.int64)
        counts[: len(self.meta.length_counts)] = self.meta.length_counts[: self._slots + 1]
        return trial(counts, self._batch_size, self._slots, self.sequences_per_row)

    def packing_efficiency(self) -> tuple[float, float]:
        """Share of the slots of used rows that hold tokens, and sequences a row, of a window of typical lengths."""
        return self._trial[:2]

    def train_batches(self, seed: int, step: int = 0) -> Iterator[Batch]:
        """This process's rows of the global batches from step on: a pure function of (seed, step)."""
        batches = window_batches(self.meta.train_samples, self._batch_size)
        number, batch = divmod(step, batches)
        while True:
            window = self._window(seed, number, batches)
            for place in range(batch, batches):
                slots = _rng(seed, _PLACES, number, place).permutation(self.rows)
                taken = slice(*window.batch_offsets[place : place + 2])
                self.left_out += self._batch_size - (taken.stop - taken.start)
                yield self._assemble(self._train, window.samples[taken], window.predictions[taken], slots[window.rows[taken]],
                                     self.rows)
            number, batch = number + 1, 0

    def eval_batches(self, rows: int) -> Iterator[Batch]:
        """Every evaluation sample once, in this process's share of batches of `rows` rows; what is left of the last is padding.

        Raises:
          UserError: the rows do not divide over the processes.
        """
        if rows % self._process[1]:
            raise UserError(f"an evaluation batch of {rows} rows does not divide over {self._process[1]} processes: change it")
        everything = self._packed_evaluation
        for first in range(0, int(everything.rows[-1]) + 1, rows):
            taken = slice(*np.searchsorted(everything.rows, (first, first + rows)))
            yield self._assemble(self._eval, everything.samples[taken], everything.predictions[taken],
                                 everything.rows[taken] - first, rows)

    def close(self) -> None:
        """Closes the shards."""
        self._train.close()
        self._eval.close()

    def _window(self, seed: int, number: int, batches: int) -> Window:
        """Packs the window of this number and deals it to its batches."""
        size = batches * self._batch_size
        epochs, places = np.divmod(np.arange(number * size, (number + 1) * size), self.meta.train_samples)
        samples = np.concatenate([permuted(seed, int(epoch), places[epochs == epoch], self.meta.train_samples)
                                  for epoch in np.unique(epochs)])
        entries = self._train.entries(samples)
        if self.sequences_per_row == 1:
            dealt = Dealt(np.arange(size), np.arange(size) % self._batch_size, np.arange(batches + 1) * self._batch_size)
        else:
            rows = row_of_each(entries["length"].astype(np.int64), self._slots, self.sequences_per_row,
                               _seed(seed, _PACKING, number))
            dealt = deal(rows, batches, self._batch_size, self.rows, _seed(seed, _DEALING, number))
        return Window(samples[dealt.sequences], entries["predictions"][dealt.sequences].astype(np.int64), *dealt[1:])

    @functools.cached_property
    def _packed_evaluation(self) -> Window:
        samples = np.arange(self.meta.eval_samples)
        entries = self._eval.entries(samples)
        rows = samples
        if self.sequences_per_row > 1:
            rows = row_of_each(entries["length"].astype(np.int64), self._slots, self.sequences_per_row, 0)
        order = np.argsort(rows, kind="stable")
        return Window(order, entries["predictions"][order].astype(np.int64), rows[order], np.array([0, len(order)]))

    def _assemble(self, source: Samples, samples: np.ndarray, predictions: np.ndarray, slots: np.ndarray, rows: int) -> Batch:
        """This process's rows of a global batch of `rows` rows, of which sequence i stands in row slots[i]."""
        index, count = self._process
        share = rows // count
        mine = np.flatnonzero(slots // share == index)
        mine = mine[np.argsort(slots[mine], kind="stable")]
        batch = _filled(source, samples[mine], slots[mine] - index * share,
                        (share, self._slots, self.predictions_per_row, self.sequences_per_row), self.meta.vocab_size)
        batch["predictions"] = np.array(predictions.sum(), np.float32)
        batch["sequences"] = np.array(len(samples), np.float32)
        return batch


def _rng(*stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(stream))


def _seed(*stream: int) -> int:
    return int(_rng(*stream).integers(1 << 62))


def _filled(source: Samples, samples: np.ndarray, rows: np.ndarray, shape: tuple[int, int, int, int], vocab_size: int) -> Batch:
    """The arrays of rows that hold these samples one behind the other.

    Args:
      rows: int [n], the row of each sample, ascending.
      shape: R, T, P, S.
    """
    share, slots, predictions, sequences = shape
    entries, values = source.fetch(samples)
    lengths, masked = entries["length"].astype(np.int64), entries["predictions"].astype(np.int64)
    start, first_prediction, segment = (_before_in_row(sizes, rows) for sizes in (lengths, masked, np.ones_like(lengths)))
    if len(values) and (values.max() >= max(vocab_size, slots) or (first_prediction + masked).max() > predictions):
        raise UserError(f"{source.folder} holds ids beyond {vocab_size - 1:,}, or more than {predictions} predictions in a row: "
                        "data.max_predictions or data.masked_lm_prob is not that of the data, or they are damaged; prepare again")
    batch = {name: np.zeros((share, slots), np.int32) for name in ("input_ids", "segmentation", "token_type_ids", "position_ids")}
    batch |= {name: np.zeros((share, predictions), np.int32) for name in ("masked_lm_positions", "masked_lm_ids")}
    batch |= {name: np.zeros((share, sequences), np.int32) for name in ("sequence_starts", "next_sentence_labels")}
    batch["masked_lm_weights"] = np.zeros((share, predictions), np.float32)
    batch["next_sentence_weights"] = np.zeros((share, sequences), np.float32)

    place = _counted(lengths)  # of each token in its sequence
    slot = np.repeat(rows * slots + start, lengths) + place
    offsets = entries["offset"].astype(np.int64)
    batch["input_ids"].reshape(-1)[slot] = values[np.repeat(offsets, lengths) + place]
    batch["segmentation"].reshape(-1)[slot] = np.repeat(segment + 1, lengths)
    batch["position_ids"].reshape(-1)[slot] = place
    batch["token_type_ids"].reshape(-1)[slot] = place >= np.repeat(entries["first"].astype(np.int64), lengths)

    place = _counted(masked)
    slot = np.repeat(rows * predictions + first_prediction, masked) + place
    at = np.repeat(offsets + lengths, masked) + place
    batch["masked_lm_positions"].reshape(-1)[slot] = values[at] + np.repeat(start, masked)
    batch["masked_lm_ids"].reshape(-1)[slot] = values[at + np.repeat(masked, masked)]
    batch["masked_lm_weights"].reshape(-1)[slot] = 1

    batch["sequence_starts"][rows, segment] = start
    batch["next_sentence_labels"][rows, segment] = entries["random_next"]
    batch["next_sentence_weights"][rows, segment] = 1
    return batch


def _before_in_row(sizes: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The sum of the sizes that stand before each in its row, int64 [n]; rows ascending."""
    before = np.cumsum(sizes) - sizes
    return before - before[np.searchsorted(rows, rows)]


def _counted(sizes: np.ndarray) -> np.ndarray:
    """0 .. size - 1 for each size, one behind the other."""
    return np.arange(int(sizes.sum())) - np.repeat(np.cumsum(sizes) - sizes, sizes)
