"""Weight files: what is read and written, and what is refused."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.errors import UserError
from jax_mlperf.state_dict import read_state_dict, write_safetensors

ARRAYS = {"a.weight": np.arange(6, dtype=np.float32).reshape(2, 3), "b": np.array(5), "c": np.arange(3).astype(jnp.bfloat16)}


def same(read):
    assert read.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        assert read[name].dtype == array.dtype
        np.testing.assert_array_equal(read[name], array)


def test_safetensors_byte_by_byte(tmp_path):
    header = (b'{"__metadata__":{"format":"pt"},"a.weight":{"dtype":"F32","shape":[2,3],"data_offsets":[0,24]},'
              b'"b":{"dtype":"I64","shape":[],"data_offsets":[24,32]},"c":{"dtype":"BF16","shape":[3],"data_offsets":[32,38]}}')
    values = b"".join(array.tobytes() for array in ARRAYS.values())
    padded = header + b" " * (-len(header) % 8)
    write_safetensors(tmp_path / "w.safetensors", ARRAYS)
    assert (tmp_path / "w.safetensors").read_bytes() == len(padded).to_bytes(8, "little") + padded + values
    same(read_state_dict(tmp_path / "w.safetensors"))
    for odd in range(1, 4):  # arrays that do not begin at a multiple of their size
        text = header + b" " * odd
        (tmp_path / "w.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + values)
        same(read_state_dict(tmp_path / "w.safetensors"))


def test_safetensors_holds_views_and_empty_arrays(tmp_path):
    matrix = np.arange(6, dtype=np.float32).reshape(2, 3)
    arrays = {"transposed": matrix.T, "none": np.zeros((0, 4), np.float32), "part": matrix[:, 1]}
    write_safetensors(tmp_path / "w.safetensors", arrays)
    read = read_state_dict(tmp_path / "w.safetensors")
    assert list(read) == list(arrays)
    for name, array in arrays.items():
        np.testing.assert_array_equal(read[name], array)


def test_safetensors_are_written_whole_or_not_at_all(tmp_path):
    class Stops(dict):
        def values(self):
            yield from super().values()
            raise OSError("the disk is full")

    (tmp_path / "w.safetensors").write_text("before")
    with pytest.raises(OSError, match="the disk is full"):
        write_safetensors(tmp_path / "w.safetensors", Stops(ARRAYS))
    assert [path.name for path in tmp_path.iterdir()] == ["w.safetensors"]
    assert (tmp_path / "w.safetensors").read_text() == "before"


def test_safetensors_of_the_library(tmp_path):
    numpy_io = pytest.importorskip("safetensors.numpy")
    numpy_io.save_file(ARRAYS, tmp_path / "w.safetensors")
    same(read_state_dict(tmp_path / "w.safetensors"))
    write_safetensors(tmp_path / "ours.safetensors", ARRAYS)
    same(numpy_io.load_file(tmp_path / "ours.safetensors"))


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
