"""The verb `convert`: BERT weights from one form to another."""

import os
import shutil
from pathlib import Path

import jax
from ml_collections import ConfigDict

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.bert_starting_point import read_weights
from jax_mlperf.errors import UserError
from jax_mlperf.models.bert_weights import to_state_dict
from jax_mlperf.models.tf_checkpoint import index_file, is_checkpoint, write_checkpoint
from jax_mlperf.ops.hash_rng import key_data_shape
from jax_mlperf.state_dict import write_safetensors
from jax_mlperf.types import PyTree

_NOT_WRITTEN = (".npz", ".index", ".bin", ".pt", ".pth")


def convert(config: ConfigDict, data_dir: Path, source: Path, target: Path) -> str:
    """Writes the weights of `source` in the form that the name of `target` tells.

    Args:
      config: of bert; its model says which arrays there are.
      data_dir: of the config's data, which tell the size of a vocabulary that the config leaves open.
      source: anything that `read_weights` reads.
      target: *.safetensors: PyTorch's names; another: the prefix of a TF1 checkpoint.

    Returns:
      one line that says what was written.

    Raises:
      UserError: the config is not of bert, the source does not fit it, or the target exists or cannot be written.
    """
    if config.benchmark != "bert":
        raise UserError(f"convert knows the weights of bert only, not of {config.benchmark!r}: give --config=bert[:variant]")
    _check_target(target)  # before the data are asked for
    benchmark = benchmarks.create(config, Topology(1), data_dir)
    return convert_weights(jax.eval_shape(benchmark.init, key_data_shape(config.rng_impl)).params, source, target)


def convert_weights(params: PyTree, source: Path, target: Path) -> str:
    """`convert` for a model whose parameters have these shapes."""
    _check_target(target)
    torch = target.suffix == ".safetensors"
    arrays = to_state_dict(read_weights(source, params), "torch" if torch else "tf1")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        if torch:
            write_safetensors(target, arrays)
        else:
            _write_whole_checkpoint(target, arrays)
    except OSError as error:
        raise UserError(f"{target} cannot be written: {error.strerror or error}") from error
    kind = "with PyTorch's names" if torch else "as a TF1 checkpoint"
    return f"{target}: {len(arrays)} arrays of {sum(array.size for array in arrays.values()):,} parameters {kind}, from {source}"


def _check_target(target: Path) -> None:
    if target.suffix in _NOT_WRITTEN:
        raise UserError(f"convert does not write {target.suffix} files such as {target}: give a path that ends with "
                        ".safetensors, or the prefix of a TF1 checkpoint")
    if target.exists() or is_checkpoint(target):
        raise UserError(f"{target} exists already: give another path, or remove it first")


def _write_whole_checkpoint(prefix: Path, arrays: dict) -> None:
    """Writes the files beside their place and moves them there, the index last: without it there is no checkpoint."""
    folder = prefix.with_name(f".{prefix.name}.{os.getpid()}.tmp")
    folder.mkdir()
    try:
        write_checkpoint(folder / prefix.name, arrays)
        index = index_file(folder / prefix.name)
        for path in sorted(folder.iterdir(), key=lambda path: path == index):
            path.replace(prefix.parent / path.name)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
