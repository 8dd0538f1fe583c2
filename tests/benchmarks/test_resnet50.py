"""The ResNet-50 benchmark, small: devices, batch-norm groups, collectives, exact evaluation, evaluation points, weights."""

import math
from pathlib import Path

import jax
import numpy as np
import pytest
from compiled import after_steps, compiled_step, initial_state

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.resnet50_checks import check_samples
from jax_mlperf.config import load_config
from jax_mlperf.describe import describe
from jax_mlperf.errors import UserError
from jax_mlperf.models.resnet_weights import to_torchvision
from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.plan import hlo
from jax_mlperf.plan.communication import collectives
from jax_mlperf.prefetch import to_devices
from jax_mlperf.programs import eval_function, state_target

SMALL = ("data.expected.train=80", "data.expected.eval=41", "data.image_size=16", "data.batch_size=32", "evaluation.batch_size=16",
         "model.stage_sizes=(1,1)", "model.width=4", "model.bn_group=4", "rng_impl=threefry2x32")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gratings")
    benchmarks.generate_data(load_config("resnet50:tiny", SMALL), folder)
    return folder


def build(data_dir, *overrides, devices=1):
    mesh = make_mesh(devices, 1, jax.devices()[:devices])
    config = load_config("resnet50:tiny", [*SMALL, *overrides])
    return benchmarks.create(config, Topology(devices, mesh=mesh), data_dir), mesh


def found(compiled):
    return collectives(hlo.parse(compiled.as_text()))


def assert_alike(left, right):
    np.testing.assert_allclose(left[0], right[0], rtol=1e-4)
    for a, b in ((left[1].params, right[1].params), (left[1].model_state, right[1].model_state)):
        jax.tree.map(lambda x, y: np.testing.assert_allclose(x, y, rtol=2e-3, atol=2e-4), a, b)


@pytest.fixture(scope="module")
def one_device(data_dir):
    return after_steps(*build(data_dir), first=1, count=2)


@pytest.fixture(scope="module")
def eight_devices(data_dir):
    benchmark, mesh = build(data_dir, devices=8)
    return benchmark, mesh, compiled_step(benchmark, mesh)


@pytest.mark.slow
def test_eight_devices_do_what_one_does(one_device, eight_devices):
    assert_alike(after_steps(*eight_devices, first=1, count=2), one_device)


@pytest.mark.slow
def test_data_parallelism_all_reduces_gradients_and_running_statistics_and_nothing_else(eight_devices):
    benchmark, mesh, step = eight_devices
    target = state_target(benchmark, mesh)
    expected = sum(leaf.size * 4 for leaf in jax.tree.leaves((target.params, target.model_state)))
    assert {collective.kind for collective in found(step)} == {"all-reduce"}
    total = sum(collective.bytes * collective.count for collective in found(step))
    same = 4 * (16 + 32)  # the biases before an addition, of bn3 and of bnsc, have one gradient: XLA reduces it once
    assert total == expected - same + 8, "and the loss and its weight"
    assert all(len(collective.group) == 8 for collective in found(step)), "no batch norm over a few devices"


@pytest.mark.slow
def test_a_batch_norm_group_over_two_devices_is_the_group_of_one(data_dir):
    alone = after_steps(*build(data_dir, "model.bn_group=8"), first=1, count=2)
    benchmark, mesh = build(data_dir, "model.bn_group=8", devices=8)
    step = compiled_step(benchmark, mesh)
    assert_alike(after_steps(benchmark, mesh, step, first=1, count=2), alone)
    assert {len(collective.group) for collective in found(step)} == {2, 8}


def test_batch_norm_groups_that_cannot_be_are_refused(data_dir):
    with pytest.raises(UserError, match="config.model.bn_group is 5, but a device takes 32 rows at once: give a divisor of 32"):
        build(data_dir, "model.bn_group=5")
    with pytest.raises(UserError, match="config.model.bn_group is 64, but a device takes 4 rows at once"):
        build(data_dir, "model.bn_group=64", devices=8)
    with pytest.raises(UserError, match="without accumulation"):
        build(data_dir, "model.bn_group=8", "microbatch_per_device=2", devices=8)


@pytest.mark.slow
def test_evaluation_counts_every_image_once_on_any_number_of_devices(data_dir):
    scores = []
    for devices in (1, 8):
        benchmark, mesh = build(data_dir, devices=devices)
        function, arguments = eval_function(benchmark, mesh)
        program, state = function.lower(*arguments).compile(), initial_state(benchmark, mesh)
        outputs = [jax.device_get(program(state, to_devices(mesh, batch), ())) for batch in benchmark.eval_batches()]
        assert [int(output["images"]) for output in outputs] == [16, 16, 9]
        scores.append(benchmark.score(outputs))
    assert scores[0] == scores[1] and 0 <= scores[0]["accuracy"] <= 100


def test_score_and_logged_quality():
    benchmark, _ = build(Path("absent"))
    metrics = benchmark.score([{"correct": 30_000, "images": 40_000}, {"correct": 7_950, "images": 10_000}])
    assert metrics == {"accuracy": 75.9} and benchmark.logged_quality(metrics) == 0.759
    assert not benchmark.quality.reached(metrics)


def closed(*overrides, reference="resnet50"):
    return benchmarks.create(load_config(reference, overrides), Topology(8), Path("absent"))


def test_evaluation_points_of_the_closed_benchmark():
    benchmark, points = closed(), [0]
    while points[-1] < benchmark.max_steps():
        points.append(benchmark.next_eval_step(points[-1]))
    epochs = [benchmark.epoch_num(step) for step in points[1:]]
    assert epochs == [3, 7, 11, 15, 19, 23, 27, 31, 35, 39]
    assert points[1:] == [math.ceil(epoch * 1_281_167 / 3264) for epoch in epochs]
    assert benchmark.epoch_num(100) == round(100 * 3264 / 1_281_167, 3)


@pytest.mark.parametrize(("reference", "step", "rate"), [
    ("resnet50:batch=4096", 313, 6.5), ("resnet50", 785, 10.5), ("resnet50:sgd", 1963, 6.0), ("resnet50:batch=65536", 645, 23.080977),
])
def test_learning_rates_of_recipes(reference, step, rate):
    assert closed(reference=reference).learning_rate(step) == pytest.approx(rate, rel=1e-6)


def test_the_first_references_schedule():
    """SGD at batch 1024: warm-up of int(5 N / B) steps, a tenth after int(30, 60, 80, 90 N / B); a boundary has the old rate."""
    benchmark = closed("optimizer.name=sgd", "optimizer.schedule=piecewise", "optimizer.base_learning_rate=0.512",
                       "optimizer.warmup_epochs=5", "data.batch_size=1024")
    rates = {3127: 0.255959, 6255: 0.512, 37534: 0.512, 37535: 0.0512, 75069: 0.00512, 112603: 5.12e-5}
    assert {step: benchmark.learning_rate(step) for step in rates} == pytest.approx(rates, rel=2e-6)
    logged = {entry.key: entry.value for entry in benchmark.hyperparameters()}
    assert logged["opt_learning_rate_decay_boundary_epochs"] == [30, 60, 80, 90] and "sgd_opt_end_learning_rate" not in logged
    with pytest.raises(UserError, match="'cosine'; resnet50 has 'polynomial' and 'piecewise'"):
        closed("optimizer.schedule=cosine")


def test_recipes_that_do_not_exist_are_refused():
    with pytest.raises(UserError, match="no recipe for batch 1000; there are: 408, 816, 1024"):
        load_config("resnet50:batch=1000")
    with pytest.raises(UserError, match="no variant 'lamb'"):
        load_config("resnet50:lamb")


@pytest.mark.slow
def test_describe_tells_the_facts_of_the_closed_benchmark(tmp_path):
    facts = describe(load_config("resnet50"), tmp_path, devices=8)
    assert facts["parameters"] == 25_557_032 and facts["parameter_tensors"] == 161
    assert facts["forward_flops_per_sample"] == 2 * 4_089_184_256
    assert facts["hyperparameters"]["model_bn_span"] == 408 and facts["gradient_accumulation_steps"] == 1
    assert facts["closed_division_violations"] == []


def test_weights_from_a_file_are_the_starting_point(data_dir, tmp_path):
    benchmark, mesh = build(data_dir)
    state = initial_state(benchmark, mesh)
    theirs = {name: np.full(array.shape, number, np.float32)
              for number, (name, array) in enumerate(to_torchvision(state.params, state.model_state).items())}
    np.savez(tmp_path / "weights.npz", **theirs)
    benchmark, _ = build(data_dir, "model.padding=symmetric", f"model.initial_weights={tmp_path}/weights.npz")
    started = benchmark.starting_point(state)
    ours = to_torchvision(started.params, started.model_state)
    assert {name: array.flat[0] for name, array in ours.items()} == {name: array.flat[0] for name, array in theirs.items()}
    with pytest.raises(UserError, match="no weights at"):
        build(data_dir, "model.padding=symmetric", "model.initial_weights=absent.npz")


@pytest.mark.parametrize(("override", "message"), [
    ("data.image_size=0", "image_size is 0, must be at least 1"), ("model.num_classes=0", "num_classes is 0, must be at least 1"),
    ("model.stage_sizes=()", "at least one stage"), ("model.stage_sizes=(0,1)", r"is \(0, 1\), must be at least 1"),
    ("data.crop_area=(0.9,0.1)", r"must be 2 numbers, the smaller one first"), ("data.mean=(0.5,)", "must be 3 numbers"),
    ("data.std=(0.0,0.5,0.5)", "must be above 0"), ("microbatch_per_device=-1", "must be at least 0"),
    ("model.initial_weights=some.npz", "padding is 'same', but .* need 'symmetric'"),
])
def test_values_out_of_bounds_are_one_line(override, message):
    with pytest.raises(UserError, match=message) as error:
        build(Path("absent"), override)
    assert "\n" not in str(error.value)


def test_a_part_of_the_data_set_is_no_closed_run():
    with pytest.raises(UserError, match="holds 80 training and 41 validation images, the closed division needs 80 and 50: complete"):
        check_samples(load_config("resnet50:tiny", [*SMALL, "division=closed", "data.expected.eval=50"]), 80, 41)
