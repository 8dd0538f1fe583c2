"""The CIFAR-10 benchmark, small: workers emulated and real, their batch-norm statistics, gradients, evaluation, plateaus."""

from pathlib import Path

import jax
import numpy as np
import pytest
from resident import Resident

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.plan.communication import collectives
from jax_mlperf.programs import state_target

SMALL = ("data.expected.train=104", "data.expected.eval=50", "model.width=4", "data.batch_size=4", "evaluation.batch_size=24",
         "optimizer.schedule=plateau", "optimizer.base_learning_rate=0.02", "rng_impl=threefry2x32")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("gratings")
    benchmarks.generate_data(load_config("cifar10:tiny", SMALL), folder)
    return folder


def built(data_dir, *, workers=1, devices=1):
    return Resident("cifar10:tiny", data_dir, *SMALL, f"data.workers={workers}", devices=devices)


@pytest.fixture(scope="module")
def four_emulated(data_dir):
    return built(data_dir, workers=4)


@pytest.fixture(scope="module")
def four_devices(data_dir):
    return built(data_dir, workers=4, devices=4)


@pytest.fixture(scope="module")
def one_worker(data_dir):
    return built(data_dir)


def last_batch_of_an_epoch(resident):
    """104 images over 4 workers in batches of 4: the seventh step has 2 images of each."""
    step = int(resident.benchmark.steps_per_epoch) - 1
    batch = next(resident.benchmark.train_batches(5, step))
    assert (batch["index"] < 0).sum() == 4 * 2
    return batch


def close(left, right):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5), left, right)


@pytest.mark.slow
def test_emulated_workers_do_what_devices_do(four_emulated, four_devices):
    results = []
    for resident in (four_emulated, four_devices):
        state, losses = resident.start(), []
        for batch in (next(resident.benchmark.train_batches(5, 0)), last_batch_of_an_epoch(resident)):
            state, metrics = resident.step(state, batch)
            losses.append(float(metrics["loss"]))
        results.append((losses, jax.device_get((state.params, state.model_state)), resident.evaluate(state),
                        [int(output["images"]) for output in resident.outputs(state)]))
    close(results[0][:2], results[1][:2])
    assert results[0][3] == results[1][3] and sum(results[0][3]) == 50, "each test image once"
    assert results[0][2]["accuracy"] == results[1][2]["accuracy"]
    assert results[0][2]["loss"] == pytest.approx(results[1][2]["loss"], rel=1e-4)


@pytest.mark.slow
def test_gradients_of_workers_are_averaged_with_equal_weights(four_emulated, one_worker):
    """Four workers' step is the mean of four single workers' steps on their rows; statistics stay theirs (a partial batch)."""
    batch = last_batch_of_an_epoch(four_emulated)
    together, _ = four_emulated.step(four_emulated.start(), batch)
    apart = []
    for worker in range(4):
        start = one_worker.start()
        apart.append(jax.device_get(one_worker.step(start, {"index": batch["index"][4 * worker:][:4]})[0]))
    close(jax.tree.map(lambda *leaves: np.mean(leaves, axis=0), *[state.params for state in apart]), together.params)
    close(jax.tree.map(lambda *leaves: np.concatenate(leaves), *[state.model_state for state in apart]), together.model_state)


@pytest.mark.slow
def test_workers_all_reduce_the_gradients_and_nothing_else(four_devices):
    (program,) = four_devices.programs.train.values()
    params = state_target(four_devices.benchmark, four_devices.mesh).params
    found = collectives(program)
    assert {(collective.kind, len(collective.group)) for collective in found} == {("all-reduce", 4)}
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(params))
    assert size - 200 <= sum(collective.bytes * collective.count for collective in found) <= size + 8, "statistics stay with the workers"


@pytest.mark.slow
def test_the_learning_rate_follows_the_plateau_rule(four_emulated):
    benchmark, state, rates = four_emulated.benchmark, four_emulated.start(), []
    for loss in (2.0, 1.5, 1.2, 1.195, 1.193, 1.0, 1.0, 1.0):
        rates.append(float(state.opt_state.plateau.learning_rate))
        state = benchmark.after_evaluation(state, {"loss": loss})
    assert rates == pytest.approx([0.02, 0.05, 0.08, 0.08, 0.08, 0.04, 0.04, 0.04])
    moved, _ = four_emulated.step(state, next(benchmark.train_batches(5, 0)))  # the new scalars fit the compiled program
    assert float(moved.opt_state.plateau.learning_rate) == pytest.approx(0.02)
    epochs = [benchmark.learning_rate(int(epoch * benchmark.steps_per_epoch)) for epoch in range(4)]
    assert epochs == pytest.approx([0.02, 0.05, 0.08, 0.08])


def create(*overrides, reference="cifar10", devices=1):
    return benchmarks.create(load_config(reference, overrides), Topology(devices), Path("absent"))


@pytest.mark.parametrize(("workers", "steps"), [(1, 391), (2, 196), (4, 98), (8, 49), (16, 25), (32, 13)])
def test_steps_per_epoch_of_task_1a(workers, steps):
    assert create(f"data.workers={workers}").steps_per_epoch == steps


def test_the_paper_recipe_divides_the_rate_twice():
    benchmark = create(reference="cifar10:paper")
    assert [benchmark.learning_rate(391 * epoch + 1) for epoch in (0, 81, 82, 122, 123)] == pytest.approx([0.1, 0.1, 0.01, 0.01, 0.001])
    assert benchmark.max_steps() == 164 * 391 and benchmark.quality.targets == {"accuracy": 91.25}


def test_workers_that_devices_cannot_hold_are_refused():
    with pytest.raises(UserError, match="config.data.workers is 3, but 2 devices need a multiple of 2: .* set --config.data.workers=2"):
        create("data.workers=3", devices=2)


@pytest.mark.parametrize(("override", "message"), [
    ("data.normalisation=imagenet", "is 'imagenet'; there are: mlbench, airbench"), ("data.flip=up", "is 'up'; there are: none, random"),
    ("optimizer.schedule=cosine", "is 'cosine'; there are: plateau, steps, polynomial"),
    ("optimizer.name=lars", "is 'lars'; cifar10 has 'sgd' and 'airbench'"), ("model.name=vgg", "is 'vgg'; cifar10 has 'resnet'"),
    ("model.depth=21", "depth"), ("data.workers=0", "must be at least 1"),
    ("model.width=0", "width is 0, must be at least 1"), ("model.widths=(4,8)", r"\(4, 8\), must be 3 numbers"),
    ("optimizer.milestones=(5,2)", r"milestones is \(5, 2\), must increase"), ("optimizer.momentum=1.5", "must be below 1"),
    ("optimizer.head_learning_rate=0.0", "must be above 0"), ("compute_dtype=int8", "is 'int8'; there are: float32"),
    ("microbatch_per_device=8", "leave it at 0"),
    ("data.expected.eval=0", "must be at least 1"), ("label_smoothing=-0.5", "must be at least 0"),
])
def test_mistakes_in_the_config_are_one_line(override, message):
    with pytest.raises(UserError, match=message) as error:
        create(override)
    assert "\n" not in str(error.value)


def test_generated_images_take_no_raw_dir():
    with pytest.raises(UserError, match="config.data.raw_dir is 'mine', but the images .* are generated: leave it empty"):
        create("data.raw_dir=mine", reference="cifar10:tiny")
