"""On-disk store of token sequences: flat tokens and int64 offsets, memory-mapped for random access."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

META = "meta.json"
_SAMPLED_BYTES = 1 << 20


def token_dtype(vocab_size: int) -> np.dtype:
    """The smallest unsigned type that holds ids 0..vocab_size-1: uint16 or uint32."""
    return np.dtype(np.uint16 if vocab_size <= 1 << 16 else np.uint32)


class Sequences:
    """Sequences in `<path>.tokens.npy` and `<path>.offsets.npy`; nothing is read before it is used.

    Attributes:
      tokens: uint16 or uint32 [sum of lengths].
      offsets: int64 [sequences + 1]; sequence i is tokens[offsets[i] : offsets[i + 1]].
    """

    def __init__(self, path: Path):
        # asarray: indexing the memmap class itself costs a Python call each time.
        self.tokens = np.asarray(np.load(_tokens_file(path), mmap_mode="r"))
        self.offsets = np.asarray(np.load(_offsets_file(path), mmap_mode="r"))

    def __len__(self) -> int:
        """Number of sequences."""
        return len(self.offsets) - 1

    def __getitem__(self, index: int) -> np.ndarray:
        """Tokens of one sequence."""
        return self.tokens[self.offsets[index] : self.offsets[index + 1]]

    def lengths(self) -> np.ndarray:
        """int64 [sequences]."""
        return np.diff(self.offsets)


def write_sequences(
    path: Path, chunks: Iterable[tuple[np.ndarray, np.ndarray]], vocab_size: int
) -> np.ndarray:
    """Writes (tokens, lengths) chunks one after another; returns all lengths, int64 [sequences]."""
    lengths: list[np.ndarray] = [np.zeros(0, np.int64)]
    dtype = token_dtype(vocab_size)
    raw = path.with_name(path.name + ".raw")
    with open(raw, "wb") as file:
        for tokens, sizes in chunks:
            file.write(tokens.astype(dtype).tobytes())
            lengths.append(sizes)
    sizes = np.concatenate(lengths)
    np.save(_offsets_file(path), np.concatenate([[0], np.cumsum(sizes)]))
    flat = np.memmap(raw, dtype, "r") if raw.stat().st_size else np.zeros(0, dtype)
    np.save(_tokens_file(path), flat)
    del flat
    raw.unlink()
    return sizes


def _tokens_file(path: Path) -> Path:
    return path.with_name(path.name + ".tokens.npy")


def _offsets_file(path: Path) -> Path:
    return path.with_name(path.name + ".offsets.npy")


@contextlib.contextmanager
def written_atomically(folder: Path) -> Iterator[Path]:
    """Yields a temporary folder that takes the place of `folder` when the block ends well, else vanishes."""
    temporary = folder.with_name(f".{folder.name}.{os.getpid()}.writing")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        outdated = folder.with_name(f".{folder.name}.{os.getpid()}.outdated")
        if folder.exists():
            folder.rename(outdated)
        temporary.rename(folder)
        shutil.rmtree(outdated, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def write_meta(folder: Path, meta: dict[str, Any]) -> None:
    """Writes the folder's meta.json."""
    (folder / META).write_text(json.dumps(meta) + "\n", encoding="utf-8")


def read_meta(folder: Path) -> dict[str, Any] | None:
    """The folder's meta.json, or None when the folder was not prepared."""
    try:
        return json.loads((folder / META).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def file_digest(path: Path) -> str:
    """A quick digest of a file's size and content: whole up to 3 MiB, else its first, middle and last MiB.

    A gigabyte of text is told from another in a millisecond; moving or copying the file changes nothing.
    """
    size = path.stat().st_size
    digest = hashlib.blake2b(str(size).encode(), digest_size=16)
    with open(path, "rb") as file:
        if size <= 3 * _SAMPLED_BYTES:
            digest.update(file.read())
        else:
            for start in (0, (size - _SAMPLED_BYTES) // 2, size - _SAMPLED_BYTES):
                file.seek(start)
                digest.update(file.read(_SAMPLED_BYTES))
    return digest.hexdigest()


def fingerprint(settings: Any) -> str:
    """32 hexadecimal digits that change with any of the settings (anything that JSON can write)."""
    return hashlib.blake2b(
        json.dumps(settings, sort_keys=True, default=str).encode(), digest_size=16
    ).hexdigest()
