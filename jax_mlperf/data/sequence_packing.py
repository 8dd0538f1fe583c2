"""Windows of sequences packed into rows, and the rows dealt to batches that all hold the same number of sequences."""

import math
from typing import NamedTuple

import numpy as np

from jax_mlperf.data.packing import balanced

MAX_WINDOW = 65_536  # sequences; balanced() packs so many to 99.3 % in 0.3 s
_DEVIATIONS = 4  # of a window's mean length that the rows of a batch leave room for
_LEAST_MARGIN = 0.01


class Dealt(NamedTuple):
    """Packed sequences of a window, batch after batch and row after row.

    Attributes:
      sequences: int64 [placed], which of the window.
      rows: int64 [placed], the row in its batch, from 0.
      batch_offsets: int64 [batches + 1]; batch b is places batch_offsets[b] to batch_offsets[b + 1].
    """

    sequences: np.ndarray
    rows: np.ndarray
    batch_offsets: np.ndarray


class Trial(NamedTuple):
    """What a window packs into whose lengths are those of the whole set.

    Attributes:
      efficiency: share of the used rows' slots that hold tokens.
      sequences_per_row: their mean.
      rows: that a batch needs, with room for the chance of the draw.
    """

    efficiency: float
    sequences_per_row: float
    rows: int


def window_batches(samples: int, batch_size: int) -> int:
    """Batches that are packed together: as many samples as there are, at most MAX_WINDOW, but a whole batch."""
    return max(1, min(samples, MAX_WINDOW) // batch_size)


def row_of_each(lengths: np.ndarray, slots: int, sequences_per_row: int, seed: int) -> np.ndarray:
    """The row that each sequence is packed into, int64 [n], from 0; the seed draws which of equal lengths meet."""
    packed = balanced(lengths, np.ones(len(lengths), np.int64), slots, sequences_per_row, seed)
    rows = np.empty(len(lengths), np.int64)
    rows[packed.pair_ids] = np.repeat(np.arange(packed.rows), np.diff(packed.row_offsets))
    return rows


def trial(length_counts: np.ndarray, batch_size: int, slots: int, sequences_per_row: int) -> Trial:
    """Packs and deals one window whose lengths are the quantiles of all: how many rows a batch needs.

    The mean length of a window of n sequences is off by chance. Drawn without repeats, one half of it in one epoch and the other
    in the next, its standard deviation is that of the lengths times sqrt((1 - n / (2 samples)) / n): four of these, at least 1 %,
    are added.

    Args:
      length_counts: int [slots + 1], how many samples have 0, 1, ... tokens; not all 0.
    """
    samples = int(length_counts.sum())
    batches = window_batches(samples, batch_size)
    number = batches * batch_size
    quantiles = (np.arange(number) + 0.5) * samples / number
    lengths = np.searchsorted(np.cumsum(length_counts), quantiles, side="right")
    rows = row_of_each(lengths, slots, sequences_per_row, 0)
    dealt = deal(rows, batches, batch_size, batch_size, 0)
    used = int(rows.max()) + 1
    chance = float(lengths.std() / lengths.mean()) * math.sqrt(max(1 - number / (2 * samples), 0.5) / number)
    margin = max(_LEAST_MARGIN, _DEVIATIONS * chance)
    needed = max(used / batches * (1 + margin), int(dealt.rows.max()) + 1)
    return Trial(float(lengths.sum()) / (used * slots), number / used, min(math.ceil(needed), batch_size))


def deal(rows: np.ndarray, batches: int, batch_size: int, max_rows: int, seed: int) -> Dealt:
    """Deals the rows of a window to its batches, `batch_size` sequences to each.

    Rows of most sequences are dealt first, the same number to each batch; what is left over goes to the batches that have saved
    fewest rows so far, and rows of one sequence fill up. Where that cannot come out even, a row is split. A batch that needs more
    than `max_rows` leaves its last rows out, those of fewest sequences.

    Args:
      rows: int [batches * batch_size], the row of each sequence, every row from 0 used.
      seed: of the order in which rows are dealt.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    sizes = np.bincount(rows)
    order = rng.permutation(len(sizes))
    batch_of_row = np.full(len(sizes), -1)
    held, saved = np.zeros(batches, np.int64), np.zeros(batches, np.int64)
    for size in range(int(sizes.max()), 1, -1):
        alike = order[sizes[order] == size]
        each, rest = divmod(len(alike), batches)
        batch_of_row[alike] = np.concatenate([np.tile(np.arange(batches), each), np.argsort(saved, kind="stable")[:rest]])
        added = np.bincount(batch_of_row[alike], minlength=batches)
        held, saved = held + size * added, saved + (size - 1) * added
    rows, sizes, batch_of_row, held = _split_surplus(rows, sizes, batch_of_row, held, batch_size)
    singles = np.flatnonzero(batch_of_row < 0)
    batch_of_row[rng.permutation(singles)] = np.repeat(np.arange(batches), batch_size - held)
    return _in_batches(rows, sizes, batch_of_row, batches, max_rows)


def _split_surplus(
    rows: np.ndarray, sizes: np.ndarray, batch_of_row: np.ndarray, held: np.ndarray, batch_size: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Gives sequences of batches with more than batch_size rows of their own, which no batch has yet."""
    moved = []
    for batch in np.flatnonzero(held > batch_size).tolist():
        # A row gives all but one.
        spare = np.flatnonzero(np.isin(rows, np.flatnonzero(batch_of_row == batch)))
        spare = spare[np.argsort(rows[spare], kind="stable")]
        spare = spare[np.concatenate([[False], np.diff(rows[spare]) == 0])]
        moved.append(spare[: held[batch] - batch_size])
    if not moved:
        return rows, sizes, batch_of_row, held
    sequences = np.concatenate(moved)
    rows = rows.copy()
    rows[sequences] = len(sizes) + np.arange(len(sequences))
    return (rows, np.bincount(rows), np.concatenate([batch_of_row, np.full(len(sequences), -1)]), np.minimum(held, batch_size))


def _in_batches(rows: np.ndarray, sizes: np.ndarray, batch_of_row: np.ndarray, batches: int, max_rows: int) -> Dealt:
    by_batch = np.lexsort((-sizes, batch_of_row))  # rows of most sequences first
    ends = np.cumsum(np.bincount(batch_of_row, minlength=batches))
    place = np.empty(len(sizes), np.int64)
    place[by_batch] = np.arange(len(sizes)) - np.concatenate([[0], ends])[batch_of_row[by_batch]]
    kept = np.flatnonzero(place[rows] < max_rows)
    order = kept[np.lexsort((place[rows[kept]], batch_of_row[rows[kept]]))]
    counts = np.bincount(batch_of_row[rows[order]], minlength=batches)
    return Dealt(order, place[rows[order]], np.concatenate([[0], np.cumsum(counts)]))
