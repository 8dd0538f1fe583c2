"""Generated reviews like IMDB's in number of words and vocabulary, and the folder that the benchmark reads them from."""

import dataclasses
import math
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from jax_mlperf.benchmarks.sentiment_data import settings
from jax_mlperf.data import imdb, records
from jax_mlperf.data.imdb import Reviews

VOCAB = 5_147
UNKNOWN_SHARE = 0.109  # of all words
MEDIAN, MEAN, SHORTEST, LONGEST = 174, 232.9, 10, 2_469  # words of a review
# Chosen so that a batch of 128 has about 3,100 distinct words, as IMDB's.
EXPONENT = 1.1


def generate(batches: int, batch: int, pool: int, seed: int = 0) -> Reviews:
    """So many reviews, as a PyTorch user would get them in batches that are evenly spaced in a pool sorted by length; shuffled.

    Lengths are log-normal with IMDB's median and mean, words follow Zipf's law.
    """
    rng = np.random.default_rng(seed)
    deviation = math.sqrt(2 * math.log(MEAN / MEDIAN))
    lengths = np.rint(rng.lognormal(math.log(MEDIAN), deviation, max(pool, batches) * batch))
    ordered = np.sort(np.clip(lengths, SHORTEST, LONGEST).astype(np.int64)).reshape(-1, batch)
    chosen = ordered[np.linspace(0, len(ordered), batches, endpoint=False).astype(int) + len(ordered) // (2 * batches)]
    lengths = rng.permutation(chosen.ravel())
    share = 1 / np.arange(1, VOCAB) ** EXPONENT
    share = np.append(share / share.sum() * (1 - UNKNOWN_SHARE), UNKNOWN_SHARE)
    tokens = rng.choice(VOCAB, lengths.sum(), p=share).astype(np.uint16)
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    return Reviews(tokens, offsets, rng.integers(0, 2, len(lengths)).astype(np.uint8))


def write_prepared(reviews: Reviews, config: ConfigDict, data_dir: Path) -> None:
    """The folder that `data prepare sentiment` would make of these reviews, the same for training and test."""
    folder = imdb.prepared_folder(data_dir, settings(config))
    folder.mkdir(parents=True)
    for split in ("train", "test"):
        for name, array in reviews._asdict().items():
            np.save(folder / f"{split}.{name}.npy", array)
    count, words = len(reviews.labels), len(reviews.tokens)
    meta = imdb.Meta("generated", "words", VOCAB, count, count, words, words, int(np.diff(reviews.offsets).max()))
    records.write_meta(folder, dataclasses.asdict(meta))
