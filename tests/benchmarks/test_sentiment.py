"""The sentiment benchmark, small: steps and accuracy on one device and on eight, the strict target, n-grams, refusals."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from resident import Resident

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.sentiment import _padded_to_the_longest
from jax_mlperf.config import load_config
from jax_mlperf.errors import UserError
from jax_mlperf.models.network import Network
from jax_mlperf.models.stacked_lstm import StackedLstm
from jax_mlperf.ops.ragged import Ragged
from jax_mlperf.plan.communication import collectives

SMALL = ("data.expected.train=104", "data.expected.eval=50", "model.embedding=6", "model.filters=5", "data.batch_size=16",
         "evaluation.batch_size=24", "rng_impl=threefry2x32")
NGRAMS = ("model.name=ngrams", "data.features=ngrams", "data.ngram_buckets_log2=12", "optimizer.name=adagrad")


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reviews")
    for overrides in (SMALL, (*SMALL, *NGRAMS)):
        benchmarks.generate_data(load_config("sentiment:tiny", overrides), folder)
    return folder


@pytest.fixture(scope="module")
def one_device(data_dir):
    return Resident("sentiment:tiny", data_dir, *SMALL)


@pytest.fixture(scope="module")
def eight_devices(data_dir):
    return Resident("sentiment:tiny", data_dir, *SMALL, devices=8)


def closed():
    return benchmarks.create(load_config("sentiment"), Topology(1), Path("absent"))


def test_the_closed_benchmark_needs_no_data_to_be_described():
    benchmark = closed()
    assert (benchmark.train_samples, benchmark.eval_samples, benchmark.steps_per_epoch) == (25_000, 25_000, 196)
    entries = {entry.key: entry.value for entry in benchmark.hyperparameters()}
    assert entries == {"opt_name": "lazy_adam", "opt_base_learning_rate": 5e-4, "opt_adam_beta_1": 0.9, "opt_adam_beta_2": 0.999,
                       "opt_adam_epsilon": 1e-8}
    assert benchmark.forward_flops(benchmark.batch_specs[0]) == pytest.approx(2 * 7 * 1024**2 * 5_148, rel=1e-3)


def test_the_target_must_be_passed():
    benchmark = closed()
    just, above = (benchmark.score([{"reviews": 25_000, "right": right, "loss": 0.0}]) for right in (22_650, 22_651))
    assert just["accuracy"] == 90.6 and not benchmark.quality.reached(just) and benchmark.quality.reached(above)
    assert benchmark.logged_quality(above) == 0.90604


def test_batches_are_a_pure_function_of_seed_and_step():
    benchmark = closed()
    batches = benchmark.train_batches(3, 194)
    indices = [next(batches)["index"] for _ in range(4)]
    assert [int((index >= 0).sum()) for index in indices] == [128, 40, 128, 128], "25,000 = 195 * 128 + 40"
    np.testing.assert_array_equal(next(benchmark.train_batches(3, 196))["index"], indices[2])
    assert (next(benchmark.train_batches(4, 196))["index"] != indices[2]).any()


@pytest.mark.slow
def test_one_device_equals_eight(one_device, eight_devices):
    (losses, state), (losses_of_eight, state_of_eight) = (built.after_steps(3, first=5) for built in (one_device, eight_devices))
    np.testing.assert_allclose(losses, losses_of_eight, rtol=1e-5)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5), state.params, state_of_eight.params)
    evaluations = [built.evaluate(built.start()) for built in (one_device, eight_devices)]
    assert evaluations[0]["accuracy"] == evaluations[1]["accuracy"] and evaluations[0]["loss"] == pytest.approx(evaluations[1]["loss"])
    assert losses[1] > 0.5, "the seventh step, of 8 reviews and 8 rows of padding, is a mean over 8"


@pytest.mark.slow
def test_only_the_gradients_are_reduced(eight_devices):
    (program,) = eight_devices.programs.train.values()
    found = collectives(program)
    assert {(collective.kind, len(collective.group)) for collective in found} == {("all-reduce", 8)}
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(eight_devices.programs.state_target.params))
    assert size - 8 <= sum(collective.bytes * collective.count for collective in found) <= size + 8


def test_evaluation_counts_every_review_once(one_device):
    state = one_device.start()
    outputs = one_device.outputs(state)
    assert [int(output["reviews"]) for output in outputs] == [24, 24, 2]
    logits_of = jax.jit(lambda params, data: one_device.benchmark._outputs(params, jnp.arange(50), data, "test"))
    logits, labels, _ = logits_of(state.params, one_device.data)
    right = int((np.argmax(logits, axis=1) == labels).sum())
    assert one_device.evaluate(state)["accuracy"] == 100 * right / 50


def test_words_that_a_batch_lacks_do_not_move(one_device):
    before = jax.device_get(one_device.start()).params["embedding"]
    batch = next(one_device.benchmark.train_batches(0, 0))
    state, _ = one_device.step(one_device.start(), batch)
    moved = np.abs(np.asarray(state.params["embedding"]) - before)
    train = one_device.benchmark.host_data()["train"]
    used = np.unique(np.concatenate([train["tokens"][train["offsets"][i]:train["offsets"][i + 1]] for i in batch["index"]]))
    assert not moved[np.setdiff1d(np.arange(len(moved)), used)].any() and len(used) < len(moved)
    assert np.median(moved[used]) == pytest.approx(2e-3, rel=0.05), "Adam's first step is the learning rate"


def test_ngrams_start_undecided_and_learn(data_dir):
    built = Resident("sentiment:tiny", data_dir, *SMALL, *NGRAMS, "optimizer.base_learning_rate=0.02")
    state = built.start()
    assert built.evaluate(state) == {"accuracy": 50.0, "loss": pytest.approx(np.log(2))}
    losses, _ = built.after_steps(14)
    assert losses[0] == pytest.approx(np.log(2)) and np.mean(losses[7:]) < 0.6 * losses[0]


def test_rows_for_the_lstm_are_as_long_as_the_longest_review():
    """The length that a batch is padded to, and rows of padding, change nothing."""
    rng = np.random.default_rng(0)
    network = Network(lambda rngs: StackedLstm(20, embedding=4, gates=16, layers=1, dtype=jnp.float32, rngs=rngs))
    params = jax.tree.map(lambda leaf: rng.normal(0, 0.5, leaf.shape).astype(np.float32),
                          jax.eval_shape(network.init, jax.random.key(0))[0])
    tokens = rng.integers(0, 20, 400).astype(np.uint16)

    @jax.jit
    def logits(params, lengths):
        reviews = Ragged(jnp.asarray(tokens), jnp.array([0, 90, 250]), lengths)
        return _padded_to_the_longest(network.bound(params, {}), reviews, longest=150)

    beside_a_long_one, alone = (logits(params, np.array(lengths)) for lengths in ([90, 150, 30], [90, 0, 30]))
    np.testing.assert_allclose(beside_a_long_one[::2], alone[::2], rtol=1e-5, atol=1e-6)
    unpadded = jax.jit(lambda params: network.bound(params, {})(jnp.asarray(tokens[None, :90]), jnp.array([90])))(params)
    np.testing.assert_allclose(alone[0], unpadded[0], rtol=1e-5, atol=1e-6)


def test_a_batch_that_does_not_divide_is_refused_before_there_are_devices():
    with pytest.raises(UserError, match="^config.data.batch_size of 128 does not divide over 3 devices; 126 or 129 would$"):
        benchmarks.create(load_config("sentiment"), Topology(3), Path("absent"))


@pytest.mark.parametrize(("overrides", "message"), [
    (["model.name=bert"], "config.model.name is 'bert'; sentiment has: conv, lstm, ngrams"),
    (["model.name=ngrams"], "reads 'ngrams': set --config.data.features=ngrams"),
    (["optimizer.name=sgd"], "config.optimizer.name is 'sgd'; there are: lazy_adam, adam, adagrad"),
    (["optimizer.beta_2=1.0"], "config.optimizer.beta_2 is 1.0, must be below 1"),
    (["data.batch_size=0"], "config.data.batch_size is 0, must be at least 1"),
    (["data.batch_size=8000000000"], "config.data.batch_size is 8000000000, must be at most 2147483647"),
    (["model.name=lstm", "model.gates=10"], "config.model does not make a model: gates must be a multiple of 4"),
])
def test_refusals(overrides, message):
    with pytest.raises(UserError) as error:
        benchmarks.create(load_config("sentiment:tiny", overrides), Topology(1), Path("absent"))
    assert message in str(error.value) and "\n" not in str(error.value)
