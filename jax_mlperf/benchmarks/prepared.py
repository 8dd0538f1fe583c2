"""What benchmarks have in common whose data is one folder of arrays, made once by `data prepare`."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from ml_collections import ConfigDict

from jax_mlperf.benchmark import Benchmark, DataFile
from jax_mlperf.benchmarks.data_checks import DataModule


class PreparedBenchmark(Benchmark):
    """A benchmark that reads one prepared folder.

    Attributes that subclasses set:
      source: the module of data/.
      settings: the module's Settings of a config; raises UserError.
    """

    source: DataModule
    settings: Callable[[ConfigDict], Any]

    @property
    def folder(self) -> Path:
        """The prepared folder, which need not be there."""
        return self.source.prepared_folder(self.data_dir, self.settings(self.config))

    def data_files(self) -> list[DataFile]:
        """The record that `prepare` writes last."""
        path = self.folder / "meta.json"
        return [DataFile(path, path.is_file())]

    def source_files(self) -> list[DataFile]:
        """The published files."""
        return [DataFile(*entry) for entry in self.source.required_files(self.data_dir, self.settings(self.config))]

    def data_fingerprint(self) -> str:
        """That of the prepared folder."""
        meta = self.source.read_meta(self.folder)
        return meta.fingerprint if meta else ""
