"""The registry: benchmark name -> class. Imports happen on demand, so that one benchmark does not load another's."""

from pathlib import Path

from ml_collections import ConfigDict

from jax_mlperf.benchmark import Benchmark, Topology
from jax_mlperf.errors import UserError

NAMES = ("transformer",)


def create(config: ConfigDict, topology: Topology, data_dir: Path) -> Benchmark:
    """The benchmark that the config asks for.

    Raises:
      UserError: there is no benchmark of that name, or it refuses its config.
    """
    if config.benchmark == "transformer":
        from jax_mlperf.benchmarks.transformer import TransformerBenchmark
        return TransformerBenchmark(config, topology, data_dir)
    raise UserError(f"unknown benchmark {config.benchmark!r}; there are: {', '.join(NAMES)}")


def generate_data(config: ConfigDict, data_dir: Path) -> None:
    """Makes the data of a config whose data the program generates itself; does nothing for any other config."""
    if config.benchmark == "transformer" and config.data.source == "tiny":
        data_command("prepare", config, data_dir)


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None = None, workers: int = 1) -> None:
    """Downloads, verifies or prepares the data that a config reads.

    Raises:
      UserError: what is missing or damaged, and what to do; or a benchmark whose data cannot be fetched.
    """
    if config.benchmark != "transformer":
        raise UserError(f"unknown benchmark {config.benchmark!r}; there are: {', '.join(NAMES)}")
    from jax_mlperf.benchmarks.transformer_data import data_command
    data_command(action, config, data_dir, mirror=mirror, workers=workers)
