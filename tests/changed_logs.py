"""Copies of log files in which something is different."""

from pathlib import Path


def changed(log: Path, folder: Path, before: str, after: str) -> Path:
    """A copy in which a text is another one."""
    text = log.read_text()
    assert before in text
    path = folder / "result_0.txt"
    path.write_text(text.replace(before, after))
    return path


def without(log: Path, folder: Path, *keys: str) -> Path:
    """A copy without the lines of some keys."""
    path = folder / "result_0.txt"
    path.write_text("".join(line for line in log.read_text().splitlines(True) if not any(f'"key": "{key}"' in line for key in keys)))
    return path
