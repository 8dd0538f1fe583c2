"""The data verbs of NCF: config checks, and what `prepare` and `verify` print."""

import pytest
from ml_collections import ConfigDict

from jax_mlperf.benchmarks.ncf_data import data_command, settings
from jax_mlperf.config import base_config
from jax_mlperf.data import movielens
from jax_mlperf.errors import UserError


@pytest.fixture
def config():
    config = base_config()
    config.benchmark = "ncf"
    config.data = ConfigDict({
        "source": "ml-100k", "raw_dir": "", "min_ratings": 20, "ties": "random", "expected": {"users": 943, "items": 1682, "train": 99_057},
        "fractal": {"base": "ml-20m", "user_factor": 16, "item_factor": 32}})
    return config


def test_settings(config):
    assert settings(config) == movielens.Settings("ml-100k")
    config.data.update({"source": "fractal", "raw_dir": "x", "min_ratings": 5, "ties": "stable",
                        "fractal": {"base": "ml-1m", "user_factor": 2, "item_factor": 3}})
    assert settings(config) == movielens.Settings("fractal", "x", 5, "stable", fractal_base="ml-1m", user_factor=2, item_factor=3)


@pytest.mark.parametrize(("key", "value", "problem"), [
    ("source", "ml-25m", "'ml-25m'; there are: ml-20m, ml-1m, ml-100k, tiny, fractal"),
    ("ties", "last", "'last'; there are: random, stable"),
    ("fractal.base", "fractal", "'fractal'; there are: ml-20m, ml-1m, ml-100k, tiny"),
    ("min_ratings", 1, "1, must be at least 2"),
    ("fractal.user_factor", 0, "0, must be at least 1"),
    ("fractal.item_factor", 2000, "2000, must be at most 1024"),
    ("expected.users", 0, "0, must be at least 1"),
])
def test_bad_values(config, key, value, problem):
    with config.unlocked():
        config.data.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=rf"config\.data\.{key} is {problem}"):
        settings(config)


def test_generated_ratings_take_no_folder(config):
    for source, base in (("tiny", "ml-20m"), ("fractal", "tiny")):
        config.data.update({"source": source, "raw_dir": "mine", "fractal": {"base": base}})
        with pytest.raises(UserError, match=r"config\.data\.raw_dir is 'mine'.*generated: leave it empty"):
            settings(config)


def test_verbs(config, tmp_path, capsys):
    config.data.min_ratings = 2
    with pytest.raises(UserError, match=r"u\.data first \(missing\); get them again with: .*data download"):
        data_command("verify", config, tmp_path, mirror=None, workers=1)
    (tmp_path / "ml-100k").mkdir()
    (tmp_path / "ml-100k" / "u.data").write_text("1\t5\t3\t7\n1\t6\t3\t7\n1\t5\t2\t1\n2\t5\t3\t7\n")
    data_command("prepare", config, tmp_path, mirror=None, workers=2)
    assert capsys.readouterr().out.splitlines()[-1].endswith(
        "ml-100k-min2-random0: 1 users, 2 items, 1 ratings to train on; 1 users dropped, 1 repeated ratings, "
        "1 users with several last ratings")
    with pytest.raises(UserError, match=r"\(damaged\)"):
        data_command("verify", config, tmp_path, mirror=None, workers=1)
    with pytest.raises(UserError, match="is no address"):  # it is not the published file: put aside, and asked for
        data_command("download", config, tmp_path, mirror="nowhere", workers=1)
    assert (tmp_path / "ml-100k" / "u.data.broken").read_text().startswith("1\t5\t3\t7\n")
