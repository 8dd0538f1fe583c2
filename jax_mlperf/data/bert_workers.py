"""Work on many parts in processes that import little, with a line now and then for who waits."""

import concurrent.futures
import multiprocessing
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures.process import BrokenProcessPool
from typing import Any, TypeVar

from jax_mlperf.errors import UserError

Result = TypeVar("Result")
INTERVAL_SEC = 30.0


def in_processes(work: Callable[..., Result], jobs: Sequence[tuple[Any, ...]], workers: int, line: str) -> Iterator[Result]:
    """Results of `work(*job)` in the jobs' order; a single worker, or job, starts no process.

    Args:
      work: a function of a module.
      line: what is printed of the jobs done and all of them, every INTERVAL_SEC.

    Raises:
      UserError: of the first job that raises one, the rest being given up; or a process was killed.
      KeyboardInterrupt: the jobs at work were stopped where they were.
    """
    progress = _Progress(line, len(jobs))
    if workers <= 1 or len(jobs) <= 1:
        for job in jobs:
            yield work(*job)
            progress.add()
        return
    # Not forked: the caller may already run the threads of an accelerator library.
    context = multiprocessing.get_context("spawn")
    pool = concurrent.futures.ProcessPoolExecutor(min(workers, len(jobs)), mp_context=context, initializer=_begin)
    try:
        waiting = [pool.submit(work, *job) for job in jobs]
        for future in waiting:
            future.add_done_callback(lambda _: progress.add())
        for future in waiting:
            yield future.result()
    except BrokenProcessPool as error:
        raise UserError("a process that prepares was killed, most likely for want of memory: run again with fewer --workers; "
                        "finished parts stay") from error
    except KeyboardInterrupt:
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """Leaves Ctrl-C to the parent, and ends the process when the parent was killed: its jobs would never be asked for."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    os._exit(1)


class _Progress:
    def __init__(self, line: str, total: int):
        self._line, self._total, self._done = line, total, 0
        self._began = self._shown = time.monotonic()

    def add(self) -> None:
        self._done += 1
        now = time.monotonic()
        if now - self._shown >= INTERVAL_SEC:
            self._shown = now
            left = (now - self._began) / self._done * (self._total - self._done)
            print(f"{self._line.format(f'{self._done:,}', f'{self._total:,}')}, about {left / 60:.0f} min left", file=sys.stderr,
                  flush=True)
