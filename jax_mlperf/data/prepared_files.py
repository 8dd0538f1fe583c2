"""Reads the meta.json and the arrays of a prepared folder; of what is damaged it says in one line what is wrong."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from jax_mlperf.data import records
from jax_mlperf.errors import UserError

Meta = TypeVar("Meta")


def read_meta(folder: Path, make: Callable[..., Meta]) -> Meta | None:
    """What `make` makes of the fields in the folder's meta.json, or None when the folder was not prepared.

    Raises:
      UserError: they cannot be read, or are other fields than `make` takes.
    """
    try:
        fields = records.read_meta(folder)
        return None if fields is None else make(**fields)
    except (OSError, ValueError, TypeError) as error:
        raise damaged(folder / records.META, f"is damaged ({error})") from error


def generated(folder: Path, fields: dict[str, Any], names: Iterable[str]) -> bool:
    """Whether the folder holds files of these names that were generated with these fields in meta.json."""
    try:
        return records.read_meta(folder) == fields and all((folder / name).is_file() for name in names)
    except ValueError:  # damaged: generating costs little
        return False


def read_array(path: Path, dtype: np.dtype | type, count: int, *, below: int = 0, in_memory: bool = False) -> np.ndarray:
    """The array [count] of a .npy file, memory-mapped unless `in_memory`.

    Args:
      below: values must be 0 to below - 1; 0: any.

    Raises:
      UserError: the file cannot be read, or holds another type, number of elements or other values.
    """
    try:
        array = np.load(path, mmap_mode=None if in_memory else "r")
    except (OSError, EOFError, ValueError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else f"it is damaged ({error})"
        raise damaged(path, f"cannot be read: {reason}") from error
    if array.dtype != dtype or array.shape != (count,):
        raise damaged(path, f"is {array.dtype} {list(array.shape)}, should be {np.dtype(dtype)} [{count}]")
    for value in (array.min(), array.max()) if below else ():
        if not 0 <= value < below:
            raise damaged(path, f"holds {value}, should hold 0 to {below - 1}")
    return array


def check_offsets(path: Path, offsets: np.ndarray, end: int) -> None:
    """Holds the bounds of ragged rows against the elements that there are.

    Raises:
      UserError: they do not rise from 0 to `end`, with an element in each row.
    """
    if offsets[0] != 0 or offsets[-1] != end or not (offsets[1:] > offsets[:-1]).all():
        raise damaged(path, f"does not rise from 0 to {end}")


def damaged(path: Path, what: str) -> UserError:
    """The error that says what is wrong with a prepared file."""
    return UserError(f"{path} {what}: delete {path.parent} and prepare again")
