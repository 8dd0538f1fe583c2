"""Starting the processes of a multi-host job, and ending them together.

Facts about JAX's behaviour here were measured with jax 0.10: a process that raises enters the shutdown barrier with
its sockets open and its peers hang in their next collective, so an uncaught exception has to end the process at once.
"""

import os
import signal
import sys
import traceback
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn

import jax
from jax.experimental import multihost_utils

from jax_mlperf.errors import NOT_REACHED, OK, UserError

# Presence of one of these means that a launcher started us and JAX can read the rest from the environment.
CLUSTER_VARIABLES = ("SLURM_STEP_NODELIST", "OMPI_MCA_orte_hnp_uri")


def initialize(coordinator: str = "", num_processes: int = 0, process_id: int = -1, *,
               heartbeat_timeout_seconds: int = 100) -> None:
    """Joins the job, when there is one; a single process stays single.

    Args:
      coordinator: "host:port" of process 0; empty: found from the launcher's environment, if any.
      num_processes, process_id: with an explicit coordinator, the size of the job and the place in it.
      heartbeat_timeout_seconds: after this long without a sign of life from one process all others end.
    Raises:
      UserError: only some of the three values were given, or a launcher that JAX does not know started several processes.
    """
    if coordinator:
        if num_processes < 1 or not 0 <= process_id < num_processes:
            raise UserError(f"--coordinator={coordinator} needs --num_processes=N and --process_id=0..N-1, "
                            f"not --num_processes={num_processes} --process_id={process_id}")
        jax.distributed.initialize(coordinator, num_processes, process_id, cluster_detection_method="deactivate",
                                   heartbeat_timeout_seconds=heartbeat_timeout_seconds)
    elif num_processes or process_id >= 0:
        raise UserError("--num_processes and --process_id need --coordinator=HOST:PORT too")
    elif any(name in os.environ for name in CLUSTER_VARIABLES):
        jax.distributed.initialize(heartbeat_timeout_seconds=heartbeat_timeout_seconds)
    elif int(os.environ.get("OMPI_COMM_WORLD_SIZE", 1)) > 1:
        raise UserError("Open MPI 5 started several processes, but JAX cannot find the others by itself; give each of them "
                        "--coordinator=HOST:PORT --num_processes=$OMPI_COMM_WORLD_SIZE --process_id=$OMPI_COMM_WORLD_RANK")
    if jax.distributed.is_initialized():
        sys.excepthook = _end_at_once


def _end_at_once(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    traceback.print_exception(kind, error, trace)
    exit_now(1)


def exit_now(status: int) -> NoReturn:
    """Ends the process; a failure in a multi-process job without the shutdown barrier, so that no peer waits for it."""
    sys.stdout.flush()
    sys.stderr.flush()
    if jax.distributed.is_initialized() and status not in (OK, NOT_REACHED):  # on those two all processes agree
        os._exit(status)
    sys.exit(status)


def is_primary() -> bool:
    """Whether this process writes the logs."""
    return jax.process_index() == 0


def from_primary(value: Any) -> Any:
    """The value that process 0 has, on every process; `value` is a pytree of scalars or numpy arrays."""
    return multihost_utils.broadcast_one_to_all(value) if jax.process_count() > 1 else value


def barrier(name: str) -> None:
    """Waits for every process."""
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)


def assert_same(value: Any, what: str) -> None:
    """Raises UserError on every process unless all of them hold the same value (a string or a number)."""
    if jax.process_count() == 1:
        return
    try:
        multihost_utils.assert_equal(list(str(value).encode()[:64].ljust(64)), what)
    except AssertionError as error:
        raise UserError(f"the processes of this job disagree about {what}; start all of them alike") from error


class Preemption:
    """Tells at which step a SIGTERM was received; all processes of a job agree on the step."""

    def __init__(self) -> None:
        self._received = False
        self._previous: Callable[..., Any] | int | None = None
        # After jax.distributed.initialize JAX owns SIGTERM, and spreads it to all processes.
        self._alone = jax.process_count() == 1

    def __enter__(self) -> "Preemption":
        if self._alone:
            self._previous = signal.signal(signal.SIGTERM, self._receive)
        return self

    def __exit__(self, *unused: object) -> None:
        if self._alone:
            signal.signal(signal.SIGTERM, self._previous)

    def _receive(self, *unused: object) -> None:
        self._received = True

    def at(self, step: int) -> bool:
        """Whether training must stop after `step`. Every process calls this for the same steps in the same order."""
        return self._received if self._alone else multihost_utils.reached_preemption_sync_point(step)
