"""Devices of a machine that is not there, to build a mesh of and compile for."""

import importlib.util
import math
import os

import jax
from jax.experimental import topologies

from jax_mlperf.errors import UserError
from jax_mlperf.plan.targets import Target

_PACKAGES = {
    "cuda": ("jax_plugins.xla_cuda12", "jax-cuda12-plugin and jax-cuda12-pjrt"),
    "tpu": ("libtpu", "libtpu"),
}


def topology_devices(target: Target, topology: str) -> list[jax.Device]:
    """Compile-only devices, host by host.

    Args:
      target: the kind of machine.
      topology: GPUs: "8" (one host of 8) or "4x8" (hosts x devices per host); TPUs: "1" or the grid of chips,
        "2x4" (v5e, v6e) or "2x2x2" (v5p).

    Raises:
      UserError: the text cannot be read, or the packages that compile for the target are not installed.
    """
    sizes = _parse(topology)
    _require_packages(target)
    if target.platform == "cuda":
        hosts, devices = sizes if len(sizes) == 2 else (1, *sizes)
        description = topologies.get_topology_desc(
            platform="cuda",
            topology_name="",
            target_config=target.xla_device,
            topology=f"1x{hosts}x{devices}",
        )
        return list(description.devices)
    os.environ.setdefault("TPU_SKIP_MDS_QUERY", "1")  # else libtpu waits for a metadata server
    return _tpu_devices(target, sizes)


def _tpu_devices(target: Target, sizes: tuple[int, ...]) -> list[jax.Device]:
    axes = 3 if target.name == "v5p" else 2
    grid = sizes if len(sizes) > 1 else (*sizes, *[1] * (axes - 1))
    options = {"chips_per_host_bounds": (1, 1, 1)} if math.prod(grid) == 1 else {}
    name = f"{target.xla_topology}:{'x'.join(map(str, grid))}"
    try:
        return list(topologies.get_topology_desc(platform="tpu", topology_name=name, **options).devices)
    except (RuntimeError, ValueError) as error:  # libtpu's own text tells which grids there are
        reason = str(error).partition("\n")[0]
        raise UserError(f"topology {name!r} is not one that libtpu knows: {reason}") from error


def _parse(topology: str) -> tuple[int, ...]:
    parts = topology.lower().split("x")
    if len(parts) > 3 or not all(part.isdigit() and int(part) > 0 for part in parts):
        raise UserError(
            f"topology {topology!r} is not understood: give the devices of one host (8), or hosts x "
            "devices (4x8)"
        )
    return tuple(int(part) for part in parts)


def _require_packages(target: Target) -> None:
    module, packages = _PACKAGES[target.platform]
    try:
        found = importlib.util.find_spec(module) is not None
    except ModuleNotFoundError:  # the parent package is missing too
        found = False
    if not found:
        raise UserError(
            f"compiling for {target.name} needs the packages {packages}: pip install -e '.[plan]'"
        )
