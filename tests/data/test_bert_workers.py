"""Work in processes: results in order, a line of progress, and a process that dies."""

import operator
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from jax_mlperf.data import bert_workers
from jax_mlperf.data.bert_workers import in_processes
from jax_mlperf.errors import UserError


def test_progress_of_what_takes_long(capsys, monkeypatch):
    assert list(in_processes(operator.add, [(1, 2), (3, 4)], 1, "{} of {} parts")) == [3, 7]
    assert capsys.readouterr().err == ""
    monkeypatch.setattr(bert_workers, "INTERVAL_SEC", 0.0)
    list(in_processes(operator.add, [(1, 2), (3, 4)], 1, "{} of {} parts prepared"))
    assert capsys.readouterr().err.split("\n") == [
        "1 of 2 parts prepared, about 0 min left", "2 of 2 parts prepared, about 0 min left", ""]


@pytest.mark.slow  # starts processes
def test_processes():
    assert list(in_processes(operator.add, [(i, 1) for i in range(5)], 2, "{} of {}")) == [1, 2, 3, 4, 5]
    with pytest.raises(ZeroDivisionError):
        list(in_processes(operator.floordiv, [(1, 1), (1, 0)], 2, "{} of {}"))
    with pytest.raises(UserError, match="was killed, most likely for want of memory: run again with fewer --workers"):
        list(in_processes(os._exit, [(1,), (1,)], 2, "{} of {}"))


@pytest.mark.slow  # starts processes
def test_processes_end_with_their_parent_and_on_ctrl_c():
    """None goes on alone after kill -9; Ctrl-C stops the jobs at work."""
    jobs = [*(["__import__('os').getpid()"] * 4), *(["__import__('time').sleep(60)"] * 2)]
    code = ("import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # ignored in a shell's background
            "from jax_mlperf.data.bert_workers import in_processes\n"
            f"jobs = in_processes(eval, {[(job,) for job in jobs]}, 2, '')\n"
            "print(*{next(jobs) for _ in range(4)}, flush=True)\n"
            "next(jobs)\n")
    for sent in (signal.SIGKILL, signal.SIGINT):
        with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as process:
            workers = list(map(int, process.stdout.readline().split()))
            assert workers and all(map(alive, workers))
            process.send_signal(sent)
            assert process.wait(30) != 0
        deadline = time.monotonic() + 20
        while any(map(alive, workers)):
            assert time.monotonic() < deadline
            time.sleep(0.02)


def alive(process):
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
