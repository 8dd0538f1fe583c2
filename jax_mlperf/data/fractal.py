"""Randomised Kronecker ("fractal") expansion of a set of ratings, after Belletti et al., arXiv 1901.08910.

A reduced image A of the rating matrix B gives the keep rates; block (i, j) of the expansion is B with rows and columns
shuffled, of whose entries the share A[i, j] is kept. Rules:
`mlcommons/training:data_generation/fractal_graph_expansions` @ba67bd47.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_mlperf.data.leave_one_out import Ratings, grouped, newest_of_duplicates, ranks
from jax_mlperf.data.movielens_files import Events
from jax_mlperf.data.truncated_svd import truncated_svd
from jax_mlperf.errors import UserError

LOWEST_RATE, HIGHEST_RATE = 0.01, 0.95
LEAST_TIMESTAMPS = 3  # "more than 2 distinct"
_SAMPLES_PER_RATING = 5  # one positive and four negatives, numbered through with int32
_LARGEST = 2**31 - 1
_HALF_KEY = 2**32 - 1  # keys have the row in their upper half
_BYTES_PER_RATING = 24  # keys and their sorted copy of one shard


class Base(NamedTuple):
    """The rating matrix that is expanded, entries sorted by row, then column.

    Attributes:
      rows, columns: int32 [entries].
      trains: bool [entries]; the others are test entries.
      shape: users and items.
    """

    rows: np.ndarray
    columns: np.ndarray
    trains: np.ndarray
    shape: tuple[int, int]


class Written(NamedTuple):
    """Sizes of an expansion; `dropped_users` had no training or no test item."""

    users: int
    items: int
    train_ratings: int
    dropped_users: int


def base_matrix(events: Events) -> Base:
    """Users with more than 2 distinct timestamps; what they rated in their last second is for the test.

    Raises:
      UserError: there is no such user.
    """
    events = newest_of_duplicates(events)
    users, user_count = ranks(events.users)
    seconds = events.timestamps - events.timestamps.min()
    if seconds.max() > _HALF_KEY:
        seconds, _ = ranks(seconds)
    distinct = np.sort((users.astype(np.int64) << 32) | seconds)
    distinct = distinct[np.append(True, distinct[1:] != distinct[:-1])] >> 32
    kept = np.bincount(distinct)[users] >= LEAST_TIMESTAMPS
    if not kept.any():
        raise UserError(f"no user has ratings of {LEAST_TIMESTAMPS} different seconds: the expansion needs another base")
    last = np.zeros(user_count, np.int64)
    np.maximum.at(last, users, seconds)
    trains = (seconds < last[users])[kept]
    rows, row_count = ranks(users[kept])
    columns, column_count = ranks(events.items[kept])
    keys = np.sort((rows.astype(np.int64) << 32) | (columns.astype(np.int64) << 1) | trains)  # the lowest bit goes along
    return Base((keys >> 32).astype(np.int32), ((keys & _HALF_KEY) >> 1).astype(np.int32), (keys & 1).astype(bool),
                (row_count, column_count))


def keep_rates(base: Base, user_factor: int, item_factor: int, seed: int) -> np.ndarray:
    """float64 [user_factor, item_factor] in LOWEST_RATE..HIGHEST_RATE: the reduced image of the training entries.

    The largest singular values stay; the singular vectors are resized as images and made orthonormal again (algorithm 2 of the
    paper). Absolute values, divided by the largest of them, are the rates.
    """
    count = min(user_factor, item_factor, *base.shape)
    left, values, right = truncated_svd(base.rows[base.trains], base.columns[base.trains], base.shape, count, seed)
    reduced = nearest_orthonormal(resize(left, user_factor)) * values @ nearest_orthonormal(resize(right, item_factor)).T
    reduced = np.abs(reduced)
    # Rounded, so that another machine's linear algebra gives the same numbers of entries.
    return np.clip((reduced / reduced.max()).round(6), LOWEST_RATE, HIGHEST_RATE)


def resize(image: np.ndarray, rows: int) -> np.ndarray:
    """[n, k] -> [rows, k]: linear interpolation between rows, pixel centres aligned, no smoothing, edges repeated."""
    place = np.clip((np.arange(rows) + 0.5) * len(image) / rows - 0.5, 0, len(image) - 1)
    below = place.astype(np.int64)
    above = np.minimum(below + 1, len(image) - 1)
    share = (place - below)[:, None]
    return (1 - share) * image[below] + share * image[above]


def nearest_orthonormal(matrix: np.ndarray) -> np.ndarray:
    """M (M^T M)^(-1/2) for [n, k], n >= k: the nearest matrix with orthonormal columns, from the SVD of M."""
    left, _, right = np.linalg.svd(matrix, full_matrices=False)
    return left @ right


def kept_entries(base: Base, rates: np.ndarray) -> np.ndarray:
    """int64 [user_factor, item_factor]: how many entries each block keeps, int(entries * rate)."""
    return (len(base.rows) * rates).astype(np.int64)


def expand(base: Base, rates: np.ndarray, seed: int) -> Iterator[Ratings]:
    """The expansion's users shard by shard, one for each row of `rates`; bounded memory, a pure function of the arguments.

    A user without a training or without a test item is dropped; of several test items the lowest stays. Items are not
    renumbered: base.shape[1] * rates.shape[1] of them.
    """
    counts = kept_entries(base, rates)
    for shard in range(len(rates)):
        rng = np.random.Generator(np.random.PCG64([seed, shard]))
        blocks = [_block(base, count, rng) for count in counts[shard].tolist()]
        rows = np.concatenate([block.rows for block in blocks])
        columns = np.concatenate([block.columns + number * base.shape[1] for number, block in enumerate(blocks)])
        trains = np.concatenate([block.trains for block in blocks])
        del blocks
        yield _shard(rows, columns, trains, base.shape[0])


def _block(base: Base, count: int, rng: np.random.Generator) -> Base:
    """`count` entries of the shuffled matrix."""
    chosen = rng.choice(len(base.rows), count, replace=False, shuffle=False)
    rows, columns = (rng.permutation(size).astype(np.int32) for size in base.shape)
    return Base(rows[base.rows[chosen]], columns[base.columns[chosen]], base.trains[chosen], base.shape)


def _shard(rows: np.ndarray, columns: np.ndarray, trains: np.ndarray, users: int) -> Ratings:
    test_items = np.full(users, _LARGEST, np.int64)
    np.minimum.at(test_items, rows[~trains], columns[~trains])
    complete = test_items < _LARGEST
    complete &= np.bincount(rows[trains], minlength=users) > 0
    numbers = np.cumsum(complete) - 1
    kept = trains & complete[rows]
    return grouped(numbers[rows[kept]], columns[kept], test_items[complete], int(complete.sum()))


def write_expansion(folder: Path, events: Events, user_factor: int, item_factor: int, seed: int) -> Written:
    """Writes the arrays of a prepared folder (see `movielens`), one shard in memory at a time.

    Raises:
      UserError: see `base_matrix`; or the samples of an epoch could not be numbered with int32.
    """
    base = base_matrix(events)
    _check_size(base, np.full((user_factor, item_factor), LOWEST_RATE), "at least")  # before minutes go into the rates
    rates = keep_rates(base, user_factor, item_factor, seed)
    _check_size(base, rates, "about")
    offsets, test_items, users = [np.zeros(1, np.int64)], [], 0
    raw = folder / "items.raw"
    with open(raw, "wb") as file:
        for shard in expand(base, rates, seed):
            shard.items.tofile(file)
            offsets.append(shard.offsets[1:] + offsets[-1][-1])
            test_items.append(shard.test_items)
            users += len(shard.test_items)
    train_ratings = int(offsets[-1][-1] if len(offsets[-1]) else offsets[-2][-1])
    np.save(folder / "items.npy", np.memmap(raw, np.int32, "r", shape=(train_ratings,)))
    raw.unlink()
    np.save(folder / "offsets.npy", np.concatenate(offsets))
    np.save(folder / "test_items.npy", np.concatenate(test_items))
    return Written(users, base.shape[1] * item_factor, train_ratings, base.shape[0] * user_factor - users)


def _check_size(base: Base, rates: np.ndarray, how_exact: str) -> None:
    counts = kept_entries(base, rates)
    share = float(base.trains.mean())
    expected = int(counts.sum() * share)
    if expected * _SAMPLES_PER_RATING > _LARGEST:
        memory = counts.sum(axis=1).max() * _BYTES_PER_RATING
        raise UserError(
            f"the {rates.shape[0]} x {rates.shape[1]} expansion would have {how_exact} {expected:,} training ratings and take "
            f"{memory / 1e9:.0f} GB to make; with 4 negatives each, more than the {_LARGEST:,} samples that an epoch may have: "
            "lower config.data.fractal.user_factor or item_factor, or take a smaller base")
