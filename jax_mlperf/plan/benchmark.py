"""The programs of a config, ready for `run_plan`."""

from collections.abc import Sequence
from pathlib import Path

import jax
from ml_collections import ConfigDict

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.plan.verb import Program, run_plan
from jax_mlperf.programs import check_shapes, eval_function, train_functions


def plan_config(config: ConfigDict, data_dir: Path, *, target: str, topology: str, as_json: bool) -> str:
    """The text that `python -m jax_mlperf plan` prints: training and evaluation step of a config on absent machines.

    Raises:
      UserError: unknown target, missing packages, or a config that does not fit the topology.
    """

    def build(devices: Sequence[jax.Device]) -> dict[str, Program]:
        mesh = make_mesh(config.mesh.data, config.mesh.fsdp, devices)
        benchmark = benchmarks.create(config, Topology(len(devices), mesh=mesh), data_dir)
        check_shapes(benchmark, mesh)
        programs = {}
        for batch, (function, arguments) in train_functions(benchmark, mesh).items():
            programs[f"train_step ({batch})"] = Program(function, arguments, mesh)
        function, arguments = eval_function(benchmark, mesh)
        programs["eval_step"] = Program(function, arguments, mesh)
        return programs

    return run_plan(build, target=target, topology=topology, as_json=as_json)
