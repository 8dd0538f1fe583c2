"""The scaling study on virtual devices, and the all-reduce's own time."""

import json

import jax
import jax.numpy as jnp
import pytest

from jax_mlperf.all_reduce import all_reduce_bytes, all_reduce_seconds
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.study import as_text, scaling

SMALL = ("data.expected.train=64", "data.expected.eval=20", "model.width=4", "data.batch_size=8", "max_epochs=1.0")


def test_the_all_reduce_is_timed_where_there_is_one():
    params = {"w": jax.ShapeDtypeStruct((64, 64), jnp.bfloat16), "b": jax.ShapeDtypeStruct((64,), jnp.float32)}
    assert all_reduce_bytes(params) == 4 * (64 * 64 + 64)
    assert all_reduce_seconds(make_mesh(1, 1, jax.devices()[:1]), params) == 0.0
    assert 0 < all_reduce_seconds(make_mesh(8, 1), params) < 10


@pytest.mark.slow
def test_a_scaling_study_writes_what_the_plots_need(tmp_path):
    entries = scaling(load_config("cifar10:tiny", SMALL), tmp_path / "data", tmp_path / "study", (1, 12))
    assert json.loads((tmp_path / "study" / "scaling.json").read_text()) == entries
    one, twelve = entries
    assert (one["workers"], one["devices"], one["steps"]) == (1, 1, 8)
    assert (twelve["workers"], twelve["devices"], twelve["steps"]) == (12, 6, 1), "emulated on the devices that divide them"
    assert one["all_reduce_seconds"] == 0 < twelve["all_reduce_seconds"]
    assert one["all_reduce_bytes"] == twelve["all_reduce_bytes"] > 4000
    assert one["speedup"] == 1 and twelve["speedup"] == pytest.approx(one["train_seconds"] / twelve["train_seconds"], abs=0.01)
    assert len(as_text(entries).splitlines()) == 3
    again = scaling(load_config("cifar10:tiny", SMALL), tmp_path / "data", tmp_path / "study", (1,))
    assert again == [one], "a complete run is not repeated"


def test_a_config_without_workers_is_refused(tmp_path):
    with pytest.raises(UserError, match="needs config.data.workers, which transformer has not"):
        scaling(load_config("transformer:tiny"), tmp_path, tmp_path, (1,))


def test_too_many_workers_are_refused_before_any_training(tmp_path):
    with pytest.raises(UserError, match="64 samples over 100 workers are 0 for one of them"):
        scaling(load_config("cifar10:tiny", SMALL), tmp_path, tmp_path / "study", (1, 100))
    assert not (tmp_path / "study").exists()
