"""Weight files: what is read, and what is refused."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.errors import UserError
from jax_mlperf.state_dict import read_state_dict


def write_safetensors(path, arrays):
    names = {"float32": "F32", "bfloat16": "BF16", "int64": "I64"}
    header, values = {"__metadata__": {"format": "pt"}}, b""
    for name, array in arrays.items():
        offsets = [len(values), len(values) + array.nbytes]
        header[name] = {"dtype": names[array.dtype.name], "shape": list(array.shape), "data_offsets": offsets}
        values += array.tobytes()
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + values)


ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(5), "c": np.arange(3).astype(jnp.bfloat16)}


def same(read):
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_safetensors(tmp_path):
    write_safetensors(tmp_path / "w.safetensors", ARRAYS)
    same(read_state_dict(tmp_path / "w.safetensors"))


def test_safetensors_of_the_library(tmp_path):
    numpy_io = pytest.importorskip("safetensors.numpy")
    numpy_io.save_file(ARRAYS, tmp_path / "w.safetensors")
    same(read_state_dict(tmp_path / "w.safetensors"))


def test_npz(tmp_path):
    np.savez(tmp_path / "w.npz", **{"a.weight": ARRAYS["a.weight"]})
    np.testing.assert_array_equal(read_state_dict(tmp_path / "w.npz")["a.weight"], ARRAYS["a.weight"])


def test_refused(tmp_path):
    with pytest.raises(UserError, match="neither .npz nor .safetensors"):
        read_state_dict(tmp_path / "w.pth")
    with pytest.raises(UserError, match="no weights at"):
        read_state_dict(tmp_path / "w.npz")
    write_safetensors(tmp_path / "w.safetensors", ARRAYS)
    content = (tmp_path / "w.safetensors").read_bytes()
    for damaged in (content[:-4], content[:40], b"", b"\xff" * 64):
        (tmp_path / "w.safetensors").write_bytes(damaged)
        with pytest.raises(UserError, match="cannot be read as safetensors"):
            read_state_dict(tmp_path / "w.safetensors")
    (tmp_path / "w.npz").write_bytes(content)
    with pytest.raises(UserError, match="cannot be read as npz"):
        read_state_dict(tmp_path / "w.npz")
