"""The registry: benchmark name -> class and data verbs. Imports happen on demand: one benchmark does not load another's."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from ml_collections import ConfigDict

from jax_mlperf.benchmark import Benchmark, Topology
from jax_mlperf.errors import UserError


class DataCommand(Protocol):
    """`data download|verify|prepare` of one benchmark."""

    def __call__(self, action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None, workers: int) -> None:
        """Executes the verb; `mirror` and `workers` as the command line has them."""


class Entry(NamedTuple):
    """What the registry knows of a benchmark."""

    benchmark: Callable[[ConfigDict, Topology, Path], Benchmark]
    data_command: DataCommand


def _transformer() -> Entry:
    from jax_mlperf.benchmarks.transformer import TransformerBenchmark
    from jax_mlperf.benchmarks.transformer_data import data_command
    return Entry(TransformerBenchmark, data_command)


def _resnet50() -> Entry:
    from jax_mlperf.benchmarks.resnet50 import ResNet50Benchmark
    from jax_mlperf.benchmarks.resnet50_data import data_command
    return Entry(ResNet50Benchmark, data_command)


def _cifar10() -> Entry:
    from jax_mlperf.benchmarks.cifar10 import Cifar10Benchmark
    from jax_mlperf.benchmarks.cifar10_data import data_command
    return Entry(Cifar10Benchmark, data_command)


def _ncf() -> Entry:
    from jax_mlperf.benchmarks.ncf import NcfBenchmark
    from jax_mlperf.benchmarks.ncf_data import data_command
    return Entry(NcfBenchmark, data_command)


def _sentiment() -> Entry:
    from jax_mlperf.benchmarks.sentiment import SentimentBenchmark
    from jax_mlperf.benchmarks.sentiment_data import data_command
    return Entry(SentimentBenchmark, data_command)


def _minigo() -> Entry:
    from jax_mlperf.benchmarks.minigo import MinigoBenchmark
    from jax_mlperf.benchmarks.minigo_data import data_command
    return Entry(MinigoBenchmark, data_command)


def _bert() -> Entry:
    from jax_mlperf.benchmarks.bert import BertBenchmark
    from jax_mlperf.benchmarks.bert_data import data_command
    return Entry(BertBenchmark, data_command)


_ENTRIES: dict[str, Callable[[], Entry]] = {
    "transformer": _transformer, "resnet50": _resnet50, "cifar10": _cifar10, "ncf": _ncf, "sentiment": _sentiment,
    "minigo": _minigo, "bert": _bert}


def _entry(config: ConfigDict) -> Entry:
    if config.benchmark not in _ENTRIES:
        raise UserError(f"unknown benchmark {config.benchmark!r}; there are: {', '.join(_ENTRIES)}")
    return _ENTRIES[config.benchmark]()


def create(config: ConfigDict, topology: Topology, data_dir: Path) -> Benchmark:
    """The benchmark that the config asks for.

    Raises:
      UserError: there is no benchmark of that name, or it refuses its config.
    """
    return _entry(config).benchmark(config, topology, data_dir)


def generate_data(config: ConfigDict, data_dir: Path) -> None:
    """Makes the data of a config whose data the program generates itself; does nothing for any other config."""
    if config.get("data", {}).get("source") == "tiny":
        data_command("prepare", config, data_dir)


def data_command(action: str, config: ConfigDict, data_dir: Path, *, mirror: str | None = None, workers: int = 1) -> None:
    """Downloads, verifies or prepares the data that a config reads.

    Raises:
      UserError: what is missing or damaged, and what to do; a benchmark whose data cannot be fetched; or a folder that cannot be
        read or written.
    """
    try:
        _entry(config).data_command(action, config, data_dir, mirror=mirror, workers=workers)
    except OSError as error:
        raise UserError(f"cannot {action} the data of {config.benchmark}: {error.strerror or error}"
                        f"{f': {error.filename}' if error.filename else ''}; see --data_dir={data_dir}") from error
