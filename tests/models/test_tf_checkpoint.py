"""TF1 checkpoints that TensorFlow wrote, and damaged ones."""

import sys

import numpy as np
import pytest
from bert_parameters import TINY, assert_same, random_params, shapes

from jax_mlperf.errors import UserError
from jax_mlperf.models.bert_weights import from_state_dict, to_state_dict
from jax_mlperf.models.tf_checkpoint import read_checkpoint, write_checkpoint

pytestmark = pytest.mark.slow  # TensorFlow's import
PARAMS = random_params(TINY)


@pytest.fixture(scope="module")
def content(tmp_path_factory):
    """The bytes of the two files of a checkpoint as the first phase leaves it: with LAMB's slots and the step."""
    arrays = to_state_dict(PARAMS, "tf1")
    slots = {f"{name}/{slot}": np.full_like(array, np.nan) for name, array in arrays.items() for slot in ("LAMB", "LAMB_1")}
    prefix = tmp_path_factory.mktemp("tf1") / "model.ckpt-7"
    write_checkpoint(prefix, arrays | slots | {"global_step": np.array(7), "beta1_power": np.float32(0.9)})
    return {path.name: path.read_bytes() for path in prefix.parent.iterdir()}


@pytest.fixture
def prefix(tmp_path, content):
    for name, data in content.items():
        (tmp_path / name).write_bytes(data)
    return tmp_path / "model.ckpt-7"


def test_variables_are_read_without_the_slots(prefix, content):
    assert sorted(content) == ["model.ckpt-7.data-00000-of-00001", "model.ckpt-7.index"]
    checkpoint, read = read_checkpoint(prefix), []
    original = checkpoint._reader

    class Recorder:
        def get_tensor(self, name):
            read.append(name)
            return original.get_tensor(name)

    checkpoint._reader = Recorder()
    assert len(checkpoint) == 3 * 46 + 2 and "global_step" in checkpoint
    assert_same(from_state_dict(checkpoint, shapes(**TINY), "x"), PARAMS)
    assert sorted(read) == sorted(to_state_dict(PARAMS, "tf1"))  # each once, and nothing else
    with pytest.raises(KeyError, match="nothing"):
        checkpoint["nothing"]


def test_variables_that_lack_are_listed(tmp_path):
    arrays = to_state_dict(PARAMS, "tf1")
    for name in ("cls/predictions/output_bias", "bert/pooler/dense/kernel"):
        del arrays[name]
    write_checkpoint(tmp_path / "part", arrays)
    with pytest.raises(UserError, match="lacks 2 of the 46 .*: bert/pooler/dense/kernel, cls/predictions/output_bias$"):
        from_state_dict(read_checkpoint(tmp_path / "part"), PARAMS, "x")


@pytest.mark.parametrize("file, change, message", [
    (".index", lambda data: data[:20], "file is too short"), (".index", lambda data: b"", "file is too short"),
    (".index", lambda data: b"\0" * len(data), "bad magic number"),
    (".data-00000-of-00001", lambda data: data[:10], "Read less bytes"),
    (".data-00000-of-00001", lambda data: b"\xff" * len(data), "Checksum does not match"),
])
def test_damaged_files_are_one_line(prefix, content, file, change, message):
    name = f"{prefix.name}{file}"
    (prefix.parent / name).write_bytes(change(content[name]))
    with pytest.raises(UserError, match=f"checkpoint .*model.ckpt-7 cannot be read .*{message}.*copy its files again") as error:
        from_state_dict(read_checkpoint(prefix), PARAMS, "x")
    assert "\n" not in str(error.value)


def test_what_is_no_tf1_checkpoint_is_refused(tmp_path, prefix):
    with pytest.raises(UserError, match="no TF1 checkpoint at .*other: there is no other.index"):
        read_checkpoint(tmp_path / "other")
    (tmp_path / f"{prefix.name}.data-00000-of-00001").unlink()
    with pytest.raises(UserError, match="cannot be read .*No such file"):
        read_checkpoint(prefix)["global_step"]
    write_checkpoint(tmp_path / "tf2", {"_CHECKPOINTABLE_OBJECT_GRAPH": np.zeros(1)})
    with pytest.raises(UserError, match="tf2 is an object-based checkpoint of TensorFlow 2: give the TF1 checkpoint"):
        read_checkpoint(tmp_path / "tf2")


def test_a_folder_that_cannot_be_written_is_an_os_error(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        write_checkpoint(tmp_path / "file" / "x", {"a": np.zeros(1)})


def test_without_tensorflow_the_message_says_how_to_convert(prefix, monkeypatch):
    from input_pipelines.jpeg import tensorflow

    monkeypatch.setitem(sys.modules, "tensorflow", None)
    tensorflow.cache_clear()
    with pytest.raises(UserError, match=r"needs TensorFlow, .*: convert it .*: python -m jax_mlperf convert .*--to=.*\.safetensors$"):
        read_checkpoint(prefix)
    tensorflow.cache_clear()
