"""Work folders of minigo whose network is wanted: what is wrong with one is a line, before anything is compiled."""

import json

import pytest

from jax_mlperf.benchmarks.minigo_checkpoint import check_trained, config_of, restored
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError

CONFIG = load_config("minigo:tiny").to_dict()


def folder_with(tmp_path, config):
    (tmp_path / "config.json").write_text(json.dumps({"config": config}))
    return tmp_path


def test_the_config_that_was_written_is_read_with_its_tuples(tmp_path):
    assert config_of(folder_with(tmp_path, CONFIG)) == load_config("minigo:tiny")


@pytest.mark.parametrize(("config", "message"), [
    (None, "holds no config"), ("x", "holds no config"), ({}, "a work folder of None, not of minigo"),
    ({**CONFIG, "benchmark": "ncf"}, "a work folder of 'ncf', not of minigo"),
    ({name: value for name, value in CONFIG.items() if name != "game"}, "it has no game;"),
    ({**CONFIG, "model": {"blocks": 2}}, "it has no model."), ({**CONFIG, "game": 5}, "it has no game;"),
])
def test_what_is_no_config_of_minigo_is_named(tmp_path, config, message):
    with pytest.raises(UserError, match=message) as error:
        config_of(folder_with(tmp_path, config))
    assert "\n" not in str(error.value) and str(tmp_path) in str(error.value)


def test_a_folder_without_a_checkpoint_is_told_from_one_with_a_damaged_one(tmp_path):
    folder_with(tmp_path, CONFIG)
    with pytest.raises(UserError, match="has no run 0 with checkpoints; train first"):
        check_trained(tmp_path)
    with pytest.raises(UserError, match="has no run 3 with checkpoints; train first"):
        check_trained(tmp_path / "run_3")
    checkpoints = tmp_path / "run_0" / "checkpoints"
    checkpoints.mkdir(parents=True)
    with pytest.raises(UserError, match="run 0 in .* has no checkpoint yet"):
        check_trained(tmp_path)
    (checkpoints / "7" / "state").mkdir(parents=True)
    assert check_trained(tmp_path) == checkpoints
    with pytest.raises(UserError, match="is damaged, or does not fit the config beside it|has no whole checkpoint"):
        restored(config_of(tmp_path), tmp_path, tmp_path)
