"""Stored samples of masked-language-model pre-training: shards of uint16, written whole or not at all, memory-mapped.

A shard is a folder of `values` (uint16: of each sample its tokens, then positions, then labels: one place to read) and `index`
(ENTRY for each sample) with a meta.json. A split is the folder of its shards and one `index` of all of them, in their order.
"""

import mmap
import os
import shutil
import sys
from array import array
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np

from jax_mlperf.data import prepared_files, records
from jax_mlperf.data.pretraining_examples import Example
from jax_mlperf.errors import UserError

VALUES, INDEX = "values", "index"
MAX_VOCABULARY = 1 << 16  # ids are uint16
# Of one sample: where its values begin in the shard (in values), its tokens, those of segment A with its [CLS] and [SEP], its
# predictions, and whether the second segment is a random one.
ENTRY = np.dtype([("offset", "<u4"), ("length", "<u2"), ("first", "<u2"), ("predictions", "u1"), ("random_next", "u1")])
_FLUSH_VALUES = 1 << 20


@dataclass(frozen=True)
class ShardMeta:
    """What a shard holds.

    Attributes:
      fingerprint: of all that its samples came of.
      length_counts: how many samples have 0, 1, 2, ... tokens.
    """

    fingerprint: str
    samples: int
    values: int
    predictions: int
    random_next: int
    length_counts: list[int]


class Texts(NamedTuple):
    """Samples as they lie in storage, one behind the other.

    Attributes:
      entries: ENTRY [n]; `offset` is here that in `values`.
      values: uint16 [sum of lengths and twice the predictions].
    """

    entries: np.ndarray
    values: np.ndarray


def read_shard_meta(folder: Path) -> ShardMeta | None:
    """What a shard holds, or None where there is none.

    Raises:
      UserError: its meta.json is damaged.
    """
    return prepared_files.read_meta(folder, ShardMeta)


def is_whole(folder: Path) -> bool:
    """Whether the files of a shard have the sizes that its meta.json tells."""
    try:
        meta = read_shard_meta(folder)
        return meta is not None and (_size(folder / VALUES), _size(folder / INDEX)) == (
            2 * meta.values, ENTRY.itemsize * meta.samples)
    except UserError:
        return False


def write_shard(folder: Path, name: str, examples: Iterable[Example], fingerprint: str) -> ShardMeta:
    """Writes the shard `folder/name`, in place of what is there.

    Raises:
      UserError: more values than an index can address.
    """
    rows: list[tuple[int, int, int, int, bool]] = []
    with records.written_atomically(folder / name) as temporary:
        written = 0
        with open(temporary / VALUES, "wb") as file:
            buffer = array("H")
            for tokens, first, positions, labels, random_next in examples:
                rows.append((written + len(buffer), len(tokens), first, len(positions), random_next))
                buffer.extend(tokens)
                buffer.extend(positions)
                buffer.extend(labels)
                if len(buffer) > _FLUSH_VALUES:
                    written += len(buffer)
                    _write(file, buffer)
                    buffer = array("H")
            written += len(buffer)
            _write(file, buffer)
        if written >= 1 << 32:
            raise UserError(f"the samples of {name} take {written:,} values, a shard holds {1 << 32:,}: cut its file in two")
        entries = np.array(rows, ENTRY)
        entries.tofile(temporary / INDEX)
        meta = ShardMeta(fingerprint, len(entries), written, int(entries["predictions"].sum(dtype=np.int64)),
                         int(entries["random_next"].sum(dtype=np.int64)), np.bincount(entries["length"]).tolist())
        records.write_meta(temporary, asdict(meta))
    return meta


def _write(file: BinaryIO, values: array) -> None:
    if sys.byteorder == "big":
        values.byteswap()
    values.tofile(file)


def write_index(folder: Path, names: Sequence[str]) -> None:
    """Puts the shards' indices one behind the other into `folder/index`, and removes what is no shard of these names."""
    temporary = folder / f".{INDEX}.{os.getpid()}.writing"
    with open(temporary, "wb") as whole:
        for name in names:
            with open(folder / name / INDEX, "rb") as file:
                shutil.copyfileobj(file, whole, 1 << 20)
    temporary.replace(folder / INDEX)
    for path in folder.iterdir():
        if path.name not in {*names, INDEX}:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


class Samples:
    """The samples of a split, memory-mapped; a shard is opened when it is first read.

    Args:
      folder: of the shards.
      names: of the shards, in order.
      counts: samples of each.

    Raises:
      UserError: the index is missing or of another size.
    """

    def __init__(self, folder: Path, names: Sequence[str], counts: Sequence[int]):
        self.folder, self._names = folder, list(names)
        self._ends = np.cumsum(np.asarray(counts, np.int64))
        self._values: dict[int, tuple[mmap.mmap, np.ndarray]] = {}
        path = folder / INDEX
        size = _size(path)
        if size != len(self) * ENTRY.itemsize:
            raise prepared_files.damaged(path, f"has {size:,} bytes, should have {len(self) * ENTRY.itemsize:,}")
        # asarray: indexing the memmap class itself costs a Python call each time.
        self._index = np.asarray(np.memmap(path, ENTRY, "r")) if size else np.zeros(0, ENTRY)

    def __len__(self) -> int:
        """Number of samples."""
        return int(self._ends[-1]) if len(self._ends) else 0

    def entries(self, samples: np.ndarray) -> np.ndarray:
        """ENTRY [n] of the samples int [n]; read in their order in storage."""
        order = np.argsort(samples, kind="stable")
        found = np.empty(len(samples), ENTRY)
        found[order] = self._index[samples[order]]
        return found

    def lengths(self, samples: np.ndarray) -> np.ndarray:
        """Tokens of each, int64 [n]."""
        return self.entries(samples)["length"].astype(np.int64)

    def fetch(self, samples: np.ndarray) -> Texts:
        """The samples int [n], in the order given.

        Raises:
          UserError: a shard is missing or of another size.
        """
        entries = self.entries(samples)
        sizes = entries["length"].astype(np.int64) + 2 * entries["predictions"].astype(np.int64)
        shards = np.searchsorted(self._ends, samples, side="right").tolist()
        places = list(zip(shards, entries["offset"].tolist(), sizes.tolist(), strict=True))
        for shard, offset, size in places:  # all at once, so that storage answers them side by side
            self._announce(shard, 2 * offset, 2 * size)
        pieces = [self._shard(shard)[1][offset : offset + size] for shard, offset, size in places]
        values = np.concatenate(pieces) if pieces else np.zeros(0, np.uint16)
        if len(values) != sizes.sum():
            raise prepared_files.damaged(self.folder / INDEX, "points beyond the samples")
        entries["offset"] = np.cumsum(sizes) - sizes
        return Texts(entries, values)

    def close(self) -> None:
        """Forgets the open shards; a later read opens them again."""
        self._values = {}

    def _announce(self, shard: int, start: int, size: int) -> None:
        if hasattr(mmap, "MADV_WILLNEED"):
            page = start - start % mmap.PAGESIZE
            self._shard(shard)[0].madvise(mmap.MADV_WILLNEED, page, start + size - page)

    def _shard(self, number: int) -> tuple[mmap.mmap, np.ndarray]:
        found = self._values.get(number)
        if found is None:
            found = self._values[number] = self._opened(self.folder / self._names[number])
        return found

    def _opened(self, shard: Path) -> tuple[mmap.mmap, np.ndarray]:
        meta, size = read_shard_meta(shard), _size(shard / VALUES)
        if meta is None:
            raise prepared_files.damaged(shard, "has no meta.json")
        if size != 2 * meta.values:
            raise prepared_files.damaged(shard / VALUES, f"has {size:,} bytes, should have {2 * meta.values:,}")
        with open(shard / VALUES, "rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        if hasattr(mmap, "MADV_RANDOM"):  # else every sample reads 128 KB around it
            mapped.madvise(mmap.MADV_RANDOM)
        return mapped, np.frombuffer(mapped, "<u2")


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise prepared_files.damaged(path, f"cannot be read: {error.strerror}") from error
