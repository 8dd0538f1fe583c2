"""The data verbs of the CIFAR-10 benchmark: which images a config reads, and fetching, checking and preparing them."""

from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks import data_checks
from jax_mlperf.benchmarks.config_checks import check_bounds
from jax_mlperf.data import cifar10
from jax_mlperf.errors import UserError

_SOURCES = ("cifar10", "tiny")


def settings(config: ConfigDict) -> cifar10.Settings:
    """Which images the config trains on.

    Raises:
      UserError: an unknown data source, sizes below 1, or a folder for images that are generated.
    """
    data = config.data
    if data.source not in _SOURCES:
        raise UserError(f"config.data.source is {data.source!r}; there are: {', '.join(_SOURCES)}")
    check_bounds(config, [(f"data.expected.{split}", ">=", 1) for split in ("train", "eval")])
    if data.source == "tiny" and data.raw_dir:
        raise UserError(f"config.data.raw_dir is {data.raw_dir!r}, but the images of this config are generated: leave it empty")
    variant = cifar10.TINY if data.source == "tiny" else data.source
    return cifar10.Settings(variant, data.raw_dir, tiny_images=(data.expected.train, data.expected.eval))


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
    """`python -m jax_mlperf data download|verify|prepare` for this benchmark."""
    data_checks.execute(action, cifar10, settings(config), config, data_dir, mirror)
