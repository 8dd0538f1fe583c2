"""Compile a step for machines that are not there, and read memory, collectives and kernels off the result."""

from jax_mlperf.plan.communication import Collective, collectives
from jax_mlperf.plan.report import format_plan
from jax_mlperf.plan.step import StepPlan, plan_step
from jax_mlperf.plan.targets import TARGETS, Target, find_target
from jax_mlperf.plan.topology import topology_devices
from jax_mlperf.plan.verb import Program, run_plan

__all__ = [
    "TARGETS",
    "Collective",
    "Program",
    "StepPlan",
    "Target",
    "collectives",
    "find_target",
    "format_plan",
    "plan_step",
    "run_plan",
    "topology_devices",
]
