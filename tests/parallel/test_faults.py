"""Real processes: kill -9, two processes on loopback, a peer that raises, SIGTERM to one of two."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.slow
SCRIPT = Path(__file__).parents[1] / "run_toy.py"
LONG = ("--max_epochs=6.0", "--quality_target=2.0", "--noise=0.1")


def start(workdir, *arguments, devices=1):
    environment = {**os.environ, "XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}",
                   "PYTHONPATH": os.pathsep.join([str(SCRIPT.parent), str(SCRIPT.parents[1])])}
    return subprocess.Popen([sys.executable, str(SCRIPT), str(workdir), *arguments], env=environment, text=True,
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def finish(*processes, timeout=90):
    outputs = [process.communicate(timeout=timeout) for process in processes]
    return [process.returncode for process in processes], outputs


def qualities(workdir, run=0):
    return re.findall(r'"key": "eval_accuracy", "value": ([\d.e-]+)', (workdir / f"result_{run}.txt").read_text())


def start_pair(workdir, *arguments, second=()):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"--coordinator=127.0.0.1:{probe.getsockname()[1]}"
    return [start(workdir, *arguments, *(second if i else ()), address, "--processes=2", f"--process={i}") for i in (0, 1)]


def wait_for(condition, process, seconds=60):
    deadline = time.monotonic() + seconds
    while not condition():
        assert process.poll() is None, process.communicate()[1][-2000:]
        assert time.monotonic() < deadline, "waited too long"
        time.sleep(0.02)


def test_kill_9_during_checkpoint_writes_loses_nothing(tmp_path):
    (status,), _ = finish(start(tmp_path / "whole", *LONG))
    assert status == 0
    arguments = (*LONG, "--checkpoint_every_steps=1", "--slow_seconds=0.02", "--hidden=20000")
    checkpoints = tmp_path / "cut" / "run_0" / "checkpoints"
    for writing in (3, 17):  # dies while a checkpoint after that step is half written
        process = start(tmp_path / "cut", *arguments)
        wait_for(lambda writing=writing: any(int(re.match(r"\d+", folder.name)[0]) > writing
                                             for folder in checkpoints.glob("*tmp*")), process)
        process.kill()
        process.communicate()
    (status,), ((_, err),) = finish(start(tmp_path / "cut", *arguments))
    assert status == 0 and "resuming run 0 at step" in err
    finish(start(tmp_path / "big", *LONG, "--hidden=20000"))
    assert qualities(tmp_path / "cut") == qualities(tmp_path / "big") and len(qualities(tmp_path / "cut")) == 6
    assert not list(checkpoints.glob("*tmp*"))


def test_two_processes_learn_what_one_learns(tmp_path):
    one = start(tmp_path / "one", *LONG, devices=2)
    assert finish(one)[0] == [0]
    statuses, outputs = finish(*start_pair(tmp_path / "two", *LONG, "--checkpoint_every_steps=7"))
    assert statuses == [0, 0], outputs[0][1][-2000:]
    alone, together = (np.array(qualities(tmp_path / name), float) for name in ("one", "two"))
    np.testing.assert_allclose(together, alone, rtol=1e-6)
    assert '"compilations_in_timed_region", "value": 0' in (tmp_path / "two" / "result_0.txt").read_text()
    assert "RESULT" in outputs[0][0] and ":::MLLOG" not in outputs[1][0]


def test_two_processes_agree_when_the_time_is_up(tmp_path):
    statuses, outputs = finish(*start_pair(tmp_path / "w", "--time_budget_minutes=0.03", "--quality_target=2.0", "--slow_seconds=0.01"))
    assert statuses == [0, 0], outputs[0][1][-2000:]
    assert '"compilations_in_timed_region", "value": 0' in (tmp_path / "w" / "result_0.txt").read_text()


def test_a_raising_process_does_not_hang_its_peer(tmp_path):
    began = time.monotonic()
    statuses, outputs = finish(*start_pair(tmp_path / "w", *LONG, second=("--fail_at=15",)))
    assert statuses[1] == 1 and statuses[0] != 0
    assert "the disk is gone" in outputs[1][1]
    assert time.monotonic() - began < 60


def test_sigterm_to_one_process_saves_on_all_and_the_job_resumes(tmp_path):
    processes = start_pair(tmp_path / "w", *LONG, "--slow_seconds=0.1")
    log = tmp_path / "w" / "result_0.txt"
    wait_for(lambda: log.exists() and "eval_accuracy" in log.read_text(), processes[0])
    processes[1].send_signal(signal.SIGTERM)
    statuses, outputs = finish(*processes)
    assert statuses == [0, 0], outputs[0][1][-2000:]
    stopped_at, complete = outputs[0][0].rsplit("RESULT ", 1)[1].split()[:2]
    assert complete == "False" and 10 < int(stopped_at) < 60
    # goes on with one process and two devices
    (status,), ((_, err),) = finish(start(tmp_path / "w", *LONG, devices=2))
    assert status == 0 and f"resuming run 0 at step {stopped_at}" in err
    assert len(qualities(tmp_path / "w")) == 6
