"""Weight files of other frameworks: .npz is read, .safetensors read and written."""

import json
import os
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jax_mlperf.errors import UserError

# Names of the safetensors format (https://github.com/huggingface/safetensors, README, "Format"); always little-endian.
_DTYPES: dict[str, Any] = {
    "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16, "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
    "U8": "u1", "BOOL": "?",
}
_NAMES = {np.dtype(dtype): name for name, dtype in _DTYPES.items()}
_LENGTH_BYTES = 8
_ALIGNMENT = 8  # of the first array, as the format asks: the header is filled up with spaces


def read_state_dict(path: Path) -> dict[str, np.ndarray]:
    """The arrays of a weight file by name.

    Args:
      path: *.npz (no pickled objects) or *.safetensors.

    Raises:
      UserError: the file is missing, has another ending, or is damaged.
    """
    readers = {".npz": _read_npz, ".safetensors": _read_safetensors}
    if path.suffix not in readers:
        raise UserError(f"{path} is neither .npz nor .safetensors: save the weights with numpy.savez(path, **arrays)")
    if not path.is_file():
        raise UserError(f"no weights at {path}: give the path of a .npz or .safetensors file")
    try:
        return readers[path.suffix](path)
    except (ValueError, KeyError, TypeError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path} cannot be read as {path.suffix[1:]} ({error}): copy it again") from error


def _read_npz(path: Path) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as arrays:
        return {name: arrays[name] for name in arrays.files}


def _read_safetensors(path: Path) -> dict[str, np.ndarray]:
    """Eight bytes of header length, the header as JSON, then the arrays at its offsets; these are mapped, not read."""
    content = np.asarray(np.memmap(path, np.uint8, mode="r"))
    length = int.from_bytes(content[:_LENGTH_BYTES].tobytes(), "little")
    header = json.loads(content[_LENGTH_BYTES:_LENGTH_BYTES + length].tobytes())
    values = content[_LENGTH_BYTES + length:]
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, stop = entry["data_offsets"]
            arrays[name] = values[start:stop].view(np.dtype(_DTYPES[entry["dtype"]])).reshape(entry["shape"])
    return arrays


def write_safetensors(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Writes arrays in their order, whole or not at all; marked as PyTorch's, which Hugging Face's loader asks for.

    Raises:
      KeyError: an array has a dtype that the format has no name for.
      OSError: the file cannot be written.
    """
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    end = 0
    for name, array in arrays.items():
        header[name] = {"dtype": _NAMES[array.dtype], "shape": list(array.shape), "data_offsets": [end, end + array.nbytes]}
        end += array.nbytes
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file:
            file.write(len(text).to_bytes(_LENGTH_BYTES, "little") + text)
            for array in arrays.values():
                file.write(np.ascontiguousarray(array).reshape(-1).view(np.uint8).data)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
