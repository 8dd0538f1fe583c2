"""What BERT starts from: weight files, TF1 checkpoints and work folders of ours, and one line where there is none."""

import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from bert_parameters import TINY, assert_same, random_params, shapes

from jax_mlperf.benchmark import TrainState
from jax_mlperf.benchmarks.bert_starting_point import read_weights, weights_present
from jax_mlperf.checkpoint import Checkpoints, RunRecord
from jax_mlperf.errors import UserError
from jax_mlperf.models.bert_weights import to_state_dict
from jax_mlperf.models.tf_checkpoint import write_checkpoint
from jax_mlperf.optim import MomentsState
from jax_mlperf.state_dict import write_safetensors

PARAMS, SHAPES = random_params(TINY), shapes(**TINY)


def test_files_in_both_namings(tmp_path):
    for naming in ("tf1", "torch"):
        arrays = to_state_dict(PARAMS, naming)
        np.savez(tmp_path / f"{naming}.npz", **arrays)
        write_safetensors(tmp_path / f"{naming}.safetensors", arrays)
        for ending in ("npz", "safetensors"):
            path = tmp_path / f"{naming}.{ending}"
            assert not weights_present(path.with_stem("other")) and weights_present(path)
            assert_same(read_weights(path, SHAPES), PARAMS)


@pytest.mark.slow  # TensorFlow's import
def test_a_tf1_checkpoint(tmp_path):
    prefix = tmp_path / "model.ckpt-28252"
    assert not weights_present(prefix)
    write_checkpoint(prefix, to_state_dict(PARAMS, "tf1"))
    assert weights_present(prefix)
    assert_same(read_weights(prefix, SHAPES), PARAMS)
    with pytest.raises(UserError, match=r"no weights at .*28252.index: give the prefix .*model\.ckpt-28252$"):
        read_weights(tmp_path / "model.ckpt-28252.index", SHAPES)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A work folder whose run 1 has checkpoints of two steps, and run 2 another; run 0 was stopped before its first."""
    folder = tmp_path_factory.mktemp("trained")
    (folder / "config.json").write_text(json.dumps({"config": {"benchmark": "bert", "model": {"num_layers": 2}}}))
    (folder / "run_0" / "checkpoints").mkdir(parents=True)
    for run, step in ((1, 5), (1, 9), (2, 3)):
        params, other = (jax.tree.map(jnp.asarray, random_params(TINY, 10 * run + step + more)) for more in (0, 100))
        state = TrainState(jnp.int32(step), params, {}, MomentsState(jnp.int32(step), other, other), jnp.zeros(2, jnp.uint32))
        checkpoints = Checkpoints(folder / f"run_{run}" / "checkpoints", keep=2)
        checkpoints.save(step, state, RunRecord(seed=run))
        checkpoints.close()
    return folder


def test_the_newest_checkpoint_of_the_first_run_that_has_one(trained):
    assert weights_present(trained) and weights_present(trained / "run_2") and not weights_present(trained / "elsewhere")
    assert_same(read_weights(trained, SHAPES), random_params(TINY, 19))
    assert_same(read_weights(trained / "run_2", SHAPES), random_params(TINY, 23))


@pytest.mark.parametrize("sizes, message", [
    ({"layers": 3}, "the network of .* has 2 encoder layers, this model has 3"),
    ({"vocab": 12}, "the network of .* has a vocabulary of 11 entries, this model one of 12"),
    ({"hidden": 4}, r"has other shapes in 42 of the 46 variables of this BERT: .*word_embeddings \[11, 8\], needed \[11, 4\]"),
    ({"positions": 5}, r"has other shapes in 1 of the 46 variables of this BERT: .*position_embeddings \[6, 8\], needed \[5, 8\]$"),
])
def test_a_network_of_another_size_is_named(trained, sizes, message):
    with pytest.raises(UserError, match=message) as error:
        read_weights(trained, shapes(**TINY | sizes))
    assert "\n" not in str(error.value) and str(trained) in str(error.value)


@pytest.mark.parametrize("config, message", [
    ({"benchmark": "ncf"}, "is a work folder of 'ncf', not of bert"), (None, "is a work folder of None, not of bert"),
    ({"benchmark": "bert"}, "has no whole checkpoint; train with run.py until"),
])
def test_a_work_folder_that_does_not_do(tmp_path, config, message):
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    with pytest.raises(UserError, match=message):
        read_weights(tmp_path, SHAPES)


@pytest.mark.parametrize("name", ["_METADATA", "d"])
@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"\0" * file.stat().st_size), lambda file: file.unlink()])
def test_a_damaged_checkpoint_is_one_line(tmp_path, trained, name, damage):
    shutil.copytree(trained, tmp_path / "copy")
    for file in (tmp_path / "copy" / "run_2" / "checkpoints" / "3" / "state").rglob("*"):
        if file.is_file() and name in (file.name, file.parent.name):
            damage(file)
    with pytest.raises(UserError, match="the checkpoint .*run_2.* is damaged, or not of bert: ") as error:
        read_weights(tmp_path / "copy" / "run_2", SHAPES)
    assert "\n" not in str(error.value)


def test_what_is_not_there_or_no_weights_is_refused(tmp_path):
    (tmp_path / "pytorch_model.bin").write_bytes(b"x")
    for path in (tmp_path / "nothing", tmp_path / "pytorch_model.bin"):
        assert not weights_present(path)
        with pytest.raises(UserError, match=r"no weights at .*: give a TF1 checkpoint \(the path without .index\), a .safetensors"):
            read_weights(path, SHAPES)
    with pytest.raises(UserError, match=r"no weights at .*w.safetensors: give the path"):
        read_weights(tmp_path / "w.safetensors", SHAPES)
    with pytest.raises(UserError, match="is no work folder: it has no config.json"):
        read_weights(tmp_path, SHAPES)
    (tmp_path / "w.safetensors").write_bytes(b"\xff" * 64)
    with pytest.raises(UserError, match=r"is no work folder, but holds weights: give .*w\.safetensors$"):
        read_weights(tmp_path, SHAPES)
    (tmp_path / "model.ckpt-28252.index").touch()
    with pytest.raises(UserError, match=r"is no work folder, but holds weights: give .*model\.ckpt-28252$"):
        read_weights(tmp_path, SHAPES)
    with pytest.raises(UserError, match="w.safetensors cannot be read as safetensors"):
        read_weights(tmp_path / "w.safetensors", SHAPES)
