"""The three forms in which IMDB's reviews are published, read: TensorFlow Datasets' TFRecords, the folders, the archive.

Texts are bytes as published. Labels are the reference's: 0 positive, 1 negative (TensorFlow Datasets has them the other way).
"""

import gzip
import re
import tarfile
import zlib
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_mlperf.data.example import bytes_and_int, encode_example
from jax_mlperf.data.tfrecord import parsed_records, write_shard
from jax_mlperf.errors import UserError

SPLITS = ("train", "test")
POSITIVE, NEGATIVE = 0, 1
CLASSES = {"pos": POSITIVE, "neg": NEGATIVE}
ARCHIVE = "aclImdb_v1.tar.gz"
_STARS = {"pos": range(7, 11), "neg": range(1, 5)}  # Maas et al. 2011, section 4.1
_FILE = re.compile(r"\d+_(\d+)\.txt")
_MEMBER = re.compile(r"(?:.*/)?(train|test)/(pos|neg)/([^/]+\.txt)")
_BLOCK_BYTES = 1 << 20


class Reviews(NamedTuple):
    """Texts as published, and uint8 labels [n]: 0 positive, 1 negative."""

    texts: list[bytes]
    labels: np.ndarray


def collected(reviews: Iterable[tuple[bytes, int]]) -> Reviews:
    """Reviews one by one as one."""
    pairs = list(reviews)
    return Reviews([text for text, _ in pairs], np.array([label for _, label in pairs], np.uint8))


def read_shard(path: Path) -> Iterator[tuple[bytes, int]]:
    """Text and label of each record of a TFRecord file.

    Raises:
      UserError: a record is damaged, holds no review, or its label is not 0 or 1.
    """
    return parsed_records(path, _review)


def _review(record: memoryview) -> tuple[bytes, int]:
    text, label = bytes_and_int(record, b"text", b"label")
    if label not in (0, 1):  # `tensorflow/datasets:tensorflow_datasets/datasets/imdb_reviews`: 0 negative, 1 positive
        raise ValueError(f"it has label {label}, must be 0 (negative) or 1 (positive)")
    return text, POSITIVE if label else NEGATIVE


def write_tfds(path: Path, reviews: Reviews) -> None:
    """Writes reviews as TensorFlow Datasets does, label 1 for positive."""
    write_shard(path, (encode_example({"label": int(label == POSITIVE), "text": text})
                       for text, label in zip(reviews.texts, reviews.labels.tolist(), strict=True)))


def read_folder(folder: Path) -> Iterator[tuple[bytes, int]]:
    """Text and label of each file of a folder pos or neg, by name.

    Raises:
      UserError: a file cannot be read, or its name has no stars of the folder's class.
    """
    for path in review_files(folder):
        try:
            yield path.read_bytes(), CLASSES[folder.name]
        except OSError as error:
            raise UserError(f"cannot read {path}: {error.strerror}; unpack {ARCHIVE} again") from error


def review_files(folder: Path) -> list[Path]:
    """The files of a folder pos or neg, `<id>_<stars>.txt`, by name.

    Raises:
      UserError: a name has no stars of the folder's class.
    """
    paths = sorted(folder.glob("*.txt"))
    for path in paths:
        _check_stars(path.name, folder.name, path)
    return paths


def _check_stars(name: str, class_name: str, where: str | Path) -> None:
    match = _FILE.fullmatch(name)
    allowed = _STARS[class_name]
    if not match or int(match[1]) not in allowed:
        problem = f"gives it {match[1]} stars" if match else "has no stars"
        raise UserError(f"{where} is no review: its name {problem}, must be <id>_<stars>.txt with {allowed[0]} to {allowed[-1]} "
                        f"stars for {class_name!r}; remove it, or unpack {ARCHIVE} again")


def read_archive(path: Path) -> dict[str, Reviews]:
    """The reviews of each split in the order of the folders: positive ones first, by name.

    Raises:
      UserError: the archive is damaged, or a member's name has no stars of its class.
    """
    members: dict[str, list[tuple[int, str, bytes]]] = {split: [] for split in SPLITS}
    try:
        # A stream: one pass, nothing is unpacked to disk. tarfile's own reader of gzip would not check its CRC.
        with gzip.open(path) as packed, tarfile.open(fileobj=packed, mode="r|") as tar:
            for member in tar:
                match = _MEMBER.fullmatch(member.name)
                if not match or not member.isfile():
                    continue
                split, class_name, name = match.groups()
                _check_stars(name, class_name, f"{path}: {member.name}")
                content = tar.extractfile(member)
                assert content is not None
                members[split].append((CLASSES[class_name], name, content.read()))
            while packed.read(_BLOCK_BYTES):  # what follows the last member, up to the CRC
                pass
    except (OSError, EOFError, tarfile.TarError, zlib.error) as error:
        raise UserError(f"cannot read {path}: {error or type(error).__name__}; remove it and download it again") from error
    return {split: collected((text, label) for label, _, text in sorted(found)) for split, found in members.items()}
