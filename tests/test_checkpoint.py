"""Checkpoints: saved on one mesh and restored exactly on others, records, leftovers of a killed writer."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from toy_benchmark import ToyBenchmark, toy_config

from jax_mlperf.benchmark import TrainState
from jax_mlperf.checkpoint import Checkpoints, RunRecord
from jax_mlperf.parallel.mesh import make_mesh, state_shardings
from jax_mlperf.programs import state_target

RECORD = RunRecord(seed=7, log_bytes=123, run_start_ms=1_700_000_000_123, active_seconds=12.5,
                   quality=[(10, {"bleu": 1.25, "loss": 3.0}), (20, {"bleu": 24.9, "loss": 2.0})])


def numpy_state(step=30):
    """A state with all that can be in one: an optimizer's named tuples, half-precision statistics, key data."""
    rng = np.random.default_rng(0)
    params = {"block": {"kernel": rng.standard_normal((64, 128), np.float32)}, "bias": rng.standard_normal(5, np.float32)}
    opt_state = jax.tree.map(np.asarray, optax.adam(0.1).init(params))
    opt_state = jax.tree.map(lambda leaf: (leaf + rng.standard_normal(leaf.shape)).astype(leaf.dtype), opt_state)
    return TrainState(np.int32(step), params, {"mean": np.full(3, 1.5, jnp.bfloat16)}, opt_state, np.array([1, 2**32 - 1], np.uint32))


def placed(state, mesh):
    return jax.tree.map(jax.device_put, state, state_shardings(mesh, state))


def target(state, mesh):
    return jax.tree.map(lambda leaf, sharding: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=sharding),
                        state, state_shardings(mesh, state))


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    """A folder with a state that was saved on a (4, 2) mesh."""
    folder = tmp_path_factory.mktemp("checkpoints")
    checkpoints = Checkpoints(folder, keep=2)
    state = placed(numpy_state(), make_mesh(4, 2))
    assert state.params["block"]["kernel"].sharding.shard_shape((64, 128)) == (64, 64)
    checkpoints.save(30, state, RECORD)
    checkpoints.close()
    return folder


@pytest.mark.parametrize(("data", "fsdp"), [(1, 1), (1, 8), (8, 1)])
def test_a_state_is_restored_exactly_on_other_meshes(saved, data, fsdp):
    mesh = make_mesh(data, fsdp, jax.devices()[:data * fsdp])
    checkpoints = Checkpoints(saved, keep=2)
    state, record = checkpoints.restore(checkpoints.latest_step(), target(numpy_state(), mesh))
    checkpoints.close()
    assert jax.tree.structure(state) == jax.tree.structure(numpy_state())
    jax.tree.map(np.testing.assert_array_equal, state, numpy_state())
    jax.tree.map(lambda left, right: left.dtype == right.dtype or pytest.fail(f"{left.dtype} {right.dtype}"),
                 state, numpy_state())
    kernel = state.params["block"]["kernel"]
    assert kernel.sharding.mesh == mesh and kernel.sharding.shard_shape(kernel.shape) == (64, 128 // fsdp)
    assert record == RECORD and all(isinstance(entry, tuple) for entry in record.quality)


def test_the_newest_steps_are_kept(tmp_path):
    mesh = make_mesh(1, 1, jax.devices()[:1])
    checkpoints = Checkpoints(tmp_path, keep=2)
    assert checkpoints.latest_step() is None
    for step in (5, 10, 100):
        checkpoints.save(step, placed(numpy_state(step), mesh), RunRecord(seed=step))
    checkpoints.wait()
    assert checkpoints.latest_step() == 100
    assert sorted(int(path.name) for path in tmp_path.iterdir()) == [10, 100]
    state, record = checkpoints.restore(10, target(numpy_state(), mesh))
    assert int(state.step) == 10 and record == RunRecord(seed=10)
    checkpoints.close()


def test_a_step_that_is_there_is_left_alone(tmp_path):
    mesh = make_mesh(1, 1, jax.devices()[:1])
    checkpoints = Checkpoints(tmp_path, keep=2)
    checkpoints.save(5, placed(numpy_state(), mesh), RunRecord(seed=1))
    checkpoints.save(5, placed(numpy_state(), mesh), RunRecord(seed=2))
    checkpoints.wait()
    assert checkpoints.restore(5, target(numpy_state(), mesh))[1].seed == 1
    checkpoints.close()


def test_what_a_killed_writer_left_is_removed_and_the_step_can_be_saved_again(saved):
    leftovers = [saved / "40.orbax-checkpoint-tmp", saved / "50.orbax-checkpoint-tmp"]
    for leftover in leftovers:
        (leftover / "state").mkdir(parents=True)
        (leftover / "state" / "half").write_bytes(b"\0" * 100)
    mesh = make_mesh(1, 1, jax.devices()[:1])
    checkpoints = Checkpoints(saved, keep=2)
    assert checkpoints.latest_step() == 30
    checkpoints.save(40, placed(numpy_state(40), mesh), RECORD)
    checkpoints.close()
    assert sorted(path.name for path in saved.iterdir()) == ["30", "40"]
    reopened = Checkpoints(saved, keep=2)
    assert reopened.latest_step() == 40
    jax.tree.map(np.testing.assert_array_equal, reopened.restore(40, target(numpy_state(), mesh))[0], numpy_state(40))
    reopened.close()


def test_a_reader_leaves_the_writer_alone(tmp_path):
    writer = Checkpoints(tmp_path / "c", keep=2)
    mesh = make_mesh(1, 1, jax.devices()[:1])
    benchmark = ToyBenchmark(toy_config())
    state = jax.jit(benchmark.init)(jax.random.key_data(jax.random.key(0)))
    writer.save(3, state, RunRecord(seed=1))
    writer.wait()
    (tmp_path / "c" / "4.orbax-checkpoint-tmp").mkdir()
    reader = Checkpoints(tmp_path / "c", keep=2, read_only=True)
    restored, _ = reader.restore(reader.latest_step(), state_target(benchmark, mesh))
    jax.tree.map(np.testing.assert_array_equal, restored.params, state.params)
    assert (tmp_path / "c" / "4.orbax-checkpoint-tmp").is_dir()
    reader.close()
    writer.close()
