"""Encodes text files with a subtokenizer on all cores: chunks of lines go out, ids come back in order."""

import contextlib
import multiprocessing
import multiprocessing.pool
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from jax_mlperf.data.records import token_dtype
from jax_mlperf.data.subtokenizer import Subtokenizer
from jax_mlperf.errors import UserError

CHUNK_BYTES = 2 << 20

_worker_subtokenizer: Subtokenizer | None = None  # each worker process loads the vocabulary once


def read_lines(path: Path) -> list[str]:
    """The lines of a UTF-8 file, cut at "\\n" only: \\r, U+0085 and U+2028 stand inside lines of WMT's text.

    Raises:
      UserError: the file is missing or not UTF-8.
    """
    try:
        return _split_lines(path.read_bytes(), path)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error


def count_lines(path: Path) -> int:
    """Number of lines, a last one without its newline counted."""
    lines, last = 0, b"\n"
    with open(path, "rb") as file:
        while block := file.read(1 << 22):
            lines += block.count(b"\n")
            last = block[-1:]
    return lines + (last != b"\n")


def encode_files(
    paths: Sequence[Path], vocabulary: Path, workers: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Encodes the files' lines in order, one after another.

    Args:
      vocabulary: file of the subtokenizer.
      workers: processes to use; 1, or text of one chunk, starts none.

    Yields:
      for each chunk, ids (uint16 or uint32) [sum of lengths] and lengths int64 [lines], EOS counted.
    """
    chunks = [(path, start, end) for path in paths for start, end in _line_ranges(path)]
    if workers <= 1 or len(chunks) <= 1:
        subtokenizer = Subtokenizer.from_file(vocabulary)
        yield from (_encode_chunk(chunk, subtokenizer) for chunk in chunks)
        return
    # Not forked: the caller may already run the threads of an accelerator library.
    with contextlib.closing(_pool(min(workers, len(chunks)), vocabulary)) as pool:
        yield from pool.imap(_encode_in_worker, chunks)


def _pool(workers: int, vocabulary: Path) -> multiprocessing.pool.Pool:
    return multiprocessing.get_context("spawn").Pool(workers, _start_worker, (vocabulary,))


def _start_worker(vocabulary: Path) -> None:
    global _worker_subtokenizer
    _worker_subtokenizer = Subtokenizer.from_file(vocabulary)


def _encode_in_worker(chunk: tuple[Path, int, int]) -> tuple[np.ndarray, np.ndarray]:
    assert _worker_subtokenizer is not None
    return _encode_chunk(chunk, _worker_subtokenizer)


def _encode_chunk(chunk: tuple[Path, int, int], subtokenizer: Subtokenizer) -> tuple[np.ndarray, np.ndarray]:
    path, start, end = chunk
    with open(path, "rb") as file:
        file.seek(start)
        lines = _split_lines(file.read(end - start), path)
    ids, lengths = subtokenizer.encode_lines(lines)
    return ids.astype(token_dtype(subtokenizer.vocab_size)), lengths


def _line_ranges(path: Path) -> Iterator[tuple[int, int]]:
    """Byte ranges of about CHUNK_BYTES that end after a newline (or with the file)."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        start = 0
        while start < size:
            file.seek(start + CHUNK_BYTES)
            file.readline()
            end = min(file.tell(), size)
            yield start, end
            start = end


def _split_lines(data: bytes, path: Path) -> list[str]:
    lines = decode_text(data, path).split("\n")
    return lines[:-1] if lines[-1] == "" else lines


def decode_text(data: bytes, path: Path) -> str:
    """Decodes UTF-8; a UserError that names the file and the place when it is none."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[max(0, error.start - 20) : error.start]
        raise UserError(f"{path} is not UTF-8 text ({error.reason} after {before!r}): convert it") from error
