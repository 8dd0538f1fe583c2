"""The data verbs of the BERT benchmark: which text a config reads, and fetching, checking and preparing it."""

from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks import data_checks
from jax_mlperf.benchmarks.config_checks import LARGEST, check_bounds
from jax_mlperf.data import bert
from jax_mlperf.errors import UserError

_BOUNDS = (
    ("data.max_sequence_length", ">=", 8), ("data.max_sequence_length", "<=", 65_535), ("data.max_predictions", ">=", 1),
    ("data.max_predictions", "<=", 255), ("data.masked_lm_prob", ">", 0), ("data.masked_lm_prob", "<", 1),
    ("data.dupe_factor", ">=", 1), ("data.dupe_factor", "<=", 1000), ("data.short_seq_prob", ">=", 0),
    ("data.short_seq_prob", "<=", 1), ("data.eval_articles", ">=", 1), ("data.eval_articles", "<=", LARGEST),
    ("data.eval_samples", ">=", 1), ("data.eval_samples", "<=", LARGEST), ("data.vocab_target_size", ">=", 0),
    ("data.vocab_target_size", "<=", 65_535),
)
# Of the expected samples: the published text makes a few more or fewer on other versions of Python's Unicode tables.
_ENOUGH = 0.999


def settings(config: ConfigDict) -> bert.Settings:
    """Which text the config trains on, and how samples are made of it.

    Raises:
      UserError: an unknown source, or a value out of its bounds.
    """
    data = config.data
    if data.source not in bert.SOURCES:
        raise UserError(f"config.data.source is {data.source!r}; there are: {', '.join(bert.SOURCES)}")
    check_bounds(config, _BOUNDS)
    return bert.Settings(
        source=data.source, raw_dir=data.raw_dir, vocab_target_size=data.vocab_target_size,
        max_sequence_length=data.max_sequence_length, max_predictions=data.max_predictions, masked_lm_prob=data.masked_lm_prob,
        dupe_factor=data.dupe_factor, short_seq_prob=data.short_seq_prob, example_seed=data.example_seed,
        eval_articles=data.eval_articles, eval_samples=data.eval_samples)


def check_whole(config: ConfigDict, meta: bert.Meta) -> None:
    """Refuses a part of the data set, or another evaluation set, in the closed division.

    Raises:
      UserError: the prepared samples are others than the config expects.
    """
    expected = config.data.expected
    if config.division == "open":
        return
    if meta.eval_predictions != expected.eval_predictions:
        raise UserError(f"the prepared evaluation samples have {meta.eval_predictions:,} masked tokens, those of the closed "
                        f"division {expected.eval_predictions:,}: prepare them of the published text or records, or set "
                        "--config.division=open")
    if meta.train_samples < _ENOUGH * expected.train:
        raise UserError(f"the prepared training set holds {meta.train_samples:,} samples, the closed division needs all "
                        f"{expected.train:,}: prepare all 500 parts, or set --config.division=open")


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
    """`python -m jax_mlperf data download|verify|prepare` for this benchmark."""
    chosen = settings(config)
    if action == "prepare":
        folder = bert.prepare(data_dir, chosen, workers)
        meta = bert.read_meta(folder)
        assert meta is not None
        print(f"prepared {folder}: {meta.train_samples:,} samples to train on and {meta.eval_samples:,} to evaluate, "
              f"{meta.vocab_size:,} vocabulary entries")
    else:
        data_checks.execute(action, bert, chosen, config, data_dir, mirror)
