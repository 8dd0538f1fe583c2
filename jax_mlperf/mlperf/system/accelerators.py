"""What the devices of a run and nvidia-smi tell about the accelerators. No serial numbers, no identifiers."""

import re
import subprocess
from collections.abc import Callable, Mapping, Sequence
from typing import Any

Query = Callable[[Sequence[str]], str]

_TIMEOUT_SECONDS = 10
_COLUMNS = ("name", "memory.total", "driver_version", "clocks.max.sm", "pcie.link.gen.max", "pcie.link.width.max")


def nvidia_smi(arguments: Sequence[str]) -> str:
    """What nvidia-smi prints; "" where it is missing, fails or takes longer than ten seconds."""
    try:
        result = subprocess.run(["nvidia-smi", *arguments], capture_output=True, text=True, errors="replace",
                                timeout=_TIMEOUT_SECONDS, check=True)
    except (OSError, subprocess.SubprocessError):
        return ""
    return result.stdout


def accelerators(devices: Sequence[Mapping[str, Any]], nodes: int | None, query: Query = nvidia_smi) -> dict[str, str]:
    """Number, model, memory, clock and links of the accelerators that a run uses, and the driver's versions.

    Args:
      devices: of the whole run, as `environment` takes them; those of platform "cpu" are no accelerators.
      nodes: hosts of the run; None: not known, and then no number per node is told.
      query: calls nvidia-smi.
    """
    if not devices:
        return {}
    used = [device for device in devices if device.get("platform") != "cpu"]
    facts = {"accelerators_per_node": str(len(used) // nodes) if nodes else ""}
    if used:
        facts["accelerator_model_name"] = str(used[0].get("kind", ""))
        size = used[0].get("memory_bytes")
        if "tpu" not in str(used[0].get("platform")):
            facts.update(_nvidia(query))
        elif isinstance(size, int | float):  # on GPUs it is only the part that JAX takes for itself
            facts["accelerator_memory_capacity"] = f"{size / 2**30:.0f} GiB"
    return {name: value for name, value in facts.items() if value}


def _nvidia(query: Query) -> dict[str, str]:
    lines = query([f"--query-gpu={','.join(_COLUMNS)}", "--format=csv,noheader,nounits"]).strip().splitlines()
    cells = [cell.strip() for cell in lines[0].split(",")] if lines else []
    if len(cells) != len(_COLUMNS):
        return {}
    model, memory, driver, clock, generation, width = cells
    facts = {"accelerator_model_name": model, "nvidia_driver": driver}
    if memory.isdecimal():
        facts["accelerator_memory_capacity"] = f"{memory} MiB"
    if clock.isdecimal():
        facts["accelerator_frequency"] = f"{clock} MHz"
    if generation.isdecimal() and width.isdecimal():
        facts["accelerator_host_interconnect"] = f"PCIe Gen{generation} x{width}"
    version = re.search(r"CUDA Version\s*:\s*([\d.]+)", query([]))
    if version:
        facts["cuda_of_driver"] = version[1]
    links = re.findall(r"\bNV(\d+)\b", query(["topo", "-m"])) if len(lines) > 1 else []
    if links:
        facts["accelerator_interconnect"] = f"NVLink, {max(map(int, links))} links"
    return facts
