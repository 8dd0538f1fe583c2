"""Reads the arrays of other frameworks' weight files: .npz and .safetensors."""

import json
import zipfile
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
_LENGTH_BYTES = 8


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
    """Eight bytes of header length, the header as JSON, then the arrays at its offsets."""
    content = path.read_bytes()
    length = int.from_bytes(content[:_LENGTH_BYTES], "little")
    header = json.loads(content[_LENGTH_BYTES:_LENGTH_BYTES + length])
    values = memoryview(content)[_LENGTH_BYTES + length:]
    arrays = {}
    for name, entry in header.items():
        if name != "__metadata__":
            start, stop = entry["data_offsets"]
            arrays[name] = np.frombuffer(values[start:stop], np.dtype(_DTYPES[entry["dtype"]])).reshape(entry["shape"])
    return arrays
