"""The data verbs of the NCF benchmark: which ratings a config reads, and fetching, checking and preparing them."""

from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks import data_checks
from jax_mlperf.benchmarks.config_checks import LARGEST, check_bounds
from jax_mlperf.data import movielens
from jax_mlperf.data.leave_one_out import TIES
from jax_mlperf.errors import UserError

_BOUNDS = (("data.min_ratings", ">=", 2),  # one rating is held out: one must be left to train on
           *((f"data.fractal.{key}_factor", *bound) for key in ("user", "item") for bound in ((">=", 1), ("<=", 1024))),
           *((f"data.expected.{key}", *bound) for key in ("users", "items", "train") for bound in ((">=", 1), ("<=", LARGEST))))


def settings(config: ConfigDict) -> movielens.Settings:
    """Which ratings the config trains on.

    Raises:
      UserError: an unknown source, tie rule or base of the expansion, a value out of bounds, or a folder for generated ratings.
    """
    data = config.data
    for key, value, known in (("source", data.source, movielens.SOURCES), ("ties", data.ties, TIES),
                              ("fractal.base", data.fractal.base, movielens.FILES)):
        if value not in known:
            raise UserError(f"config.data.{key} is {value!r}; there are: {', '.join(known)}")
    check_bounds(config, _BOUNDS)
    chosen = movielens.Settings(data.source, data.raw_dir, data.min_ratings, data.ties, fractal_base=data.fractal.base,
                                user_factor=data.fractal.user_factor, item_factor=data.fractal.item_factor)
    if chosen.file_source == movielens.TINY and data.raw_dir:
        raise UserError(f"config.data.raw_dir is {data.raw_dir!r}, but the ratings of this config are generated: leave it empty")
    return chosen


def check_whole(config: ConfigDict, meta: movielens.Meta) -> None:
    """Refuses a part of the data set in the closed division.

    Raises:
      UserError: the prepared ratings are others than the config expects.
    """
    expected = config.data.expected
    wanted = (expected.users, expected["items"], expected.train)  # ConfigDict has a method of the name items
    if config.division == "closed" and (meta.users, meta.items, meta.train_ratings) != wanted:
        raise UserError(
            f"the prepared MovieLens holds {meta.users:,} users, {meta.items:,} items and {meta.train_ratings:,} ratings to "
            f"train on, the closed division needs {wanted[0]:,}, {wanted[1]:,} and {wanted[2]:,}: get the whole file "
            "(`data verify` holds it against its sizes) and prepare again, or set --config.division=open")


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
    """`python -m jax_mlperf data download|verify|prepare` for this benchmark."""
    chosen = settings(config)
    if action == "prepare":
        folder = movielens.prepare(data_dir, chosen, workers)
        meta = movielens.read_meta(folder)
        assert meta is not None
        print(f"prepared {folder}: {meta.users:,} users, {meta.items:,} items, {meta.train_ratings:,} ratings to train on; "
              f"{meta.dropped_users:,} users dropped, {meta.duplicates:,} repeated ratings, "
              f"{meta.tied_users:,} users with several last ratings")
    else:
        data_checks.execute(action, movielens, chosen, config, data_dir, mirror)
