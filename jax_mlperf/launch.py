"""What run.py does: flags, config, start of the processes, and hand-over to the trainer."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from ml_collections import ConfigDict

from jax_mlperf.config import fingerprint, load_config, split_overrides
from jax_mlperf.errors import NOT_REACHED, OK, USER_ERROR, UserError
from jax_mlperf.mlperf.rules import preflight
from jax_mlperf.result_verbs import show_results
from jax_mlperf.workdir import RunResult


class OneLineParser(argparse.ArgumentParser):
    """An argument parser whose complaints are one line, like all our errors."""

    def error(self, message: str) -> NoReturn:
        """Raises UserError."""
        raise UserError(f"{message}; see {self.prog} --help")


def add_config_flags(parser: argparse.ArgumentParser, required: bool = True) -> None:
    """The flags that every command has which works on a config."""
    parser.add_argument("--config", required=required, metavar="FILE[:VARIANT]",
                        help="config file, or its name in configs/; single values: --config.KEY=VALUE")
    parser.add_argument("--data_dir", type=Path, default=Path(os.environ.get("JAX_MLPERF_DATA_DIR", "data")),
                        help="folder of the data sets (default: $JAX_MLPERF_DATA_DIR or data)")


def default_workdir(config: ConfigDict) -> Path:
    """results/<benchmark> or results/<benchmark>-<variant>."""
    return Path("results") / "-".join(filter(None, (config.benchmark, config.variant)))


def main(argv: Sequence[str]) -> NoReturn:
    """Runs and exits with the status that run.py documents."""
    try:
        status = run(argv)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        status = USER_ERROR
        if "jax" not in sys.modules:
            sys.exit(status)
    from jax_mlperf.parallel.cluster import exit_now
    exit_now(status)


def run(argv: Sequence[str]) -> int:
    """Trains as the command line says; returns the exit status.

    Raises:
      UserError: a mistake in the flags, the config, the data or the environment.
    """
    overrides, rest = split_overrides(argv)
    parser = OneLineParser(prog="run.py", description="Trains a benchmark to its quality target.")
    add_config_flags(parser)
    parser.add_argument("--workdir", type=Path, help="logs and checkpoints (default: results/<benchmark>-<variant>)")
    parser.add_argument("--fresh", action="store_true", help="refuse a workdir that holds runs, instead of resuming")
    parser.add_argument("--compile_cache", default="auto", metavar="auto|off|DIR",
                        help="compiled programs kept between starts (auto: .jax_cache beside the workdir)")
    parser.add_argument("--coordinator", default="", metavar="HOST:PORT", help="process 0 of a job without a launcher")
    parser.add_argument("--num_processes", type=int, default=0)
    parser.add_argument("--process_id", type=int, default=-1)
    parser.add_argument("--heartbeat_timeout_seconds", type=int, default=100,
                        help="end all processes after one was silent for so long")
    flags = parser.parse_args(rest)
    config = load_config(flags.config, overrides)
    preflight(config)
    return _run(config, flags, (flags.workdir or default_workdir(config)).absolute(), overrides)


def _run(config: ConfigDict, flags: argparse.Namespace, workdir: Path, overrides: Sequence[str]) -> int:
    # jax starts here: mistakes in the config were reported before it was loaded
    import jax

    from jax_mlperf import benchmarks
    from jax_mlperf.benchmark import Topology
    from jax_mlperf.parallel import cluster
    from jax_mlperf.parallel.host_memory import keep_freed_memory
    from jax_mlperf.parallel.mesh import make_mesh
    from jax_mlperf.trainer import train

    if flags.compile_cache != "off":
        cache = workdir.parent / ".jax_cache" if flags.compile_cache == "auto" else Path(flags.compile_cache)
        jax.config.update("jax_compilation_cache_dir", str(cache))
    cluster.initialize(flags.coordinator, flags.num_processes, flags.process_id,
                       heartbeat_timeout_seconds=flags.heartbeat_timeout_seconds)
    cluster.assert_same(fingerprint(config), "the config")
    mesh = make_mesh(config.mesh.data, config.mesh.fsdp)
    if jax.default_backend() == "cpu":
        keep_freed_memory()
    if cluster.is_primary():
        benchmarks.generate_data(config, flags.data_dir)
    cluster.barrier("data")
    topology = Topology(mesh.size, jax.process_index(), jax.process_count(), mesh)
    benchmark = benchmarks.create(config, topology, flags.data_dir)
    missing = [file for file in benchmark.data_files() if not file.present]
    unprepared = [str(file.path) for file in missing if not file.remedy]
    if unprepared:
        command = " ".join([f"python -m jax_mlperf data prepare --config={flags.config} --data_dir={flags.data_dir}",
                            *(f"--config.{override}" for override in overrides)])
        raise UserError(f"missing data: {', '.join(unprepared)}; make it with: {command}")
    if missing:
        raise UserError(f"{missing[0].path} is missing: {missing[0].remedy}")
    cluster.assert_same(benchmark.data_fingerprint(), "the prepared data")
    results = train(benchmark, mesh, workdir, resume=not flags.fresh)
    if cluster.is_primary():
        for index, result in enumerate(results):
            print(summary_line(index, result))
        show_results(workdir)
    return OK if all(result.as_asked or not result.complete for result in results) else NOT_REACHED


def summary_line(index: int, result: RunResult) -> str:
    """One run in words."""
    values = ", ".join(f"{name} {value:#.4g}" for name, value in result.quality.items()) or "no evaluation"
    return (f"run {index}: {'target reached' if result.reached else 'target not reached'}, {values}, "
            f"{result.minutes:.2f} minutes, seed {result.seed} ({result.reason})")
