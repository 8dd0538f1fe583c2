"""The MLPerf lines of a log file, whatever else the file holds: in constant memory, and without ever raising on its content."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

TOKEN = b":::MLLOG "
# What the token of rules 0.5 (:::MLPv0.5.0) and 0.6 (:::MLL) begins with too.
_OLD = (b":::MLPv", b":::MLL ")
_CHUNK = 1 << 20
# The longest line that is parsed; real ones have at most some kilobytes.
_LONGEST = 1 << 18


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


def log_lines(path: Path) -> Iterator[LogLine | Damage]:
    """The lines of a file in their order.

    Text before the token (a rank's tag, a progress bar) is passed over, as the compliance checker's parser does; lines that
    several processes wrote into one another are told apart at their tokens.

    Raises:
      OSError: the file cannot be read.
    """
    with path.open("rb") as file:
        for text in _line_ends(file):
            yield from _parse(text)


def old_format(path: Path) -> bool:
    """Whether the file has lines of rules 0.5 or 0.6 in its first megabyte, in a form that is not read here."""
    with path.open("rb") as file:
        head = file.read(_CHUNK)
    return any(token in head for token in _OLD)


def _line_ends(file: BinaryIO) -> Iterator[bytes]:
    """What follows the first token of each line, up to the line's end, or to `_LONGEST` bytes."""
    rest = b""
    while chunk := file.read(_CHUNK):
        data = rest + chunk
        position = 0
        while (start := data.find(TOKEN, position)) >= 0:
            end = data.find(b"\n", start)
            if end < 0 and len(data) - start < _LONGEST:
                break
            end = end if 0 <= end <= start + _LONGEST else start + _LONGEST
            yield data[start + len(TOKEN):end]
            position = end
        rest = data[start:] if start >= 0 else data[max(position, len(data) - len(TOKEN) + 1):]
    if rest.startswith(TOKEN):
        yield rest[len(TOKEN):]


def _parse(text: bytes) -> Iterator[LogLine | Damage]:
    for part in text.split(TOKEN):
        yield _parse_one(part.decode("utf-8", errors="replace").strip())


_DECODER = json.JSONDecoder()


def _parse_one(text: str) -> LogLine | Damage:
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
