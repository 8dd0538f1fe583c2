"""The exact parser of rating lines: slow, it says of the first bad line what is wrong."""

import math
import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jax_mlperf.errors import UserError

FIELDS = ("userId", "movieId", "rating", "timestamp")
_SHOWN_CHARACTERS = 80
_NUMBER = re.compile(r"[-+]?([0-9]+\.?[0-9]*|\.[0-9]+)([eE][-+]?[0-9]+)?")
_LARGEST_TIMESTAMP = 2**63 - 1


@dataclass(frozen=True)
class Form:
    """How a file of ratings is written: its name, what stands between the four fields, its first line if it has one."""

    name: str
    separator: bytes
    header: bytes = b""


def header_problem(line: bytes, form: Form) -> str:
    """What is wrong with the first line; "" when nothing is."""
    if line.rstrip(b"\r\n") == form.header:
        return ""
    return f"the header is {shortened(line)}, must be {form.header.decode()!r}{_quotes(line)}"


def parse_lines(block: bytes, path: Path, form: Form, start: int, largest_id: int) -> tuple[np.ndarray, ...]:
    """int32 users, int32 items, int64 timestamps of whole lines, which begin at byte `start` of the file.

    Raises:
      UserError: a line has not four fields, or one is not the number it should be.
    """
    rows: list[tuple[int, ...]] = []
    for index, line in enumerate(block.split(b"\n")[:-1], 1):
        try:
            rows.append(_parse_line(line.removesuffix(b"\r"), form, largest_id))
        except ValueError as error:
            number = _lines_before(path, start) + index
            raise UserError(f"{path}, line {number:,}: {error}; the line is {shortened(line)}") from error
    columns = np.array(rows, np.int64).reshape(-1, 3).T
    return columns[0].astype(np.int32), columns[1].astype(np.int32), columns[2]


def shortened(line: bytes) -> str:
    """The line as a quoted text of at most 80 characters and "..."."""
    text = line.decode("utf-8", "replace").rstrip("\r\n")
    return repr(text) if len(text) <= _SHOWN_CHARACTERS else repr(text[:_SHOWN_CHARACTERS]) + "..."


def _lines_before(path: Path, end: int) -> int:
    with open(path, "rb") as file:
        return file.read(end).count(b"\n")


def _quotes(line: bytes) -> str:
    return " (quoted fields are not read: write the file without quotes)" if b'"' in line else ""


def _parse_line(line: bytes, form: Form, largest_id: int) -> tuple[int, int, int]:
    if not line.strip():
        raise ValueError("the line is blank, must not be before the end of the file")
    fields = line.decode("utf-8", "replace").split(form.separator.decode())
    if len(fields) != len(FIELDS) or b'"' in line:
        raise ValueError(f"{len(fields)} fields separated by {form.separator.decode()!r}, must be {len(FIELDS)}: "
                         f"{', '.join(FIELDS)}{_quotes(line)}")
    _check_rating(fields[2])
    limits = (largest_id, largest_id, _LARGEST_TIMESTAMP)
    user, item, timestamp = (
        _whole(FIELDS[column], fields[column], limit) for column, limit in zip((0, 1, 3), limits, strict=True))
    return user, item, timestamp


def _check_rating(text: str) -> None:
    if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
        raise ValueError(f"rating is {text!r}, must be a number")


def _whole(name: str, text: str, limit: int) -> int:
    if not re.fullmatch("-?[0-9]+", text):
        raise ValueError(f"{name} is {text!r}, must be a whole number")
    if not 0 <= int(text) <= limit:
        raise ValueError(f"{name} is {text}, must {'not be negative' if text.startswith('-') else f'be at most {limit:,}'}")
    return int(text)
