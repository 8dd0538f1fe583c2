"""`python -m jax_mlperf plan`: plans of a benchmark's programs on a machine that is not there."""

import json
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax

from jax_mlperf.plan.report import format_plan, plan_dict
from jax_mlperf.plan.step import plan_step
from jax_mlperf.plan.targets import find_target
from jax_mlperf.plan.topology import topology_devices


class Program(NamedTuple):
    """A jitted function, its arguments as ShapeDtypeStructs with shardings, and the mesh these are over."""

    fn: Callable[..., Any]
    args: tuple[Any, ...]
    mesh: jax.sharding.Mesh


def run_plan(
    build: Callable[[Sequence[jax.Device]], dict[str, Program]],
    *,
    target: str,
    topology: str,
    as_json: bool = False,
) -> str:
    """The text (or the JSON object: program name -> plan) that the verb prints.

    Args:
      build: makes the programs for a list of devices, by name ("train_step", "eval_step").
      target: a name in `TARGETS`.
      topology: see `topology_devices`.
      as_json: JSON in place of tables.

    Raises:
      UserError: unknown target, unreadable topology, packages missing.
    """
    jax.config.update("jax_platforms", "cpu")  # plugins of absent machines must not start as backends
    machine = find_target(target)
    programs = build(topology_devices(machine, topology))
    plans = {name: plan_step(*program, machine) for name, program in programs.items()}
    if as_json:
        return json.dumps({name: plan_dict(plan) for name, plan in plans.items()}, indent=2)
    return "\n\n".join(format_plan(name, plan) for name, plan in plans.items())
