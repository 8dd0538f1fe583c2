"""The MLPerf lines of a file, each made by the official checker's own parser; what would crash that parser is told in words."""

import dataclasses
import importlib
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from jax_mlperf.errors import printable
from jax_mlperf.mlperf.reading.log_lines import LONGEST, TOKEN, token_lines

# Bounds on what is held of one file: far more than any run writes.
_MOST_LINES = 300_000
_MOST_BYTES = 1 << 26
_MOST_PROBLEMS = 20
# Lines that a run may write at every step and that no ruleset names.
_UNCHECKED = frozenset(("tracked_stats", "throughput"))


def last_tokens(path: Path) -> Iterator[tuple[int, str | None]]:
    """Number of each line with a token, and its text from its last token on; None for one too long to be a run's.

    The official parser likewise passes over what stands before the last token, and reads bytes as latin-1.

    Raises:
      OSError: the file cannot be read.
    """
    for number, line in token_lines(path):
        yield number, None if line is None else line[line.rfind(TOKEN):].decode("latin-1")


@dataclasses.dataclass
class CheckerLines:
    """What the rules are held against.

    Attributes:
      lines: the parser's LogLine objects (full_string, timestamp in ms, key, value {"value", "metadata"}, lineno); lineno is
        the number of the line in the file.
      problems: in words, what stands after a token and is no line.
    """

    lines: list[Any] = dataclasses.field(default_factory=list)
    problems: list[str] = dataclasses.field(default_factory=list)


def checker_lines(path: Path, ruleset: str) -> CheckerLines:
    """All lines of a file that rules may name, by the parser of a ruleset.

    Raises:
      OSError: the file cannot be read.
    """
    result, size, damaged = CheckerLines(), 0, 0
    for number, text in last_tokens(path):
        line = parse(number, text, ruleset)
        if isinstance(line, str):
            damaged += 1
            if damaged <= _MOST_PROBLEMS:
                result.problems.append(line)
        elif not (isinstance(line.key, str) and line.key in _UNCHECKED):
            result.lines.append(line)
            size += len(line.full_string)
            if len(result.lines) >= _MOST_LINES or size >= _MOST_BYTES:
                result.problems.append(f"the file has too many MLPerf lines: only those up to line {number} were checked")
                break
    if damaged > _MOST_PROBLEMS:
        result.problems.append(f"{damaged - _MOST_PROBLEMS} more lines are damaged")
    return result


def parse(number: int, text: str | None, ruleset: str) -> Any:
    """A LogLine, or a text that says what is wrong with the line."""
    module = importlib.import_module(f"mlperf_logging.compliance_checker.mlp_parser.ruleset_{ruleset.replace('.', '')}")
    if text is None:
        return f"line {number} is longer than {LONGEST} bytes"
    try:
        # Not the parser's entry for files, whose time grows with the square of a line's length.
        line = module.string_to_logline(number, text.strip())
    except (ValueError, KeyError, TypeError, OverflowError, RecursionError) as error:
        return f"line {number} {_reason(error)}: {shown_line(text)}"
    if not math.isfinite(line.timestamp):
        return f"line {number} has a time_ms that is no finite number: {shown_line(text)}"
    return line


def _reason(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"has no {error.args[0]!r}"
    if isinstance(error, RecursionError):
        return "is nested too deeply"
    if "float" in str(error):
        return "has a time_ms that is no number"
    if isinstance(error, ValueError):
        return "has text after its JSON" if str(error).startswith("Extra data") else "is not whole JSON"
    return "is not a JSON object"


def shown_line(text: str, most: int = 120) -> str:
    """A line of the file as a message shows it: its beginning, without the token, and in the encoding it was written in."""
    written = text[:4 * most].removeprefix(TOKEN.decode()).encode("latin-1", errors="replace")
    text = printable(written.decode("utf-8", errors="replace").strip())
    return text if len(text) <= most else f"{text[:most]}..."
