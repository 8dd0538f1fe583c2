"""Where IMDB's reviews are, in which of the published forms, and whether they are whole."""

import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from jax_mlperf.data import records
from jax_mlperf.data.download import Check
from jax_mlperf.data.imdb_formats import (
    ARCHIVE,
    CLASSES,
    NEGATIVE,
    POSITIVE,
    SPLITS,
    Reviews,
    collected,
    read_archive,
    read_folder,
    read_shard,
    review_files,
)
from jax_mlperf.errors import UserError

_SHARD = re.compile(r"imdb_reviews-(train|test)\.tfrecord-\d{5}-of-(\d{5})")
_TFDS_FOLDERS = ("plain_text/*", "imdb_reviews/plain_text/*")

Form = Literal["tfds", "folders", "archive"]


@dataclass(frozen=True)
class Files:
    """The inputs of one form, there or not: all shards, the four folders train|test/pos|neg, or the archive."""

    form: Form
    paths: tuple[Path, ...]

    @property
    def missing(self) -> list[Path]:
        """Those that are not there."""
        return [path for path in self.paths if not path.exists()]

    @property
    def common(self) -> Path:
        """The archive, or the folder of all of them."""
        return Path(os.path.commonpath(self.paths))

    def of(self, split: str) -> list[Path]:
        """Those of one split (every form but the archive)."""
        if self.form == "folders":
            return [path for path in self.paths if path.parent.name == split]
        return [path for path in self.paths if path.name.startswith(f"imdb_reviews-{split}.")]


def find_files(folder: Path) -> Files:
    """The first form that `folder`, or the usual folders below it, hold whole; else the first of which they hold anything.

    With nothing there: the archive, which `data download` brings.
    """
    versions = [version for pattern in _TFDS_FOLDERS for version in sorted(folder.glob(pattern), reverse=True)]
    candidates = [Files("tfds", _shards(candidate)) for candidate in (folder, *versions)]
    candidates += [Files("folders", tuple(candidate / split / name for split in SPLITS for name in CLASSES))
                   for candidate in (folder, folder / "aclImdb")]
    candidates.append(Files("archive", (folder / ARCHIVE,)))
    begun = [files for files in candidates if len(files.missing) < len(files.paths)]
    whole = [files for files in begun if not files.missing]
    return (whole or begun or candidates[-1:])[0]


def _shards(folder: Path) -> tuple[Path, ...]:
    found = filter(None, (_SHARD.fullmatch(path.name) for path in folder.glob("imdb_reviews-t*")))
    totals = {match[1]: int(match[2]) for match in found}
    return tuple(folder / shard_name(split, number, totals.get(split, 1))
                 for split in SPLITS for number in range(totals.get(split, 1)))


def shard_name(split: str, number: int = 0, total: int = 1) -> str:
    """What TensorFlow Datasets calls a shard."""
    return f"imdb_reviews-{split}.tfrecord-{number:05d}-of-{total:05d}"


def digests(files: Files) -> list[object]:
    """What tells these inputs from others: digests of files, of a folder its files' names and sizes.

    Raises:
      UserError: a file is a folder, a folder a file, or it cannot be read.
    """
    try:
        if files.form != "folders":
            return [records.file_digest(path) for path in files.paths]
        with_sizes = [sorted((entry.name, entry.stat().st_size) for entry in os.scandir(path)) for path in files.paths]
        return [records.fingerprint(entries) for entries in with_sizes]
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}; remove it and get the reviews again") from error


def read(files: Files) -> dict[str, Reviews]:
    """All reviews of both splits: TFRecords in their order, the others' positive reviews first, by file name.

    Raises:
      UserError: a file or record is missing or damaged, its label is not 0 or 1, or its name has no stars of its class.
    """
    if files.form == "archive":
        return read_archive(files.paths[0])
    read_path = read_shard if files.form == "tfds" else read_folder
    return {split: collected(review for path in files.of(split) for review in read_path(path)) for split in SPLITS}


def verify(files: Files, reviews: int) -> list[Check]:
    """Reads all records, or the names in all folders, and counts them.

    Args:
      files: TFRecords or folders.
      reviews: of each split, half of them of each class.
    """
    return [check for split in SPLITS for check in _verify_split(files.of(split), reviews)]


def _verify_split(paths: list[Path], reviews: int) -> list[Check]:
    checks, counts = [], {POSITIVE: 0, NEGATIVE: 0}
    for path in paths:
        if not path.exists():
            checks.append(Check(path, "missing"))
            continue
        try:
            labels = _labels(path)
            counts = {label: count + labels.count(label) for label, count in counts.items()}
            checks.append(Check(path, "ok", f"{len(labels):,} reviews"))
        except UserError as error:
            checks.append(Check(path, "damaged", str(error)))
    if all(check.state == "ok" for check in checks) and counts != {POSITIVE: reviews // 2, NEGATIVE: reviews // 2}:
        detail = f"{counts[POSITIVE]:,} positive and {counts[NEGATIVE]:,} negative reviews, should be {reviews // 2:,} each"
        return [Check(path, "damaged", detail) for path in paths]
    return checks


def _labels(path: Path) -> list[int]:
    """Labels of a shard's records, or of a folder's files by their names."""
    if path.is_dir():
        return [CLASSES[path.name] for _ in review_files(path)]
    return [label for _, label in read_shard(path)]
