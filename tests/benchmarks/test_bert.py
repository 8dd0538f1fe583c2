"""The BERT benchmark: evaluation points, log, packed rows against rows of one sequence, devices, starting point, refusals."""

from pathlib import Path

import jax
import numpy as np
import pytest
from compiled import after_steps, compiled_step, initial_state

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.bert_rules import eval_interval
from jax_mlperf.config import load_config
from jax_mlperf.describe import describe
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.plan import hlo
from jax_mlperf.plan.communication import collectives
from jax_mlperf.prefetch import to_devices
from jax_mlperf.programs import state_target

SMALL = ("model.num_layers=1", "model.hidden_size=32", "model.intermediate_size=64", "model.max_positions=64", "data.batch_size=24",
         "evaluation.batch_size=16", "data.eval_samples=50", "rng_impl=threefry2x32")


@pytest.mark.parametrize(("batch", "samples"), [
    (256, 150_000), (448, 150_000), (2048, 150_000), (3072, 175_000), (4096, 175_000), (4608, 200_000), (6144, 200_000),
    (8192, 225_000), (12_288, 275_000), (13_056, 300_000), (16_384, 325_000)])
def test_evaluation_intervals_of_the_rules(batch, samples):
    assert eval_interval(batch) == samples


def closed(*overrides, reference="bert"):
    return benchmarks.create(load_config(reference, overrides), Topology(1), "absent")


@pytest.mark.slow
def test_the_closed_benchmark_needs_no_data_to_be_described(tmp_path):
    facts = describe(load_config("bert"), tmp_path, devices=8, steps=[0, 100, 3350])
    assert facts["parameters"] == 336_226_108 and facts["parameter_tensors"] == 398
    assert facts["evaluation_steps"][:3] == [335, 670, 1005] and facts["max_steps"] == 6697, "the last point before the rate is 0"
    assert list(facts["learning_rate"].values()) == pytest.approx([4.25e-4, 4.1865672e-4, 2.125e-4])
    assert facts["batch_shapes"][0]["input_ids"] == [232, 512] and facts["batch_shapes"][0]["masked_lm_ids"] == [232, 78]
    assert [path.rsplit("/", 1)[1] for path in facts["source_files"]] == ["vocab.txt", "results"]


@pytest.mark.parametrize(("batch", "first", "last"), [(8192, 28, 577), (256, 586, 13_477), (16_384, 20, 596)])
def test_evaluation_points_of_recipes(batch, first, last):
    made = closed("division=open", "model.num_layers=1", reference=f"bert:batch={batch}")
    assert made.next_eval_step(0) == first and made.max_steps() == last
    assert made.epoch_num(first) == first * batch and made.elapsed(first) == f"{first * batch:,} samples"


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("articles")
    benchmarks.generate_data(load_config("bert:tiny", SMALL), folder)
    return folder


def build(data_dir, *overrides, devices=1, fsdp=1):
    mesh = make_mesh(devices // fsdp, fsdp, jax.devices()[:devices])
    config = load_config("bert:tiny", [*SMALL, *overrides])
    return benchmarks.create(config, Topology(devices, mesh=mesh), data_dir), mesh


@pytest.fixture(scope="module")
def one_device(data_dir):
    benchmark, mesh = build(data_dir)
    return benchmark, mesh, compiled_step(benchmark, mesh)


def assert_alike(left, right):
    np.testing.assert_allclose(left[0], right[0], rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-5), left[1].params, right[1].params)


def test_a_batch_holds_so_many_sequences_whatever_rows_they_lie_in(data_dir):
    packed, _ = build(data_dir)
    unpacked, _ = build(data_dir, "data.packed=False")
    rows, batch = packed.batch_specs[0]["input_ids"].shape[0], next(packed.train_batches(1, 0))
    assert rows < 20 and batch["sequences"] == batch["next_sentence_weights"].sum() == 24
    assert packed.samples_in(packed.batch_specs[0]) == unpacked.samples_in(unpacked.batch_specs[0]) == 24
    assert packed.steps_per_epoch == unpacked.steps_per_epoch == packed.train_samples / 24
    assert packed.epoch_num(7) == 7 * 24, "an epoch of the log is a sequence"


def test_longer_sequences_than_expected_need_no_more_microbatches_than_their_rows(data_dir):
    """Rows of a number without divisors would be computed one by one."""
    benchmark, _ = build(data_dir, "data.expected.sequences_per_row=24", "microbatch_per_device=5")
    (rows,) = {spec["input_ids"].shape[0] for spec in benchmark.batch_specs}
    assert rows > 5 and benchmark.accumulation_steps == -(-rows // 5)


@pytest.mark.slow
def test_packed_rows_train_as_rows_of_one_sequence_do(data_dir, one_device):
    """The samples of a packed batch, one to a row: the same loss, and after a step the same parameters."""
    benchmark, mesh = build(data_dir, "data.packed=False")
    (spec,) = benchmark.batch_specs
    alone = {name: np.zeros(leaf.shape, leaf.dtype) for name, leaf in spec.items()}
    packed = next(one_device[0].train_batches(5, 0))
    place = 0
    for row in range(len(packed["input_ids"])):
        for number in range(1, packed["segmentation"][row].max() + 1):
            slots = np.flatnonzero(packed["segmentation"][row] == number)
            for name in ("input_ids", "token_type_ids", "position_ids"):
                alone[name][place, :len(slots)] = packed[name][row, slots]
            alone["segmentation"][place, :len(slots)] = 1
            mine = np.isin(packed["masked_lm_positions"][row], slots) & (packed["masked_lm_weights"][row] > 0)
            for name in ("masked_lm_positions", "masked_lm_ids", "masked_lm_weights"):
                alone[name][place, :mine.sum()] = packed[name][row, mine]
            alone["masked_lm_positions"][place, :mine.sum()] -= slots[0]
            alone["next_sentence_labels"][place] = packed["next_sentence_labels"][row, number - 1]
            alone["next_sentence_weights"][place] = 1
            place += 1
    assert place == 24 == packed["sequences"]
    alone |= {name: packed[name] for name in ("predictions", "sequences")}
    state, metrics = compiled_step(benchmark, mesh)(initial_state(benchmark, mesh), to_devices(mesh, alone), ())
    (loss,), first = after_steps(*one_device, count=1)
    assert float(metrics["loss"]) == pytest.approx(loss, rel=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), jax.device_get(state).params, first.params)


@pytest.mark.slow
@pytest.mark.parametrize(("devices", "fsdp", "overrides"), [
    (8, 1, ()), (8, 4, ()), (1, 1, ("microbatch_per_device=4", "model.remat=layer"))])
def test_devices_shards_and_microbatches_train_alike(data_dir, one_device, devices, fsdp, overrides):
    benchmark, mesh = build(data_dir, *overrides, devices=devices, fsdp=fsdp)
    assert benchmark.accumulation_steps == (4 if overrides else 1)
    step = compiled_step(benchmark, mesh)
    assert_alike(after_steps(benchmark, mesh, step, count=2), after_steps(*one_device, count=2))
    if devices > fsdp == 1:
        found = collectives(hlo.parse(step.as_text()))
        reduced = sum(leaf.size * 4 for leaf in jax.tree.leaves(state_target(benchmark, mesh).params))
        assert {collective.kind for collective in found} == {"all-reduce"}
        assert sum(collective.bytes * collective.count for collective in found) <= reduced + 8, "the loss and its weight"


def test_missing_weights_are_told_from_missing_data(tmp_path):
    made = benchmarks.create(load_config("bert", ["data.raw_dir=/texts"]), Topology(1), tmp_path)
    prepared, weights = made.data_files()
    assert not prepared.present and prepared.remedy == ""
    assert weights.path == Path("/texts/tf1_ckpt/model.ckpt-28252") and "the path without .index" in weights.remedy
    own = benchmarks.create(load_config("bert", ["data.source=text", "division=open"]), Topology(1), tmp_path)
    assert own.data_files()[1].path == Path("tf1_ckpt/model.ckpt-28252"), "not below the user's text, where nothing of it is"
    assert made.prepare_command().endswith(f"prepare bert --data_dir={tmp_path} --config.data.raw_dir=/texts")
