"""Joining a job, and being stopped, as far as one process can show it (test_faults.py starts several)."""

import os
import signal
import subprocess
import sys

import jax
import numpy as np
import pytest

from jax_mlperf.errors import UserError
from jax_mlperf.parallel import cluster


@pytest.fixture
def joined(monkeypatch):
    """Calls of jax.distributed.initialize, which does nothing here; no launcher's variables around."""
    calls = []
    for name in cluster.CLUSTER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(jax.distributed, "initialize", lambda *args, **kwargs: calls.append((args, kwargs)))
    return calls


@pytest.mark.parametrize(("number", "index"), [(0, -1), (2, -1), (0, 0), (2, 2), (2, -5), (-1, 0)])
def test_a_coordinator_needs_the_size_and_the_place(joined, number, index):
    with pytest.raises(UserError) as caught:
        cluster.initialize("host:1234", number, index)
    assert str(caught.value) == ("--coordinator=host:1234 needs --num_processes=N and --process_id=0..N-1, "
                                 f"not --num_processes={number} --process_id={index}")
    assert not joined


@pytest.mark.parametrize(("number", "index"), [(2, -1), (0, 0), (2, 1)])
def test_the_size_and_the_place_need_a_coordinator(joined, number, index):
    with pytest.raises(UserError, match="^--num_processes and --process_id need --coordinator=HOST:PORT too$"):
        cluster.initialize("", number, index)
    assert not joined


def test_a_job_by_hand_is_joined_as_it_says_whatever_launcher_is_around(joined, monkeypatch):
    monkeypatch.setenv("SLURM_STEP_NODELIST", "n[1-2]")
    cluster.initialize("host:1234", 2, 1, heartbeat_timeout_seconds=7)
    assert joined == [(("host:1234", 2, 1), {"cluster_detection_method": "deactivate", "heartbeat_timeout_seconds": 7})]


@pytest.mark.parametrize("name", ["SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri"])
def test_a_launcher_is_asked_when_there_is_one(joined, monkeypatch, name):
    monkeypatch.setenv(name, "x")
    cluster.initialize(heartbeat_timeout_seconds=7)
    assert joined == [((), {"heartbeat_timeout_seconds": 7})]


def test_a_single_process_stays_single(joined):
    hook = sys.excepthook
    cluster.initialize()
    assert not joined and sys.excepthook is hook
    assert cluster.is_primary()
    cluster.barrier("alone")
    cluster.assert_same("anything", "the config")
    value = {"seed": np.int32(5)}
    assert cluster.from_primary(value) is value


def test_sigterm_is_remembered_and_the_handler_before_comes_back():
    received = []
    before = signal.signal(signal.SIGTERM, lambda *unused: received.append("before"))
    try:
        with cluster.Preemption() as preemption:
            assert not preemption.at(1)
            os.kill(os.getpid(), signal.SIGTERM)
            assert preemption.at(2) and preemption.at(3)
        assert received == []
        os.kill(os.getpid(), signal.SIGTERM)
        assert received == ["before"]
        with cluster.Preemption() as second:
            assert not second.at(1)
    finally:
        signal.signal(signal.SIGTERM, before)


def test_the_handler_comes_back_after_an_exception_too():
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(RuntimeError, match="training failed"), cluster.Preemption():
        assert signal.getsignal(signal.SIGTERM) is not before
        raise RuntimeError("training failed")
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.parametrize("status", [0, 2, 3])
def test_a_single_process_exits_with_its_status_and_all_its_output(status):
    with pytest.raises(SystemExit) as caught:
        cluster.exit_now(status)
    assert caught.value.code == status


def test_in_a_job_a_failure_ends_the_process_without_the_shutdown_barrier():
    script = ("import atexit, sys, jax\n"
              "from jax_mlperf.parallel import cluster\n"
              "jax.distributed.is_initialized = lambda: True\n"
              "jax.distributed.initialize = lambda *args, **kwargs: None\n"
              "cluster.initialize('host:1', 1, 0)\n"
              "atexit.register(print, 'the barrier')\n"
              "print('output')\n"
              "raise RuntimeError('the disk is gone')\n")
    result = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60)
    assert result.returncode == 1 and result.stdout == "output\n"
    assert result.stderr.rstrip().endswith("RuntimeError: the disk is gone")


def test_processes_that_jax_cannot_join_are_refused(monkeypatch):
    monkeypatch.setenv("OMPI_COMM_WORLD_SIZE", "4")
    with pytest.raises(UserError, match=r"give each of them --coordinator=HOST:PORT --num_processes"):
        cluster.initialize()
