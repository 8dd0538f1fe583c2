"""What MLPerf's rules ask of the machine: cleared caches, and a description of what the runs are made on."""

import importlib.metadata
import os
import platform
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from jax_mlperf.mlperf.system import host
from jax_mlperf.mlperf.system.accelerators import Query, accelerators, nvidia_smi

# Between what environment.json says of the first machine and of the one that went on (workdir.py).
LATER = "; later "
DROP_CACHES = Path("/proc/sys/vm/drop_caches")

# Key in the environment -> distributions that may hold the software, the first installed one counts.
_SOFTWARE = {
    "jax": ("jax",), "jaxlib": ("jaxlib",), "flax": ("flax",), "optax": ("optax",), "orbax": ("orbax-checkpoint",),
    "numpy": ("numpy",), "mlperf_logging": ("mlperf-logging",), "jax_mlperf": ("jax_mlperf",),
    "cuda_runtime": ("nvidia-cuda-runtime-cu12", "nvidia-cuda-runtime"),
    "cudnn": ("nvidia-cudnn-cu13", "nvidia-cudnn-cu12"), "nccl": ("nvidia-nccl-cu13", "nvidia-nccl-cu12"),
    "libtpu": ("libtpu",),
}
_OF_ACCELERATORS = ("cuda_runtime", "cudnn", "nccl", "libtpu")


def clear_file_caches(control: Path = DROP_CACHES) -> bool:
    """Writes out and drops the file system's caches (training_rules.adoc, Run Results); whether that was allowed."""
    os.sync()
    try:
        control.write_text("3\n")
    except OSError:
        return False
    return True


def environment(folder: Path, devices: Sequence[Mapping[str, Any]] = (), *, proc: Path = Path("/proc"), sys: Path = Path("/sys"),
                etc: Path = Path("/etc"), variables: Mapping[str, str] = os.environ, query: Query = nvidia_smi) -> dict[str, str]:
    """The system that a run is made on, as far as it can be told; no names of hosts or users, no addresses, no serial numbers.

    Keys are fields of MLPerf's system description (system_description.FIELDS) where one fits, and names of software. What
    cannot be told is left out. Processor cores and threads are those of one processor; memory and storage are the host's.

    Args:
      folder: the work folder, whose file system is described.
      devices: of all processes of the run: {"kind", "platform", "process"} and, where known, "memory_bytes".
      proc, sys, etc: those folders of the system.
      variables: the environment variables, where launchers tell the number of hosts.
      query: calls nvidia-smi.
    """
    processes = max(1, len({device.get("process", 0) for device in devices}))
    nodes = _nodes(processes, variables)
    facts = {"number_of_nodes": str(nodes) if nodes else "", "processes": str(processes)}
    facts |= host.processors(proc, sys) | host.memory(proc) | host.storage(folder, proc, sys) | host.networking(sys)
    facts |= accelerators(devices, nodes, query)
    facts["operating_system"] = host.operating_system(etc) or platform.system()
    facts["kernel"] = f"{platform.system()} {platform.release()}"
    facts["python"] = platform.python_version()
    accelerated = any(device.get("platform") != "cpu" for device in devices)
    facts |= {name: _version(name) for name in _SOFTWARE if accelerated or name not in _OF_ACCELERATORS}
    return {name: value for name, value in facts.items() if value}


def _nodes(processes: int, variables: Mapping[str, str]) -> int | None:
    """Hosts of the run: told by Slurm or Open MPI where there are several processes; None where nobody tells."""
    if processes == 1:
        return 1
    hosts, local = variables.get("SLURM_JOB_NUM_NODES", ""), variables.get("OMPI_COMM_WORLD_LOCAL_SIZE", "")
    if hosts.isdecimal() and 0 < int(hosts) <= processes:
        return int(hosts)
    if local.isdecimal() and int(local) and processes % int(local) == 0:
        return processes // int(local)
    return None


def _version(software: str) -> str:
    for name in _SOFTWARE[software]:
        try:
            return importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return ""
