"""Packing of pairs (source length, target length) into rows with a fixed room on either side.

A packing is an index in CSR form: row r holds the pairs `pair_ids[row_offsets[r] : row_offsets[r + 1]]`.
Texts with one side only pack with `target_lengths` all 0.
"""

import math
from collections import deque
from typing import NamedTuple

import numpy as np

from jax_mlperf.errors import UserError

SPREADS = (
    0.3,
    0.5,
    0.65,
    0.8,
    0.9,
)  # which packs best depends on how many pairs a row holds: from 3 to 9 all of them won
ALGORITHM = (
    "balanced 1"  # change it when the rows of `balanced` change, so that stored packings are made anew
)


class Packing(NamedTuple):
    """Which pairs stand in which row: row_offsets int64 [rows + 1], pair_ids int32 [pairs]."""

    row_offsets: np.ndarray
    pair_ids: np.ndarray

    @property
    def rows(self) -> int:
        """Number of rows."""
        return len(self.row_offsets) - 1


def first_fit(
    source_lengths: np.ndarray,
    target_lengths: np.ndarray,
    source_room: int,
    target_room: int,
    open_rows: int = 10,
) -> Packing:
    """Packs pairs in the order given, each into the oldest of `open_rows` rows that has room on both sides.

    The rule of the TPU submissions of v0.6 (`mlcommons/training_results_v0.6:Google/benchmarks/transformer/
    implementations/tpu-v3-1024-transformer/dataset_preproc`): a pair that fits nowhere opens a row, and when
    `open_rows` are open already the oldest is closed.

    Args:
      source_lengths, target_lengths: int [pairs], in subtokens.
      source_room, target_room: subtokens that a row holds on either side.
    """
    _check_lengths(source_lengths, target_lengths, source_room, target_room)
    open_: deque[tuple[list[int], list[int]]] = deque()  # (room left on either side, pairs)
    closed: list[list[int]] = []
    for pair, (source, target) in enumerate(
        zip(source_lengths.tolist(), target_lengths.tolist(), strict=True)
    ):
        for room, pairs in open_:
            if source <= room[0] and target <= room[1]:
                room[0] -= source
                room[1] -= target
                pairs.append(pair)
                break
        else:
            if len(open_) == open_rows:
                closed.append(open_.popleft()[1])
            open_.append(([source_room - source, target_room - target], [pair]))
    closed.extend(pairs for _, pairs in open_)
    sizes = np.array([len(pairs) for pairs in closed], np.int64)
    ids = np.array([pair for pairs in closed for pair in pairs], np.int32)
    return Packing(np.concatenate([[0], np.cumsum(sizes)]), ids)


def balanced(
    source_lengths: np.ndarray, target_lengths: np.ndarray, source_room: int, target_room: int, seed: int = 0
) -> Packing:
    """Packs all pairs at once, longest first: spreads the long ones evenly, then fits the short ones tightly.

    The fewest rows that could hold everything are opened up front. A share of the subtokens goes where there
    is most room in the proportions that the pair needs (the dot product of Panigrahy et al., "Heuristics for
    vector bin packing", 2011), which keeps both sides of every row in step; the rest goes where it leaves
    least, and what fits nowhere opens further rows. The best of several shares is taken. Pairs of equal
    lengths are alike, and so are rows with equal room left, so whole groups are placed at once (as histogram
    packing does, Krell et al., arXiv 2107.02027): the time hardly grows with the number of pairs.

    Args:
      seed: draws which of the pairs of equal lengths go where.
      others, returns and raises: as `first_fit`.
    """
    _check_lengths(source_lengths, target_lengths, source_room, target_room)
    if len(source_lengths) == 0:
        return Packing(np.zeros(1, np.int64), np.zeros(0, np.int32))
    shuffled = np.random.Generator(np.random.PCG64(seed)).permutation(len(source_lengths))
    kind_of_pair = source_lengths.astype(np.int64)[shuffled] * (target_room + 1) + target_lengths[shuffled]
    by_kind = shuffled[np.argsort(kind_of_pair, kind="stable")]
    kinds, counts = np.unique(kind_of_pair, return_counts=True)
    groups = np.split(by_kind, np.cumsum(counts)[:-1])
    source, target = np.divmod(kinds, target_room + 1)

    longest_first = np.lexsort((np.maximum(source, target), source + target))[::-1]
    sizes = np.stack([source, target, counts], axis=1)[longest_first]
    trials = (_rows_of_pairs(sizes, source_room, target_room, spread) for spread in SPREADS)
    row_of_pair = min(trials, key=lambda rows: rows.max())
    pairs = np.concatenate([groups[kind] for kind in longest_first])
    pairs_per_row = np.bincount(row_of_pair)
    pairs_per_row = pairs_per_row[pairs_per_row > 0]
    pair_ids = pairs[np.argsort(row_of_pair, kind="stable")].astype(np.int32)
    return Packing(np.concatenate([[0], np.cumsum(pairs_per_row)]), pair_ids)


def _rows_of_pairs(sizes: np.ndarray, source_room: int, target_room: int, spread: float) -> np.ndarray:
    """The row of each pair, int64 [pairs], for sizes int64 [kinds, (source, target, number of pairs)]."""
    loads = sizes[:, 2] @ sizes[:, :2]
    rows = _OpenRows(
        source_room, target_room, math.ceil(max(loads / np.maximum((source_room, target_room), 1)))
    )
    subtokens = sizes[:, :2].sum(1) * sizes[:, 2]
    tightly = np.cumsum(subtokens) > spread * subtokens.sum()
    placed = [
        rows.add(source, target, number, late)
        for (source, target, number), late in zip(sizes.tolist(), tightly.tolist(), strict=True)
    ]
    return np.concatenate(placed)


class _OpenRows:
    """Rows grouped by the room they have left."""

    def __init__(self, source_room: int, target_room: int, rows: int):
        self._full_room = (source_room, target_room)
        self._rows: dict[tuple[int, int], list[np.ndarray]] = {}  # room left -> rows, in arrays of any length
        self._present = np.zeros(
            (source_room + 1, target_room + 1), bool
        )  # whether any row has this room left
        self._opened = 0
        self._open(rows)

    def add(self, source: int, target: int, number: int, tightly: bool) -> np.ndarray:
        """Places pairs of one size where they leave least room, or where most is; returns the row of each."""
        placed: list[np.ndarray] = []
        while number:
            first = source * self._present.shape[1]
            a, b = np.divmod(np.flatnonzero(self._present.reshape(-1)[first:]), self._present.shape[1])
            fits = b >= target
            a, b = a[fits], b[fits] - target  # room that the pair would leave
            if len(a) == 0:
                fit = min(
                    room // size for room, size in zip(self._full_room, (source, target), strict=True) if size
                )
                self._open(-(-number // fit))
                continue
            best = (
                np.argmin(a + b + abs(a - b) / 2)
                if tightly
                else np.argmax((a + source) * source + (b + target) * target)
            )
            room = (source + int(a[best]), target + int(b[best]))
            rows = self._take(room, number)
            self._put((room[0] - source, room[1] - target), rows)
            placed.append(rows)
            number -= len(rows)
        return np.concatenate(placed)

    def _open(self, number: int) -> None:
        self._put(self._full_room, np.arange(self._opened, self._opened + number))
        self._opened += number

    def _take(self, room: tuple[int, int], number: int) -> np.ndarray:
        """At most `number` of the rows with this room."""
        like = self._rows[room]
        rows = like.pop()
        if len(rows) > number:
            like.append(rows[number:])
            rows = rows[:number]
        self._present[room] = bool(like)
        return rows

    def _put(self, room: tuple[int, int], rows: np.ndarray) -> None:
        if len(rows):
            self._rows.setdefault(room, []).append(rows)
            self._present[room] = True


def efficiency(
    packing: Packing,
    source_lengths: np.ndarray,
    target_lengths: np.ndarray,
    source_room: int,
    target_room: int,
) -> float:
    """Share of a packing's slots, both sides counted, that hold a subtoken."""
    used = source_lengths[packing.pair_ids].sum() + target_lengths[packing.pair_ids].sum()
    return float(used) / (packing.rows * (source_room + target_room))


def _check_lengths(source: np.ndarray, target: np.ndarray, source_room: int, target_room: int) -> None:
    if len(source) and (source.max() > source_room or target.max() > target_room):
        raise UserError(
            f"sides of up to {source.max()} and {target.max()} subtokens do not fit rows of {source_room} "
            f"and {target_room}: leave the longer pairs out or pack into longer rows"
        )
