"""Generated ratings of MovieLens's sizes, and the folder that the NCF benchmark reads them from: for perf/ncf.py."""

import dataclasses
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jax_mlperf.benchmarks.ncf_data import settings
from jax_mlperf.data import movielens, records
from jax_mlperf.data.leave_one_out import Ratings

LEAST = 20  # ratings of a user, as in MovieLens


@dataclasses.dataclass(frozen=True)
class Size:
    """Users, items and ratings of a published set, and the variant of configs/ncf.py for it."""

    users: int
    items: int
    ratings: int
    variant: str


SIZES = {
    "ml-100k": Size(943, 1_682, 100_000, "ml100k"),
    "ml-1m": Size(6_040, 3_706, 1_000_209, "ml1m"),
    "ml-20m": Size(138_493, 26_744, 20_000_263, ""),
}


def generate(size: Size, seed: int = 0) -> Ratings:
    """Ratings as skewed as MovieLens's: log-normal numbers for users, about 1 / rank for items, exactly as many as asked for."""
    rng = np.random.default_rng(seed)
    counts = LEAST + rng.lognormal(0.0, 1.2, size.users)
    counts = LEAST + (counts - LEAST) * (1.5 * size.ratings - LEAST * size.users) / (counts - LEAST).sum()
    counts = np.minimum(counts, 0.7 * size.items).astype(np.int64)
    popularity = np.cumsum(1 / (np.arange(size.items) + size.items / 60))
    users = np.repeat(np.arange(size.users), counts)
    items = np.searchsorted(popularity, rng.random(len(users)) * popularity[-1])
    pairs = np.unique(users * size.items + rng.permutation(size.items)[np.minimum(items, size.items - 1)])
    chance = rng.random(len(pairs), np.float32)
    first = np.flatnonzero(np.diff(pairs // size.items, prepend=-1))
    chance[first] = chance[np.minimum(first + 1, len(pairs) - 1)] = 2.0  # two of each user stay whatever is taken away
    surplus = len(pairs) - size.ratings
    pairs = np.delete(pairs, np.argpartition(chance, surplus)[:surplus])
    return hold_one_out(pairs // size.items, (pairs % size.items).astype(np.int32), size.users, rng)


def hold_one_out(users: np.ndarray, items: np.ndarray, user_count: int, rng: np.random.Generator) -> Ratings:
    """A random rating of each user as the test item; both arrays sorted, users ascending."""
    offsets = np.searchsorted(users, np.arange(user_count + 1))
    held = offsets[:-1] + (rng.random(user_count) * np.diff(offsets)).astype(np.int64)
    return Ratings(offsets - np.arange(user_count + 1), np.delete(items, held), items[held])


def write_prepared(ratings: Ratings, size: Size, config: ConfigDict, data_dir: Path) -> None:
    """The folder that `data prepare ncf` would make of these ratings."""
    folder = movielens.prepared_folder(data_dir, settings(config))
    folder.mkdir(parents=True)
    for name, array in ratings._asdict().items():
        np.save(folder / f"{name}.npy", array)
    meta = movielens.Meta("generated", size.users, size.items, len(ratings.items), size.ratings, 0, 0, 0)
    records.write_meta(folder, dataclasses.asdict(meta))
