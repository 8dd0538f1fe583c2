"""Batches of the Transformer benchmark from a folder that `jax_mlperf.data.transformer.prepare` made.

The order of an epoch is drawn from (seed, epoch) for all processes alike, and each process assembles its own
slice of the rows of every global batch: the same global batches on any number of processes, from any step on.
"""

import dataclasses
import functools
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

import numpy as np

from jax_mlperf.data import records
from jax_mlperf.data.encoding import read_lines
from jax_mlperf.data.subtokenizer import Subtokenizer
from jax_mlperf.data.transformer import (
    EVAL_REFERENCES,
    VOCABULARY,
    Meta,
    PackingMeta,
    packing_folder,
)
from jax_mlperf.errors import UserError

Batch = dict[str, np.ndarray]
SIDES = (("inputs", "source"), ("targets", "target"))
SHORTEST_BOUNDARY = 8  # of the reference's buckets, `transformer/utils/dataset.py`


class BatchShape(NamedTuple):
    """Global shape of a batch: rows of source_length and target_length slots."""

    rows: int
    source_length: int
    target_length: int


class EvalSources(NamedTuple):
    """Encoded evaluation sentences, longest first.

    Attributes:
      inputs: int32 [batches * batch, longest], 0 behind each EOS; the last batch is filled with repeats of
        the last row.
      order: int64 [sentences]: row i is sentence order[i].
    """

    inputs: np.ndarray
    order: np.ndarray


def bucket_bounds(max_length: int, growth: float) -> list[int]:
    """Exclusive upper bounds of the length buckets, of which the last is max_length + 1.

    From 8, each bound is max(x + 1, int(growth * x)) of the one before, while below max_length (growth 1.1 in
    the reference's `transformer/utils/dataset.py`). The comment there gives another, wrong example.
    """
    bounds, bound = [], SHORTEST_BOUNDARY
    while bound < max_length:
        bounds.append(bound)
        bound = max(bound + 1, int(bound * growth))
    return [*bounds, max_length + 1]


def bucket_shapes(max_length: int, growth: float, tokens: int, devices: int) -> list[BatchShape]:
    """One batch shape for each bucket: tokens // upper bound sentences, each of the longest one's slots.

    The sentences are rounded down to a multiple of devices, but for one on each.
    """
    bounds = bucket_bounds(max_length, growth)
    return [
        BatchShape(max(tokens // bound // devices, 1) * devices, bound - 1, bound - 1) for bound in bounds
    ]


class TranslationData:
    """Training batches and the evaluation set. Construction reads `meta.json` only, no sentence.

    A batch is a dict of int32 arrays [rows, slots]: "inputs" and "targets" (ids: 0 padding, 1 EOS), each with
    "_position" (from 0 in every segment) and "_segmentation" (from 1 in every row, 0 on padding). Every epoch
    holds every pair once; its last batches are filled up with empty rows, all zero.

    Args:
      folder: the prepared folder.
      batching: "packed": rows that hold several pairs, as prepared; "bucketed": one pair a row, batches of
        alike lengths.
      batch_size: rows of a packed global batch; tokens (of either side, padding counted) of a bucketed one.
      max_length: longest side of the pairs that are used, EOS counted.
      packed_lengths: source and target slots of a packed row; bucketed batches take theirs from the buckets.
      bucket_growth: ratio of neighbouring bucket bounds (bucketed only).
      devices: every batch holds a multiple of so many rows (bucketed only).
      process_index, process_count: which contiguous share of each global batch's rows this process yields.

    Raises:
      UserError: the folder or its packing was not prepared, or the rows do not divide over the processes.
    """

    def __init__(
        self,
        folder: Path,
        *,
        batching: Literal["packed", "bucketed"],
        batch_size: int,
        max_length: int,
        packed_lengths: tuple[int, int] = (256, 256),
        bucket_growth: float = 1.1,
        devices: int = 1,
        process_index: int = 0,
        process_count: int = 1,
    ):
        self.folder = Path(folder)
        self.meta = Meta(**_required_meta(self.folder, Meta, "the data"))
        self.packing: PackingMeta | None = None
        self._process = (process_index, process_count)
        self._max_length = max_length
        self._eval_sources: dict[int, EvalSources] = {}
        if batching == "packed":
            self._packing_folder = packing_folder(self.folder, *packed_lengths, max_length)
            self.packing = PackingMeta(
                **_required_meta(
                    self._packing_folder,
                    PackingMeta,
                    f"rows of {packed_lengths[0]}+{packed_lengths[1]} slots",
                )
            )
            self.batch_shapes = [BatchShape(batch_size, *packed_lengths)]
            self._bucket_sizes = np.array([self.packing.rows])
        elif batching == "bucketed":
            self.batch_shapes = bucket_shapes(max_length, bucket_growth, batch_size, devices)
            starts = [0, *(shape.source_length + 1 for shape in self.batch_shapes)]
            counts = self.meta.length_counts
            self._bucket_sizes = np.array([sum(counts[a:b]) for a, b in itertools.pairwise(starts)])
        else:
            raise UserError(f"batching is {batching!r}: it must be 'packed' or 'bucketed'")
        for shape in self.batch_shapes:
            if shape.rows % process_count:
                raise UserError(
                    f"a batch of {shape.rows} rows does not divide over {process_count} processes: "
                    "use a multiple"
                )
        if not self.train_samples:
            raise UserError(f"no training pair of {self.folder} is within max_length {max_length}: raise it")

    @property
    def train_samples(self) -> int:
        """Samples of an epoch: rows when packed, pairs when bucketed."""
        return int(self._bucket_sizes.sum())

    @property
    def steps_per_epoch(self) -> int:
        """Batches of an epoch, partly filled ones counted."""
        return sum(
            -(-int(size) // shape.rows)
            for size, shape in zip(self._bucket_sizes, self.batch_shapes, strict=True)
        )

    def train_batches(self, seed: int, step: int = 0) -> Iterator[Batch]:
        """This process's rows of the global batches from step on: a pure function of (seed, step)."""
        epoch, first = divmod(step, self.steps_per_epoch)
        while True:
            order = self._epoch_order(seed, epoch)
            for bucket, samples in order[first:]:
                yield self._assemble(self.batch_shapes[bucket], samples)
            epoch, first = epoch + 1, 0

    def _epoch_order(self, seed: int, epoch: int) -> list[tuple[int, np.ndarray]]:
        """The epoch's global batches: bucket and samples (fewer than its rows in a bucket's last batch)."""
        rng = np.random.Generator(np.random.PCG64([seed, epoch]))
        batches = []
        if self.packing:
            samples = rng.permutation(self.packing.rows)
            rows = self.batch_shapes[0].rows
            return [(0, samples[start : start + rows]) for start in range(0, len(samples), rows)]
        samples = rng.permutation(
            self._pairs_by_bucket
        )  # a copy; the pairs of one bucket are taken out in this order
        by_bucket = samples[np.argsort(self._bucket_of_pair[samples], kind="stable")]
        ends = np.cumsum(self._bucket_sizes)
        for bucket, (start, end) in enumerate(zip(ends - self._bucket_sizes, ends, strict=True)):
            rows = self.batch_shapes[bucket].rows
            batches += [(bucket, by_bucket[at : min(at + rows, end)]) for at in range(start, end, rows)]
        return [batches[i] for i in rng.permutation(len(batches))]

    def _assemble(self, shape: BatchShape, samples: np.ndarray) -> Batch:
        """The rows of this process of one global batch."""
        index, count = self._process
        rows = shape.rows // count
        mine = samples[index * rows : (index + 1) * rows]
        if self.packing:
            row_offsets, pair_ids = self._packed_rows
            starts = row_offsets[mine]
            sizes = row_offsets[mine + 1] - starts
            row_of_pair = np.repeat(np.arange(len(mine)), sizes)
            place_in_row = np.arange(len(row_of_pair)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
            pairs = pair_ids[starts[row_of_pair] + place_in_row]
        else:
            row_of_pair, place_in_row, pairs = np.arange(len(mine)), np.zeros(len(mine), np.int64), mine
        batch: Batch = {}
        for (name, side), slots in zip(SIDES, shape[1:], strict=True):
            batch |= _fill(name, self._sequences[side], pairs, row_of_pair, place_in_row + 1, rows, slots)
        return batch

    def eval_sources(self, batch: int) -> EvalSources:
        """The evaluation sentences in whole batches, longest first so that a batch ends together (cached)."""
        if batch not in self._eval_sources:
            self._eval_sources[batch] = self._encoded_evaluation(batch)
        return self._eval_sources[batch]

    def _encoded_evaluation(self, batch: int) -> EvalSources:
        sequences = records.Sequences(self.folder / "eval.source")
        lengths = sequences.lengths()
        order = np.argsort(-lengths, kind="stable")
        rows = -(-len(order) // batch) * batch
        filled = np.concatenate([order, np.full(rows - len(order), order[-1])])
        longest = int(lengths.max())
        batches = _fill("inputs", sequences, filled, np.arange(rows), np.ones(rows, np.int64), rows, longest)
        return EvalSources(batches["inputs"], order)

    @functools.cached_property
    def eval_references(self) -> list[str]:
        """Raw reference translations of the evaluation set."""
        return read_lines(self.folder / EVAL_REFERENCES)

    @functools.cached_property
    def subtokenizer(self) -> Subtokenizer:
        """The subtokenizer that the folder was encoded with."""
        return Subtokenizer.from_file(self.folder / VOCABULARY)

    @functools.cached_property
    def _sequences(self) -> dict[str, records.Sequences]:
        return {side: records.Sequences(self.folder / f"train.{side}") for _, side in SIDES}

    @functools.cached_property
    def _packed_rows(self) -> tuple[np.ndarray, np.ndarray]:
        return np.load(self._packing_folder / "row_offsets.npy"), np.load(
            self._packing_folder / "pair_ids.npy"
        )

    @functools.cached_property
    def _bucket_of_pair(self) -> np.ndarray:
        """uint8 or larger [all pairs]: the bucket of each; one past the last for pairs beyond max_length."""
        lengths = np.maximum(self._sequences["source"].lengths(), self._sequences["target"].lengths())
        bounds = [shape.source_length + 1 for shape in self.batch_shapes]
        return np.searchsorted(bounds, lengths, side="right").astype(np.int16)

    @functools.cached_property
    def _pairs_by_bucket(self) -> np.ndarray:
        return np.flatnonzero(self._bucket_of_pair < len(self.batch_shapes)).astype(np.int32)


def _fill(
    name: str,
    sequences: records.Sequences,
    pairs: np.ndarray,
    row_of_pair: np.ndarray,
    segments: np.ndarray,
    rows: int,
    slots: int,
) -> Batch:
    """Puts the pairs' tokens one behind the other into their rows.

    The padding behind each row counts as one more piece, so the rows are written from end to end without
    scattering.

    Args:
      pairs, row_of_pair, segments: int [pairs], the pairs of one row next to each other, rows ascending.
    """
    starts = sequences.offsets[pairs]
    lengths = sequences.offsets[pairs + 1] - starts
    used = np.bincount(row_of_pair, lengths, rows).astype(np.int64)
    pieces = len(pairs) + rows
    place = np.arange(len(pairs)) + row_of_pair
    padding = np.cumsum(np.bincount(row_of_pair, minlength=rows) + 1) - 1
    piece_length, piece_start = np.zeros(pieces, np.int64), np.zeros(pieces, np.int64)
    piece_segment = np.zeros(pieces, np.int32)
    piece_length[place], piece_length[padding] = lengths, slots - used
    piece_start[place], piece_segment[place] = starts, segments
    first_slot = np.cumsum(piece_length) - piece_length

    slot = np.arange(rows * slots)
    segmentation = np.repeat(piece_segment, piece_length)
    real = segmentation > 0
    position = slot - np.repeat(first_slot, piece_length)
    tokens = sequences.tokens.take(position + np.repeat(piece_start, piece_length), mode="clip")
    values = {
        name: np.multiply(tokens, real, dtype=np.int32),
        f"{name}_position": np.multiply(position, real, dtype=np.int32, casting="unsafe"),
        f"{name}_segmentation": segmentation,
    }
    return {key: value.reshape(rows, slots) for key, value in values.items()}


def _required_meta(folder: Path, kind: type[Meta] | type[PackingMeta], what: str) -> dict:
    meta = records.read_meta(folder)
    if meta is None or meta.keys() != {field.name for field in dataclasses.fields(kind)}:
        state = "has no meta.json" if meta is None else "is of another version"
        raise UserError(
            f"{what} was not prepared ({folder} {state}): "
            "run `python -m jax_mlperf data prepare` with this config"
        )
    return meta
