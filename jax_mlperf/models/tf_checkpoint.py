"""Checkpoints of TensorFlow 1: PREFIX.index and PREFIX.data-*; read one variable at a time. TensorFlow is imported on demand."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from input_pipelines.jpeg import tensorflow
from jax_mlperf.errors import UserError

_OBJECT_GRAPH = "_CHECKPOINTABLE_OBJECT_GRAPH"  # in every object-based checkpoint of TensorFlow 2, and in no other


class Checkpoint(Mapping[str, np.ndarray]):
    """The variables of a checkpoint by name; an array is read when it is asked for."""

    def __init__(self, prefix: Path, reader: Any) -> None:
        self._prefix = prefix
        self._reader = reader
        self._shapes = dict(reader.get_variable_to_shape_map())

    def __getitem__(self, name: str) -> np.ndarray:
        """The array of a variable.

        Raises:
          KeyError: there is none of that name.
          UserError: its bytes cannot be read, or their checksum is wrong.
        """
        if name not in self._shapes:
            raise KeyError(name)
        try:
            return self._reader.get_tensor(name)
        except (tensorflow().errors.OpError, IndexError, RuntimeError) as error:
            raise _damaged(self._prefix, error) from error

    def __contains__(self, name: object) -> bool:
        return name in self._shapes

    def __iter__(self) -> Iterator[str]:
        return iter(self._shapes)

    def __len__(self) -> int:
        return len(self._shapes)


def is_checkpoint(prefix: Path) -> bool:
    """Whether there is a checkpoint of that prefix."""
    return index_file(prefix).is_file()


def index_file(prefix: Path) -> Path:
    """The file that lists the variables."""
    return Path(f"{prefix}.index")


def read_checkpoint(prefix: Path) -> Checkpoint:
    """The variables of a TF1 checkpoint.

    Args:
      prefix: the path without ".index" or ".data-00000-of-00001".

    Raises:
      UserError: there is none, it is damaged, or an object-based one of TensorFlow 2; or TensorFlow is not installed.
    """
    if not is_checkpoint(prefix):
        raise UserError(f"no TF1 checkpoint at {prefix}: there is no {index_file(prefix).name}")
    tf = _tensorflow(f"reading the TF1 checkpoint {prefix}", "convert it to .safetensors where it is installed: python -m "
                     f"jax_mlperf convert --config=bert --from={prefix} --to={prefix}.safetensors")
    try:
        checkpoint = Checkpoint(prefix, tf.train.load_checkpoint(str(prefix)))
    except (tf.errors.OpError, ValueError, IndexError, RuntimeError) as error:
        raise _damaged(prefix, error) from error
    if _OBJECT_GRAPH in checkpoint:
        raise UserError(f"{prefix} is an object-based checkpoint of TensorFlow 2: give the TF1 checkpoint of the same weights "
                        "(MLPerf publishes it as tf1_ckpt/model.ckpt-28252)")
    return checkpoint


def write_checkpoint(prefix: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes PREFIX.index and PREFIX.data-00000-of-00001, which TF1 and TF2 read.

    Raises:
      UserError: TensorFlow is not installed.
      OSError: the files cannot be written.
    """
    tf = _tensorflow(f"writing the TF1 checkpoint {prefix}", "give a path that ends with .safetensors, or install tensorflow")
    try:
        tf.raw_ops.SaveV2(prefix=str(prefix), tensor_names=list(arrays), shape_and_slices=[""] * len(arrays),
                          tensors=[tf.constant(np.ascontiguousarray(array)) for array in arrays.values()])
    except tf.errors.OpError as error:
        raise OSError(_first_line(error)) from error


def _tensorflow(what: str, remedy: str) -> Any:
    try:
        return tensorflow()
    except ImportError as error:
        raise UserError(f"{what} needs TensorFlow, which cannot be imported here: {remedy}") from error


def _damaged(prefix: Path, error: Exception) -> UserError:
    return UserError(f"the TF1 checkpoint {prefix} cannot be read ({_first_line(error)}): copy its files again")


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
