"""IMDB reviews: which files, and how they become a prepared folder of flat token arrays.

A prepared folder holds, for train and test, `<split>.tokens.npy` (uint16 or uint32 [T]), `<split>.offsets.npy` (int32 [n + 1])
and `<split>.labels.npy` (uint8 [n]), `vocabulary.txt` where tokens are words, and `meta.json`. Preparing again is a check of
fingerprints.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_mlperf.data import download as fetch
from jax_mlperf.data import imdb_files, ngrams, prepared_files, records, review_words
from jax_mlperf.data.imdb_files import Files, find_files
from jax_mlperf.data.imdb_formats import ARCHIVE, SPLITS, write_tfds
from jax_mlperf.data.imdb_formats import Reviews as Texts
from jax_mlperf.data.prepared_files import check_offsets, read_array
from jax_mlperf.data.review_words import Numbered
from jax_mlperf.data.sources import IMDB
from jax_mlperf.errors import UserError

FORMAT = 1  # raise when what is written changes, so that older folders are made anew
REVIEWS = 25_000  # of each split, half of them of each label
FEATURES = ("words", "ngrams")
TINY = "imdb-tiny"  # the folder of what is generated
VOCABULARY = "vocabulary.txt"


@dataclass(frozen=True)
class Settings:
    """Which reviews, and what a token is.

    Attributes:
      source: "imdb" (the benchmark) or "tiny" (generated reviews, written as TFRecords in TensorFlow Datasets' form).
      raw_dir: folder of the published files; "" is `<data_dir>/imdb`. The generated ones are always in `<data_dir>/imdb-tiny`.
      features: "words" (ids of frequent words, in order) or "ngrams" (the set of a review's hashed n-grams, ascending).
      vocab_cutoff: words that occur more often than this, over both splits, have an id of their own.
      ngram_order: words of the longest n-grams.
      ngram_buckets_log2: k of the 2^k buckets that n-grams are hashed into.
      tiny_reviews: training and test reviews to generate.
      tiny_seed: of the training reviews; the test reviews take the next one.
    """

    source: str = "imdb"
    raw_dir: str = ""
    features: str = "words"
    vocab_cutoff: int = 150
    ngram_order: int = 2
    ngram_buckets_log2: int = 22
    tiny_reviews: tuple[int, int] = (8000, 2000)
    tiny_seed: int = 0

    @property
    def tokens(self) -> list[str | int]:
        """All that decides what a token is."""
        if self.features == "words":
            return ["words", self.vocab_cutoff]
        return ["ngrams", self.ngram_order, self.ngram_buckets_log2]


@dataclass(frozen=True)
class Meta:
    """What a prepared folder holds.

    Attributes:
      vocab_size: ids that a token may have: the words and `<unk>`, or all buckets.
      train_tokens, test_tokens: words, or the sum of the sets' sizes.
      longest: tokens of the longest review of both splits.
    """

    fingerprint: str
    features: str
    vocab_size: int
    train_reviews: int
    test_reviews: int
    train_tokens: int
    test_tokens: int
    longest: int


class Reviews(NamedTuple):
    """One split; review i is tokens[offsets[i] : offsets[i + 1]].

    Attributes:
      tokens: uint16 or uint32 [T].
      offsets: int32 [n + 1].
      labels: uint8 [n], 0 positive, 1 negative.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    labels: np.ndarray


def raw_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where the published files are, or the generated ones."""
    if settings.source == "tiny":  # generating replaces the folder: never one of the user's
        return Path(data_dir) / TINY
    return Path(settings.raw_dir) if settings.raw_dir else Path(data_dir) / "imdb"


def prepared_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where `prepare` writes: one folder for each source, raw_dir and kind of tokens."""
    raw = raw_folder(data_dir, settings)
    default = TINY if settings.source == "tiny" else "imdb"
    own = [] if raw == Path(data_dir) / default else [records.fingerprint(str(raw.resolve()))[:8]]
    return Path(data_dir) / "prepared" / "-".join(map(str, [default, *own, *settings.tokens]))


def load(folder: Path, split: str) -> Reviews:
    """One split of a prepared folder, "train" or "test", read into memory.

    Raises:
      UserError: the folder was not prepared, or is damaged.
    """
    meta = read_meta(folder)
    if meta is None:
        raise UserError(f"{folder} holds no prepared reviews: run `python -m jax_mlperf data prepare`")
    count, size = ((meta.train_reviews, meta.train_tokens) if split == "train" else (meta.test_reviews, meta.test_tokens))
    tokens, offsets, labels = (folder / f"{split}.{name}.npy" for name in Reviews._fields)
    starts = read_array(offsets, np.int32, count + 1, in_memory=True)
    check_offsets(offsets, starts, size)
    return Reviews(read_array(tokens, records.token_dtype(meta.vocab_size), size, below=meta.vocab_size, in_memory=True), starts,
                   read_array(labels, np.uint8, count, below=2, in_memory=True))


def read_meta(folder: Path) -> Meta | None:
    """What the folder holds, or None when it was not prepared.

    Raises:
      UserError: its meta.json is damaged.
    """
    return prepared_files.read_meta(folder, Meta)


def required_files(data_dir: str | os.PathLike[str], settings: Settings) -> list[tuple[Path, bool]]:
    """The files, or folders, that `prepare` reads, each with whether it is there; none for generated reviews."""
    if settings.source == "tiny":
        return []
    return [(path, path.exists()) for path in find_files(raw_folder(data_dir, settings)).paths]


def generate_tiny(data_dir: str | os.PathLike[str], settings: Settings) -> None:
    """Writes the generated reviews into the raw folder, unless these very ones are there already."""
    from jax_mlperf.data.generated_reviews import generate

    raw = raw_folder(data_dir, settings)
    meta = {"format": FORMAT, "reviews": list(settings.tiny_reviews), "seed": settings.tiny_seed}
    if prepared_files.generated(raw, meta, map(imdb_files.shard_name, SPLITS)):
        return
    with records.written_atomically(raw) as folder:
        for number, (split, count) in enumerate(zip(SPLITS, settings.tiny_reviews, strict=True)):
            write_tfds(folder / imdb_files.shard_name(split), generate(count, settings.tiny_seed + number))
        records.write_meta(folder, meta)


def prepare(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Makes the prepared folder and returns it; what is current stays.

    Raises:
      UserError: a file is missing or damaged, a split has not its number of reviews of each label, or a review has no token.
    """
    if settings.source == "tiny":
        generate_tiny(data_dir, settings)
    files = find_files(raw_folder(data_dir, settings))
    if missing := files.missing:
        raise UserError(
            f"{len(missing)} of {len(files.paths)} inputs of the IMDB reviews are missing, {missing[0]} first: get them with "
            f"`python -m jax_mlperf data download` and the same config and data_dir, or put there {ARCHIVE}, "
            "the folder aclImdb or the TensorFlow Datasets files")
    folder = prepared_folder(data_dir, settings)
    fingerprint = records.fingerprint([FORMAT, settings.tokens, files.form, imdb_files.digests(files)])
    meta = read_meta(folder)
    if meta is None or meta.fingerprint != fingerprint:
        reviews = imdb_files.read(files)
        _check_counts(reviews, files, settings)
        with records.written_atomically(folder) as temporary:
            _write(temporary, reviews, settings, fingerprint)
    return folder


def _check_counts(reviews: dict[str, Texts], files: Files, settings: Settings) -> None:
    for split, expected in zip(SPLITS, settings.tiny_reviews if settings.source == "tiny" else (REVIEWS, REVIEWS), strict=True):
        labels = reviews[split].labels
        negative = int(np.count_nonzero(labels))
        if len(labels) != expected or negative != expected // 2:
            raise UserError(
                f"{files.common} holds {len(labels) - negative:,} positive and {negative:,} negative reviews of the split "
                f"{split!r}, should hold {expected - expected // 2:,} and {expected // 2:,}: get the files again")


def _write(folder: Path, reviews: dict[str, Texts], settings: Settings, fingerprint: str) -> None:
    texts = [text for split in SPLITS for text in reviews[split].texts]
    tokenize = review_words.tokenize if settings.features == "words" else ngrams.tokenize
    numbered = review_words.number_words(map(tokenize, texts))
    first_test = len(reviews["train"].texts)
    if len(empty := np.flatnonzero(numbered.lengths == 0)):
        split, number = ("train", empty[0]) if empty[0] < first_test else ("test", empty[0] - first_test)
        raise UserError(f"review {number} (from 0) of the split {split!r} has no words: {texts[empty[0]][:40]!r}; "
                        "get the files again")
    vocab_size, tokens, lengths = _tokens(folder, numbered, settings)
    boundary = int(lengths[:first_test].sum())
    for split, flat, sizes in (("train", tokens[:boundary], lengths[:first_test]),
                               ("test", tokens[boundary:], lengths[first_test:])):
        _save(folder, split, Reviews(flat, np.concatenate([[0], np.cumsum(sizes)]).astype(np.int32), reviews[split].labels))
    meta = Meta(fingerprint, settings.features, vocab_size, first_test, len(texts) - first_test, boundary,
                len(tokens) - boundary, int(lengths.max()))
    records.write_meta(folder, dataclasses.asdict(meta))


def _tokens(folder: Path, numbered: Numbered, settings: Settings) -> tuple[int, np.ndarray, np.ndarray]:
    """Number of ids, all tokens and the lengths; writes the vocabulary if there is one."""
    if settings.features == "words":
        vocabulary, ids = review_words.vocabulary(numbered, settings.vocab_cutoff)
        (folder / VOCABULARY).write_bytes(b"\n".join(vocabulary) + b"\n")
        dtype = records.token_dtype(len(vocabulary))
        return len(vocabulary), ids.astype(dtype)[numbered.numbers], numbered.lengths
    buckets = 1 << settings.ngram_buckets_log2
    tokens, lengths = ngrams.hashed_sets(numbered, settings.ngram_order, settings.ngram_buckets_log2)
    return buckets, tokens.astype(records.token_dtype(buckets), copy=False), lengths


def _save(folder: Path, split: str, reviews: Reviews) -> None:
    for name, array in reviews._asdict().items():
        np.save(folder / f"{split}.{name}.npy", array)


def download(data_dir: str | os.PathLike[str], settings: Settings, mirror: str | None = None) -> None:
    """Fetches the archive into the raw folder, where it stays packed (generated reviews are written there instead).

    Raises:
      UserError: see `download.download`.
    """
    if settings.source == "tiny":
        generate_tiny(data_dir, settings)
        return
    raw = raw_folder(data_dir, settings)
    files = find_files(raw)
    if files.missing or files.form == "archive":
        fetch.download(IMDB, raw if files.missing else files.paths[0].parent, mirror=mirror)


def verify(data_dir: str | os.PathLike[str], settings: Settings) -> list[fetch.Check]:
    """Holds the published files against what is known of them (none when generated).

    The archive: md5. Folders: names and their number. TensorFlow Datasets: the CRCs, labels and number of all records.
    """
    if settings.source == "tiny":
        return []
    files = find_files(raw_folder(data_dir, settings))
    if files.form == "archive":
        return fetch.verify(IMDB, files.paths[0].parent)
    return imdb_files.verify(files, REVIEWS)
