"""The data verbs of the sentiment benchmark: which reviews a config reads, and fetching, checking and preparing them."""

from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks import data_checks
from jax_mlperf.benchmarks.config_checks import LARGEST, check_bounds
from jax_mlperf.data import imdb
from jax_mlperf.errors import UserError

_SOURCES = ("imdb", "tiny")
_BOUNDS = (
    *((f"data.expected.{split}", *bound) for split in ("train", "eval") for bound in ((">=", 1), ("<=", 10_000_000))),
    ("data.expected.vocab_size", ">=", 2), ("data.expected.vocab_size", "<=", LARGEST), ("data.vocab_cutoff", ">=", 0),
    ("data.ngram_order", ">=", 1), ("data.ngram_order", "<=", 16),
    ("data.ngram_buckets_log2", ">=", 1), ("data.ngram_buckets_log2", "<=", 30))


def settings(config: ConfigDict) -> imdb.Settings:
    """Which reviews the config trains on, and what their tokens are.

    Raises:
      UserError: an unknown data source or kind of features, sizes out of bounds, or a folder for reviews that are generated.
    """
    data = config.data
    for key, value, known in (("source", data.source, _SOURCES), ("features", data.features, imdb.FEATURES)):
        if value not in known:
            raise UserError(f"config.data.{key} is {value!r}; there are: {', '.join(known)}")
    check_bounds(config, _BOUNDS)
    if data.source == "tiny" and data.raw_dir:
        raise UserError(f"config.data.raw_dir is {data.raw_dir!r}, but the reviews of this config are generated: leave it empty")
    return imdb.Settings(
        data.source, data.raw_dir, data.features, data.vocab_cutoff, data.ngram_order, data.ngram_buckets_log2,
        tiny_reviews=(data.expected.train, data.expected.eval))


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
    """`python -m jax_mlperf data download|verify|prepare` for this benchmark."""
    data_checks.execute(action, imdb, settings(config), config, data_dir, mirror)
