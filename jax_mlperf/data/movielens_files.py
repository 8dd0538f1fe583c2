"""Reads MovieLens' rating files, all digits of a block of lines at once: ratings.csv, ratings.dat and u.data.

A block that is not in the published form goes through the exact parser (`movielens_lines`), which names the bad line.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_mlperf.data.movielens_lines import Form, header_problem, parse_lines
from jax_mlperf.errors import UserError

# File name, separator and header of each published set: the READMEs inside the archives.
FORMS = {
    "ml-20m": Form("ratings.csv", b",", b"userId,movieId,rating,timestamp"),
    "ml-1m": Form("ratings.dat", b"::"),
    "ml-100k": Form("u.data", b"\t"),
}
BLOCK_BYTES = 1 << 20  # its arrays stay in a core's cache
LARGEST_ID = 2**31 - 1
_PADDING = b"0" * 16  # so that the 16 bytes before the end of any field exist
_DIGITS = 8  # in a word of 64 bits
_ZEROS, _SIXES, _HIGH_BITS = (np.uint64(byte * 0x0101010101010101) for byte in (ord("0"), 0x76, 0x80))
# The bytes of a word that the last 0..8 digits take: a little-endian word's first byte is its lowest.
_MASKS = np.array([(2**64 - 1) ^ (2 ** (64 - 8 * digits) - 1) for digits in range(_DIGITS + 1)], np.uint64)


class Events(NamedTuple):
    """Who rated what when, in the file's order: int32 [n] users, int32 [n] items, int64 [n] seconds."""

    users: np.ndarray
    items: np.ndarray
    timestamps: np.ndarray


class _Task(NamedTuple):
    path: Path
    form: Form
    start: int
    end: int
    last: bool


def read(path: Path, form: Form, workers: int = 1) -> Events:
    """All ratings of a file.

    Args:
      workers: threads that share the file.

    Raises:
      UserError: the file cannot be read, is empty, has not the form's header, or one of its lines is malformed.
    """
    try:
        tasks = list(_tasks(path, form))
        # Threads: numpy lets others run while it works; processes would spend longer handing the arrays over than making them.
        with ThreadPoolExecutor(max(workers, 1)) as pool:
            parts = list(pool.map(_read_block, tasks))
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    events = Events(*(np.concatenate(column) for column in zip(*parts, strict=True))) if parts else None
    if events is None or not len(events.users):
        raise UserError(f"{path} holds no ratings: copy or download it again")
    return events


def _tasks(path: Path, form: Form) -> Iterator[_Task]:
    """Byte ranges of about BLOCK_BYTES that end after a newline (or with the file)."""
    size = path.stat().st_size
    with open(path, "rb") as file:
        if form.header and size:
            problem = header_problem(file.readline(), form)
            if problem:
                raise UserError(f"{path}, line 1: {problem}")
        start = file.tell()
        while start < size:
            file.seek(start + BLOCK_BYTES)
            file.readline()
            end = min(file.tell(), size)
            yield _Task(path, form, start, end, end == size)
            start = end


def _read_block(task: _Task) -> Events:
    with open(task.path, "rb") as file:
        file.seek(task.start)
        block = file.read(task.end - task.start)
        if task.last:  # its last line may lack the newline, or be blank
            block = block.rstrip(b"\r\n") + b"\n"
        if block == b"\n":
            return Events(np.zeros(0, np.int32), np.zeros(0, np.int32), np.zeros(0, np.int64))
        events = parse_block(block, task.form.separator)
        if events is None:
            events = Events(*parse_lines(block, task.path, task.form, task.start, LARGEST_ID))
        return events


def parse_block(block: bytes, separator: bytes) -> Events | None:
    """The ratings of whole lines, or None when a line is not four fields of plain digits (the rating: d or d.d)."""
    data = np.frombuffer(_PADDING + block, np.uint8)
    cuts = np.flatnonzero((data == separator[0]) | (data == ord("\n")))
    width = len(separator)
    if len(cuts) % (3 * width + 1):
        return None
    lines = cuts.reshape(-1, 3 * width + 1)
    newlines = lines[:, -1]
    if (data[newlines] != ord("\n")).any() or (data[lines[:, :-1]] != separator[0]).any():
        return None
    before, after = lines[:, 0:-1:width], lines[:, width - 1 : -1 : width] + 1  # of the three separators
    if width > 1 and (after - before != width).any():
        return None
    first = np.concatenate([[len(_PADDING)], newlines[:-1] + 1])
    last = newlines - (data[newlines - 1] == ord("\r"))
    words = np.ndarray((len(data) - 7,), "<u8", data, strides=(1,))  # the eight bytes from any place on
    users = _numbers(words, first, before[:, 0])
    items = _numbers(words, after[:, 0], before[:, 1])
    timestamps = _numbers(words, after[:, 2], last)
    if users is None or items is None or timestamps is None or not _are_ratings(data, after[:, 1], before[:, 2]):
        return None
    if max(users.max(), items.max()) > LARGEST_ID:
        return None
    return Events(users.astype(np.int32), items.astype(np.int32), timestamps.astype(np.int64))


def _numbers(words: np.ndarray, start: np.ndarray, end: np.ndarray) -> np.ndarray | None:
    """uint64 [n]: the decimal numbers in the bytes start[i]:end[i], or None when one is none, or longer than 16 digits."""
    length = end - start
    longest = length.max()
    if length.min() < 1 or longest > 2 * _DIGITS:
        return None
    low = _eight_digits(words[end - _DIGITS], np.minimum(length, _DIGITS))
    if longest <= _DIGITS or low is None:
        return low
    high = _eight_digits(words[end - 2 * _DIGITS], np.maximum(length - _DIGITS, 0))
    return None if high is None else low + high * np.uint64(10**_DIGITS)


def _eight_digits(words: np.ndarray, digits: np.ndarray) -> np.ndarray | None:
    """The values of the last `digits` characters of each word, first character lowest, or None when one is no digit.

    Neighbours are joined three times, all pairs of a word in one multiplication: to 2, 4, then 8 digits.
    """
    words = words ^ _ZEROS
    words &= _MASKS[digits]
    if (((words + _SIXES) | words) & _HIGH_BITS).any():  # a byte above 9
        return None
    for bits, pairs in ((8, 0x00FF00FF00FF00FF), (16, 0x0000FFFF0000FFFF), (32, 0x00000000FFFFFFFF)):
        words *= np.uint64((10 ** (bits // 8) << bits) + 1)
        words >>= np.uint64(bits)
        words &= np.uint64(pairs)
    return words


def _are_ratings(data: np.ndarray, start: np.ndarray, end: np.ndarray) -> bool:
    """Whether every field is d or d.d: whole or half stars."""

    def digit(place: np.ndarray) -> np.ndarray:
        return data[place] - np.uint8(ord("0")) <= 9  # uint8 wraps around

    length = end - start
    half = (length == 3) & (data[start + 1] == ord(".")) & digit(start + 2)
    return bool((digit(start) & ((length == 1) | half)).all())
