"""The data verbs of the ResNet-50 benchmark: which images a config reads, and checking and preparing them."""

from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks import data_checks
from jax_mlperf.benchmarks.config_checks import check_bounds
from jax_mlperf.config import config_reference
from jax_mlperf.data import imagenet
from jax_mlperf.errors import UserError

_SOURCES = ("imagenet", "tiny")


def settings(config: ConfigDict) -> imagenet.Settings:
    """Which images the config trains on.

    Raises:
      UserError: an unknown data source, or sizes below 1.
    """
    data = config.data
    if data.source not in _SOURCES:
        raise UserError(f"config.data.source is {data.source!r}; there are: {', '.join(_SOURCES)}")
    check_bounds(config, [(f"data.{key}", ">=", 1) for key in ("image_size", "expected.train", "expected.eval")])
    variant = imagenet.TINY if data.source == "tiny" else data.source
    return imagenet.Settings(variant, data.raw_dir, tiny_images=(data.expected.train, data.expected.eval),
                             tiny_size=data.image_size)


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
    """`python -m jax_mlperf data download|verify|prepare` for this benchmark."""
    chosen = settings(config)
    if action == "prepare":
        print(f"prepared {imagenet.prepare(data_dir, chosen, workers=workers)}")
    elif action == "download":
        if chosen.variant != imagenet.TINY:
            raise UserError(imagenet.instructions(data_dir, chosen))
        print("nothing to download: data prepare generates the images of this config")
    else:
        data_checks.report(imagenet.verify(data_dir, chosen, workers=workers),
                           f"see: python -m jax_mlperf data download {config_reference(config)} --data_dir={data_dir}")
