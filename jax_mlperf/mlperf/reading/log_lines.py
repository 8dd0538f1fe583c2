"""The MLPerf lines of a log file, whatever else the file holds: in constant memory, and without ever raising on its content."""

import errno
import json
import re
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path
from typing import Any, NamedTuple

TOKEN = b":::MLLOG "
# What the token of rules 0.5 (:::MLPv0.5.0) and 0.6 (:::MLL) begins with too.
_OLD = (b":::MLPv", b":::MLL ")
_CHUNK = 1 << 20
# Text files in Python end their lines at these, and the official parser reads the file as text.
_BREAK = re.compile(rb"[\r\n]")
# Of a line in bytes; real ones have at most some kilobytes.
LONGEST = 1 << 20


class LogLine(NamedTuple):
    """One line: milliseconds since the epoch, key, any JSON value, metadata ({} when it has none)."""

    time_ms: int
    key: str
    value: Any
    metadata: dict[str, Any]


class Damage(NamedTuple):
    """What stood after a token and is no line: the first characters of it, and what is wrong."""

    text: str
    reason: str


def open_file(path: Path) -> BufferedReader:
    """Opens a file that was found by its name: a pipe there would wait for ever, and a device may have no end.

    Raises:
      OSError: the file cannot be read.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return path.open("rb")


def log_lines(path: Path) -> Iterator[LogLine | Damage]:
    """The lines of a file in their order.

    Text before the token (a rank's tag, a progress bar) is passed over, as the compliance checker's parser does; lines that
    several processes wrote into one another are told apart at their tokens.

    Raises:
      OSError: the file cannot be read.
    """
    for _, text in token_lines(path):
        if text is None:
            yield Damage("", f"is longer than {LONGEST} bytes")
        else:
            for part in text.split(TOKEN)[1:]:
                yield _parse(part.decode("utf-8", errors="replace").strip())


def token_lines(path: Path) -> Iterator[tuple[int, bytes | None]]:
    """Number of each line with a token, and its bytes from its first token on; None for one too long to be a run's.

    Raises:
      OSError: the file cannot be read.
    """
    rest, number, overlong = b"", 1, False
    with open_file(path) as file:
        while chunk := file.read(_CHUNK):
            data, position = rest + chunk, 0
            if overlong:
                line_end = _BREAK.search(data)
                position, overlong = (line_end.start(), False) if line_end else (len(data), True)
            while (start := data.find(TOKEN, position)) >= 0 and (line_end := _BREAK.search(data, start)):
                number += data.count(b"\n", position, start)
                position = line_end.start()
                yield number, data[start:position]
            start = start if start >= 0 else max(position, len(data) - len(TOKEN) + 1)
            number += data.count(b"\n", position, start)
            rest = data[start:]
            if rest.startswith(TOKEN) and len(rest) > LONGEST:
                yield number, None
                rest, overlong = b"", True
    if rest.startswith(TOKEN):
        yield number, rest


def old_format(path: Path) -> bool:
    """Whether the file has lines of rules 0.5 or 0.6 in its first megabyte, in a form that is not read here."""
    with open_file(path) as file:
        head = file.read(_CHUNK)
    return any(token in head for token in _OLD)


_DECODER = json.JSONDecoder()


def _parse(text: str) -> LogLine | Damage:
    try:
        content, _ = _DECODER.raw_decode(text)
    except (ValueError, RecursionError):
        return Damage(text[:80], "is not whole JSON")
    if not isinstance(content, dict):
        return Damage(text[:80], "is not a JSON object")
    key, metadata = content.get("key"), content.get("metadata") or {}
    try:
        time_ms = int(float(content["time_ms"]))
    except (KeyError, TypeError, ValueError, OverflowError):
        return Damage(text[:80], "has no time_ms that is a number")
    if not isinstance(key, str) or not isinstance(metadata, dict):
        return Damage(text[:80], "has no key, or metadata that are no object")
    return LogLine(time_ms, key, content.get("value"), metadata)
