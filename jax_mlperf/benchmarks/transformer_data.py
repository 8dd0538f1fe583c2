"""The data verbs of the Transformer benchmark: which text a config reads, and fetching, checking and preparing it."""

import dataclasses
from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks import data_checks
from jax_mlperf.data import transformer as preparation
from jax_mlperf.errors import UserError


def settings(config: ConfigDict) -> preparation.Settings:
    """Which text the config trains on, and the vocabulary that is built from it (0: the published one).

    Raises:
      UserError: an unknown data source.
    """
    source = config.data.source
    if source not in preparation.VARIANTS:
        raise UserError(f"config.data.source is {source!r}; there are: {', '.join(preparation.VARIANTS)}")
    known = preparation.VARIANTS[source]
    return dataclasses.replace(known, raw_dir=config.data.raw_dir or known.raw_dir,
                               vocab_size=config.data.vocab_target_size)


def prepare(config: ConfigDict, data_dir: Path, workers: int) -> Path:
    """Makes the prepared folder that the config reads, and returns it."""
    data = config.data
    packed = (data.source_length, data.target_length) if data.batching == "packed" else None
    return preparation.prepare(data_dir, settings(config), max_length=data.max_sequence_length, packed_lengths=packed,
                               workers=workers)


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
    """`python -m jax_mlperf data download|verify|prepare` for this benchmark."""
    if action == "prepare":
        print(f"prepared {prepare(config, data_dir, workers)}")
    elif action == "download":
        preparation.download(data_dir, settings(config), mirror=mirror)
    else:
        data_checks.report(preparation.verify(data_dir, settings(config)), data_checks.download_again(config, data_dir))
