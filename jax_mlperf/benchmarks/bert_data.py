"""The data verbs of the BERT benchmark: which text a config reads, and fetching, checking and preparing it."""

import dataclasses
import shlex
from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmarks import data_checks
from jax_mlperf.benchmarks.config_checks import LARGEST, check_bounds
from jax_mlperf.config import changes, config_reference, load_config
from jax_mlperf.data import bert
from jax_mlperf.data.bert_files import MLPERF_TEXT, MLPERF_TFRECORD, VOCABULARY
from jax_mlperf.data.bert_published import say
from jax_mlperf.data.wordpiece import WordPiece, read_vocabulary
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


def check_vocabulary(config: ConfigDict, data_dir: Path) -> None:
    """Refuses a vocabulary of another size than the model's before samples are made of it, which takes hours.

    Raises:
      UserError: the sizes differ, or the file cannot be read or is no vocabulary.
    """
    chosen, expected = settings(config), config.model.vocab_size
    path = bert.raw_folder(data_dir, chosen) / VOCABULARY
    if not expected or chosen.vocab_target_size or not path.is_file():  # the data's own, one yet to be made, or missing
        return
    words = WordPiece(read_vocabulary(path), f"the vocabulary {path}").words
    if len(words) != expected:
        raise UserError(f"the vocabulary {path} has {len(words):,} entries, config.model.vocab_size is {expected}: get the one "
                        f"that belongs to the model, or set --config.model.vocab_size={len(words)} (0: that of the data)")


def prepare_command(config: ConfigDict, data_dir: Path) -> str:
    """The command that prepares what the config reads, with the values that it has changed of its variant's data."""
    variant = load_config(config_reference(config))
    read = [field.name for field in dataclasses.fields(bert.Settings)]
    changed = [f" --config.data.{key}={shlex.quote(str(after))}"
               for key, _, after in changes(variant.data.to_dict(), config.data.to_dict()) if key in read]
    return f"python -m jax_mlperf data prepare {config_reference(config)} --data_dir={data_dir}{''.join(changed)}"


def missing_weights(config: ConfigDict, data_dir: Path) -> str:
    """What to know when the published weights are not there, which `prepare` does not make; "" when they are, or none belong."""
    weights, chosen = config.model.initial_weights, settings(config)
    places = [Path(weights), bert.raw_folder(data_dir, chosen) / weights]
    present = any(place.exists() or Path(f"{place}.index").exists() for place in places)
    if not weights or present or chosen.source not in (MLPERF_TEXT, MLPERF_TFRECORD):
        return ""
    return (f"there is no {places[1]} (config.model.initial_weights), which training starts from: "
            f"{bert.how_to_get(data_dir, chosen)}")


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
    """`python -m jax_mlperf data download|verify|prepare` for this benchmark."""
    chosen = settings(config)
    if action == "prepare":
        check_vocabulary(config, data_dir)
        folder = bert.prepare(data_dir, chosen, workers)
        meta = bert.read_meta(folder)
        assert meta is not None
        print(f"prepared {folder}: {meta.train_samples:,} samples to train on and {meta.eval_samples:,} to evaluate, "
              f"{meta.vocab_size:,} vocabulary entries")
        if warning := missing_weights(config, data_dir):
            say(warning)
    elif action == "verify":
        data_checks.report(bert.verify(data_dir, chosen), bert.how_to_get(data_dir, chosen))
    else:
        bert.download(data_dir, chosen, mirror)
