"""The MLPerf log of one run: result_<i>.txt and standard output, through the official mllog writer.

Keys, order and meaning: MLPerf training rules and the compliance checker of mlperf_logging, rulesets 0.7 and later.
"""

import logging
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mlperf_logging.mllog import mllog

from jax_mlperf.benchmark import LogEntry
from jax_mlperf.errors import UserError

REPOSITORY = str(Path(__file__).resolve().parents[2])


class MLPerfLog:
    """Writes the lines of one run; on every process but the first one it writes nothing.

    The file may be continued: `length()` goes into a checkpoint, and a resumed run cuts the file back to it, so that
    what happened after the checkpoint is not told twice.
    """

    def __init__(self, path: Path, *, enabled: bool = True, before_echo: Callable[[], None] | None = None,
                 keep_bytes: int = 0) -> None:
        """Opens `path`, keeping its first `keep_bytes` bytes.

        Args:
          path: the result file.
          enabled: False on all processes but process 0.
          before_echo: called before each line is printed to standard output too; None prints none.
          keep_bytes: length of the part that a checkpoint vouches for; 0 starts the file anew.
        Raises:
          UserError: the file that is to be continued is gone or too short.
        """
        self._path = path
        self._logger = logging.Logger(f"mllog:{path}", level=logging.INFO)
        self._file: logging.FileHandler | None = None
        if enabled:
            if keep_bytes:
                if not path.is_file() or path.stat().st_size < keep_bytes:
                    raise UserError(f"{path} is missing or cut short, but the checkpoint beside it needs its first "
                                    f"{keep_bytes} bytes; put it back, or choose another --workdir")
                with path.open("r+b") as file:
                    file.truncate(keep_bytes)
            self._file = logging.FileHandler(path, mode="a" if keep_bytes else "w")
            self._logger.addHandler(self._file)
            if before_echo:
                self._logger.addHandler(_Echo(before_echo))
        else:
            self._logger.addHandler(logging.NullHandler())
        self._mllog = mllog.MLLogger(logger=self._logger, root_dir=REPOSITORY, default_stack_offset=2)

    def length(self) -> int:
        """Bytes written so far, all of them in the hands of the operating system."""
        return self._path.stat().st_size if self._file else 0

    def event(self, key: str, value: Any = None, **metadata: Any) -> None:
        """A POINT_IN_TIME line."""
        self._mllog.event(key, value, metadata=metadata)

    def start(self, key: str, value: Any = None, **metadata: Any) -> None:
        """An INTERVAL_START line; `key` ends in _start."""
        self._mllog.start(key, value, metadata=metadata)

    def end(self, key: str, value: Any = None, **metadata: Any) -> None:
        """An INTERVAL_END line; `key` ends in _stop."""
        self._mllog.end(key, value, metadata=metadata)

    def entries(self, entries: list[LogEntry]) -> None:
        """One event line for each hyperparameter."""
        for entry in entries:
            self._mllog.event(entry.key, entry.value, metadata=entry.metadata or {})

    def close(self) -> None:
        """Closes the file."""
        if self._file:
            self._file.close()


class _Echo(logging.StreamHandler):
    """Prints to standard output, where a progress line may have to make room first."""

    def __init__(self, before: Callable[[], None]) -> None:
        super().__init__(sys.stdout)
        self._before = before

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        self._before()
        super().emit(record)


def now_ms() -> int:
    """Milliseconds since the epoch, the unit of the log."""
    return int(time.time() * 1000)
