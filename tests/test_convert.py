"""Conversion of BERT weights there and back, and what is refused before anything is written."""

import re

import pytest
from bert_parameters import TINY, assert_same, random_params, shapes

from jax_mlperf import convert as module
from jax_mlperf.benchmarks.bert_starting_point import read_weights
from jax_mlperf.config import load_config
from jax_mlperf.convert import convert, convert_weights
from jax_mlperf.errors import UserError
from jax_mlperf.models.bert_weights import to_state_dict
from jax_mlperf.models.tf_checkpoint import read_checkpoint, write_checkpoint
from jax_mlperf.state_dict import read_state_dict, write_safetensors

SIZES = TINY | {"positions": 8}
PARAMS, SHAPES = random_params(SIZES), shapes(**SIZES)


@pytest.mark.slow  # TensorFlow's import
def test_tf1_to_pytorch_and_back(tmp_path):
    original, torch, back = tmp_path / "model.ckpt-1", tmp_path / "new" / "w.safetensors", tmp_path / "back" / "model.ckpt-1"
    write_checkpoint(original, to_state_dict(PARAMS, "tf1"))
    line = convert_weights(SHAPES, original, torch)
    assert line == f"{torch}: 46 arrays of 1,573 parameters with PyTorch's names, from {original}"
    assert list(read_state_dict(torch)) == list(to_state_dict(PARAMS, "torch"))
    assert convert_weights(SHAPES, torch, back).startswith(f"{back}: 46 arrays of 1,573 parameters as a TF1 checkpoint")
    assert sorted(path.name for path in back.parent.iterdir()) == ["model.ckpt-1.data-00000-of-00001", "model.ckpt-1.index"]
    assert_same(dict(read_checkpoint(back)), dict(read_checkpoint(original)))
    assert_same(read_weights(back, SHAPES), PARAMS)


@pytest.fixture
def source(tmp_path):
    write_safetensors(tmp_path / "source.safetensors", to_state_dict(PARAMS, "torch"))
    return tmp_path / "source.safetensors"


@pytest.mark.parametrize("name, message", [
    ("there.safetensors", "there.safetensors exists already: give another path"), ("ckpt", "ckpt exists already"),
    ("folder", "folder exists already"), ("w.npz", "does not write .npz files"), ("ckpt.index", "does not write .index files"),
    ("file/w.safetensors", "w.safetensors cannot be written: "), ("file/ckpt", "ckpt cannot be written: "),
])
def test_targets_that_are_refused(tmp_path, source, name, message):
    (tmp_path / "there.safetensors").write_text("theirs")
    (tmp_path / "ckpt.index").write_text("theirs")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("")
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match=message) as error:
        convert_weights(SHAPES, source, tmp_path / name)
    assert "\n" not in str(error.value) and sorted(tmp_path.rglob("*")) == before
    assert (tmp_path / "there.safetensors").read_text() == "theirs"


@pytest.mark.parametrize("target", ["new.safetensors", "new"])
def test_a_source_that_does_not_fit_leaves_nothing(tmp_path, source, target):
    with pytest.raises(UserError, match="a vocabulary of 11 entries, this model one of 12"):
        convert_weights(shapes(**SIZES | {"vocab": 12}), source, tmp_path / target)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.slow  # TensorFlow's import
def test_a_checkpoint_that_fails_half_way_leaves_nothing(tmp_path, source, monkeypatch):
    def half(prefix, arrays):
        write_checkpoint(prefix, arrays)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(module, "write_checkpoint", half)
    with pytest.raises(UserError, match="new cannot be written: No space left on device"):
        convert_weights(SHAPES, source, tmp_path / "new")
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.slow  # TensorFlow's import
def test_the_model_is_the_configs(tmp_path, source):
    sizes = {"vocab_size": 11, "hidden_size": 8, "num_layers": 2, "num_heads": 2, "intermediate_size": 16, "max_positions": 8}
    overrides = ["data.max_sequence_length=8", "data.max_predictions=2", *(f"model.{key}={value}" for key, value in sizes.items())]
    convert(load_config("bert", overrides), tmp_path, source, tmp_path / "new")
    assert_same(read_weights(tmp_path / "new", SHAPES), PARAMS)
    with pytest.raises(UserError, match="has 2 encoder layers, this model has 4"):
        convert(load_config("bert", [*overrides, "model.num_layers=4"]), tmp_path, source, tmp_path / "other")


def test_a_config_of_another_benchmark_is_refused(tmp_path, source):
    with pytest.raises(UserError, match=re.escape("bert only, not of 'ncf': give --config=bert[:variant]")):
        convert(load_config("ncf"), tmp_path, source, tmp_path / "new")
