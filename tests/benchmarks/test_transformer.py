"""The Transformer benchmark: topologies, collectives, accumulation, scoring, and its config against the data."""

from pathlib import Path

import jax
import numpy as np
import pytest
from compiled import after_steps, compiled_step, initial_state

from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks import data_command
from jax_mlperf.benchmarks.transformer import TransformerBenchmark
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.plan.communication import collectives
from jax_mlperf.prefetch import to_devices
from jax_mlperf.programs import eval_function, state_target, train_functions

TINY = str(Path(__file__).parents[2] / "configs" / "transformer.py") + ":tiny"
SMALL = ("model.d_model=32", "model.ffn_dim=64", "model.num_layers=1", "data.batch_size=16",
         "evaluation.batch_size=64", "evaluation.extra_length=4", "optimizer.warmup_steps=2")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("data")
    data_command("prepare", load_config(TINY), folder)
    return folder


def build(data_dir, *overrides, data=1, fsdp=1, batching="packed"):
    config = load_config(TINY, [*SMALL, f"data.batching={batching}", *overrides])
    mesh = make_mesh(data, fsdp, jax.devices()[:data * fsdp])
    return TransformerBenchmark(config, Topology(mesh.size, mesh=mesh), data_dir), mesh


@pytest.fixture(scope="module")
def one_device(data_dir):
    return after_steps(*build(data_dir), count=3)


@pytest.fixture(scope="module")
def eight_devices(data_dir):
    benchmark, mesh = build(data_dir, data=8)
    return benchmark, mesh, compiled_step(benchmark, mesh)


def assert_alike(left, right):
    np.testing.assert_allclose(left[0], right[0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=2e-5), left[1].params, right[1].params)


@pytest.mark.slow
def test_eight_devices_do_what_one_does(eight_devices, one_device):
    assert_alike(after_steps(*eight_devices, count=3), one_device)


@pytest.mark.slow
def test_eight_devices_with_sharded_parameters_do_what_one_does(data_dir, one_device):
    benchmark, mesh = build(data_dir, fsdp=8)
    assert_alike(after_steps(benchmark, mesh, count=3), one_device)
    split = [leaf for leaf in jax.tree.leaves(state_target(benchmark, mesh)) if leaf.size >= 2**12]
    assert split and all(np.prod(leaf.sharding.shard_shape(leaf.shape)) * 8 == leaf.size for leaf in split if
                         any(size % 8 == 0 for size in leaf.shape))


@pytest.mark.slow
def test_accumulation_learns_the_same(data_dir, one_device):
    benchmark, mesh = build(data_dir, "microbatch_per_device=4", data=2)
    assert benchmark.accumulation_steps == 2
    step = compiled_step(benchmark, mesh)
    assert_alike(after_steps(benchmark, mesh, step, count=3), one_device)
    assert {collective.count for collective in collectives(step)} == {1}, "not in every microbatch"


@pytest.mark.slow
def test_devices_drop_different_elements(data_dir):
    benchmark, mesh = build(data_dir, "model.dropout_rate=0.5", data=2)
    batch = next(benchmark.train_batches(5, 0))
    same = {name: np.concatenate([rows[:8], rows[:8]]) for name, rows in batch.items()}
    step, single = compiled_step(benchmark, mesh), build(data_dir, "model.dropout_rate=0.5", "data.batch_size=8")
    _, metrics = step(initial_state(benchmark, mesh), to_devices(mesh, same), ())
    _, alone = compiled_step(*single)(initial_state(*single), to_devices(single[1], {name: rows[:8] for name, rows in batch.items()}), ())
    assert abs(float(metrics["loss"]) - float(alone["loss"])) > 1e-4, "two copies of the rows, two masks"


@pytest.mark.slow
def test_data_parallelism_all_reduces_the_gradients_and_nothing_else(eight_devices):
    benchmark, mesh, step = eight_devices
    found = collectives(step)
    parameter_bytes = sum(leaf.size * 4 for leaf in jax.tree.leaves(state_target(benchmark, mesh).params))
    assert {collective.kind for collective in found} == {"all-reduce"}
    total = sum(collective.bytes * collective.count for collective in found)
    assert parameter_bytes <= total <= parameter_bytes + 64, "gradients, the loss and the number of tokens"
    assert all(len(collective.group) == 8 for collective in found)


@pytest.mark.slow
def test_evaluation_searches_on_every_device_by_itself(data_dir):
    single, mesh = build(data_dir)
    many, many_mesh = build(data_dir, data=4, fsdp=2)
    batch = next(single.eval_batches())
    ids = []
    for benchmark, where in ((single, mesh), (many, many_mesh)):
        function, arguments = eval_function(benchmark, where)
        compiled = function.lower(*arguments).compile()
        ids.append(np.asarray(compiled(initial_state(benchmark, where), to_devices(where, batch), ())))
    np.testing.assert_array_equal(*ids)
    assert all(collective.count == 1 for collective in collectives(compiled)), "none inside the search's loop"
    assert not any(collective.kind == "all-reduce" for collective in collectives(compiled))


def test_score_counts_every_sentence_once_in_the_right_order(data_dir):
    benchmark, _ = build(data_dir)
    order = benchmark.data.eval_sources(64).order
    references = benchmark.data.eval_references
    rows = [benchmark.data.subtokenizer.encode(references[sentence], add_eos=True) for sentence in order]
    outputs = np.zeros((-(-len(rows) // 64) * 64, 40), np.int32)
    for row, ids in enumerate(rows):
        outputs[row, :len(ids)] = ids
    assert benchmark.score(list(outputs.reshape(-1, 64, 40)))["bleu"] == pytest.approx(100.0)
    assert benchmark.score(list(outputs[::-1].reshape(-1, 64, 40)))["bleu"] < 50


def test_bucketed_batches_have_a_program_each(data_dir):
    benchmark, mesh = build(data_dir, "data.batch_size=256", "data.max_sequence_length=24", "data.bucket_growth=2.0", batching="bucketed")
    assert [spec["inputs"].shape for spec in benchmark.batch_specs] == [(32, 7), (16, 15), (10, 24)]
    assert len(train_functions(benchmark, mesh)) == 3
    shapes = {batch["inputs"].shape for _, batch in zip(range(benchmark.steps_per_epoch), benchmark.train_batches(0, 0), strict=False)}
    assert shapes == {(32, 7), (16, 15), (10, 24)}


def test_vocabulary_of_another_size_is_refused(data_dir):
    with pytest.raises(UserError, match="config.model.vocab_size is 500, but the prepared vocabulary has 401 entries; set --config"):
        build(data_dir, "model.vocab_size=500")
    assert build(data_dir, "model.vocab_size=0")[0].vocab_size == 401


def test_microbatches_that_do_not_split_are_refused(data_dir):
    with pytest.raises(UserError, match="set --config.microbatch_per_device=0"):
        build(data_dir, "data.batch_size=256", "data.max_sequence_length=24", "data.bucket_growth=2.0", "microbatch_per_device=1",
              batching="bucketed")


@pytest.mark.slow
def test_the_averaged_parameters_are_evaluated(data_dir):
    benchmark, mesh = build(data_dir, "optimizer.average_checkpoints=2", "optimizer.average_every_steps=1")
    step, state, kept = compiled_step(benchmark, mesh), initial_state(benchmark, mesh), []
    for _, batch in zip(range(3), benchmark.train_batches(5, 0), strict=False):
        state, _ = step(state, to_devices(mesh, batch), ())
        kept.append(jax.device_get(state.params))
    mean = jax.tree.map(lambda left, right: (left + right) / 2, *kept[-2:])
    jax.tree.map(lambda left, right: np.testing.assert_allclose(left, right, atol=1e-6), jax.device_get(benchmark.eval_params(state)), mean)
