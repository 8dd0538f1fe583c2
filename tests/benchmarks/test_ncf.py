"""The NCF benchmark, small: examples, evaluation and steps against plain numpy; one device and eight."""

import dataclasses
import math
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from resident import Resident

from jax_mlperf import benchmarks
from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.ncf_data import settings
from jax_mlperf.benchmarks.ncf_sampling import training_pairs
from jax_mlperf.config import load_config
from jax_mlperf.data import movielens, records
from jax_mlperf.errors import UserError
from jax_mlperf.plan.communication import collectives

USERS, ITEMS, BATCH = 45, 64, 256
SMALL = (f"data.expected.users={USERS}", f"data.expected.items={ITEMS}", f"data.batch_size={BATCH}", "model.factors=4",
         "model.layers=(8,6,4)", "evaluation.negatives=30", "evaluation.batch_size=16")


def ratings():
    rng = np.random.default_rng(0)
    counts = np.r_[1, ITEMS - 1, rng.integers(2, 12, USERS - 2)]
    chosen = [rng.permutation(ITEMS)[:count + 1] for count in counts]
    items = np.concatenate([np.sort(row[1:]) for row in chosen]).astype(np.int32)
    return np.r_[0, np.cumsum(counts)], items, np.array([row[0] for row in chosen], np.int32)


def write_prepared(data_dir, offsets, items, test_items):
    folder = movielens.prepared_folder(data_dir, settings(load_config("ncf:tiny")))
    folder.mkdir(parents=True)
    for name, array in zip(("offsets", "items", "test_items"), (offsets, items, test_items), strict=True):
        np.save(folder / f"{name}.npy", array)
    fields = {field.name: 0 for field in dataclasses.fields(movielens.Meta)}
    records.write_meta(folder, fields | {"fingerprint": "mine", "users": len(test_items), "items": ITEMS, "train_ratings": len(items)})
    return data_dir


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return write_prepared(tmp_path_factory.mktemp("ncf"), *ratings())


def built(data_dir, *overrides, **mesh):
    return Resident("ncf:tiny", data_dir, *SMALL, *overrides, **mesh)


@pytest.fixture(scope="module")
def one(data_dir):
    return built(data_dir)


def last_batch(resident):
    return next(resident.benchmark.train_batches(5, resident.benchmark.steps_per_epoch - 1))


@pytest.fixture(scope="module")
def epochs(one, data_dir):
    """The pairs of two epochs, each an array [steps, 4, BATCH] of users, items, labels, weights: as eight devices make them."""
    eight = benchmarks.create(load_config("ncf:tiny", SMALL), Topology(8), data_dir)
    make = jax.jit(lambda batch, data: jnp.stack([leaf.astype(jnp.int32) for leaf in training_pairs(
        data, batch, rows=BATCH // 8, items=ITEMS, negatives=4)]))
    steps, batches = one.benchmark.steps_per_epoch, eight.train_batches(5, 0)
    return [np.stack([make(next(batches), one.data) for _ in range(steps)]) for _ in range(2)]


def test_an_epoch_is_every_rating_once_and_four_negatives_for_each(epochs):
    offsets, items, _ = ratings()
    rated = set(zip(np.repeat(np.arange(USERS), np.diff(offsets)).tolist(), items.tolist(), strict=True))
    orders = []
    for epoch in epochs:
        pairs = np.moveaxis(epoch, 1, 0).reshape(4, -1)
        assert pairs[3].tolist() == [1] * 5 * len(items) + [0] * (-5 * len(items) % BATCH), "only the end is padding"
        user, item, label = pairs[:3, :5 * len(items)]
        positive = list(zip(user[label == 1].tolist(), item[label == 1].tolist(), strict=True))
        assert len(positive) == len(rated) and set(positive) == rated
        np.testing.assert_array_equal(np.bincount(user[label == 0]), 4 * np.diff(offsets))
        assert rated.isdisjoint(zip(user[label == 0].tolist(), item[label == 0].tolist(), strict=True))
        assert item.min() >= 0 and item.max() < ITEMS
        orders.append((user, item))
    assert np.mean(orders[0][0] == orders[1][0]) < 0.5, "each epoch has an order of its own"


def test_test_items_may_be_training_negatives(epochs):
    """A rule that keeps them out tells the model which items to rank high."""
    user, item, _, weight = np.moveaxis(epochs[0], 1, 0).reshape(4, -1)
    assert np.any((item == ratings()[2][user]) & (weight == 1))


def test_batches_are_a_function_of_the_step_and_processes_have_their_devices_share(data_dir):
    config = load_config("ncf:tiny", SMALL)
    whole, *shares = (benchmarks.create(config, Topology(8, index, processes), data_dir) for index, processes in ((0, 1), (0, 2), (1, 2)))
    batches, step = whole.train_batches(5, 0), whole.steps_per_epoch + 2
    for _ in range(step + 1):
        batch = next(batches)
    assert (batch["epoch"], batch["seed"], batch["first"].tolist()) == (1, 5, list(range(2 * BATCH, 3 * BATCH, BATCH // 8)))
    resumed = [next(benchmark.train_batches(5, step)) for benchmark in shares]
    np.testing.assert_array_equal(np.concatenate([share["first"] for share in resumed]), batch["first"])
    users = [np.concatenate(list(batch["users"] for batch in benchmark.eval_batches())) for benchmark in (whole, *shares)]
    assert sorted(users[0][users[0] >= 0]) == sorted(np.concatenate(users[1:])[np.concatenate(users[1:]) >= 0]) == list(range(USERS))


def numpy_logits(params, user, item):
    """The model of numpy arrays, in float64."""
    params = jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), params)
    u, i = params["user_embedding"][user], params["item_embedding"][item]
    x = np.concatenate([u[:, 4:], i[:, 4:]], axis=1)
    for layer in params["layers"].values():
        x = np.maximum(x @ layer["kernel"] + layer["bias"], 0)
    return (np.concatenate([u[:, :4] * i[:, :4], x], axis=1) @ params["output"]["kernel"] + params["output"]["bias"])[:, 0]


def spread(state, seed=0):
    """The state with parameters of order 1, so that scores differ."""
    rng = np.random.default_rng(seed)
    params = jax.tree.map(lambda leaf: jax.device_put(rng.standard_normal(leaf.shape, np.float32), leaf.sharding), state.params)
    return dataclasses.replace(state, params=params)


def test_a_partial_batch_counts_its_pairs_and_no_others(one, epochs):
    """And one device makes the pairs that eight do."""
    state = spread(one.start())
    user, item, label, weight = epochs[0][-1]
    assert 0 < weight.sum() < BATCH
    logits = numpy_logits(state.params, user, item)
    losses = np.log1p(np.exp(-np.abs(logits))) + np.maximum(logits, 0) - label * logits
    _, metrics = one.step(state, last_batch(one))
    assert float(metrics["loss"]) == pytest.approx(losses[weight == 1].mean(), rel=1e-5)


def test_the_first_loss_and_adams_first_step(one, epochs):
    before = jax.device_get(one.start().params)
    after, metrics = one.step(one.start(), next(one.benchmark.train_batches(5, 0)))
    moved = np.abs(np.asarray(after.params["item_embedding"]) - before["item_embedding"])
    used = np.isin(np.arange(ITEMS), epochs[0][0, 1])
    assert moved[used].max() == pytest.approx(0.002, rel=1e-2) and moved[~used].sum() == 0
    logits = numpy_logits(before, *epochs[0][0, :2])
    assert float(metrics["loss"]) == pytest.approx(np.mean(np.log1p(np.exp(logits)) - epochs[0][0, 2] * logits), rel=1e-5)


def by_dict(params, candidates, test_items):
    """HR@10 and NDCG@10 as the reference's dictionaries give them, the positive last in a tie."""
    hits = gains = 0.0
    for user, positive in enumerate(test_items):
        items = sorted({*candidates[user].tolist(), positive})
        scores = dict(zip(items, numpy_logits(params, np.full(len(items), user), np.array(items)), strict=True))
        place = sorted(items, key=lambda item: (-scores[item], item == positive)).index(positive)
        hits += place < 10
        gains += math.log(2) / math.log(place + 2) if place < 10 else 0
    return hits / len(test_items), gains / len(test_items)


def test_evaluation_is_that_of_the_references_dictionaries(one):
    state, test_items = spread(one.start()), ratings()[2]
    candidates = np.asarray(one.data["candidates"])[:USERS]
    hit_rate, ndcg = by_dict(state.params, candidates, test_items)
    assert one.evaluate(state) == pytest.approx({"hit_rate": hit_rate, "ndcg": ndcg}, rel=1e-5) and 0.2 < hit_rate < 0.9
    assert [int(output["users"]) for output in one.outputs(state)] == [16, 16, 13]


def test_candidates_are_unrated_and_distinct_but_for_the_positive(one):
    offsets, items, test_items = ratings()
    for user, row in enumerate(np.asarray(one.data["candidates"])[:USERS]):
        assert np.isin(row, items[offsets[user]:offsets[user + 1]]).sum() == 0 and row.min() >= 0 and row.max() < ITEMS
        others, counts = np.unique(row[row != test_items[user]], return_counts=True)
        assert (counts == 1).all() and len(others) <= min(30, ITEMS - np.diff(offsets)[user] - 1)
    assert len(set(map(tuple, np.asarray(one.data["candidates"])[2:USERS].tolist()))) == USERS - 2


WIDE = ("model.factors=32", "model.layers=(96,6,4)")  # tables large enough to be sharded


@pytest.fixture(scope="module")
def wide(data_dir):
    return built(data_dir, *WIDE)


@pytest.mark.slow
@pytest.mark.parametrize("fsdp", [1, 4])
def test_eight_devices_do_what_one_does(wide, data_dir, fsdp):
    results = []
    for resident in (wide, built(data_dir, *WIDE, devices=8, fsdp=fsdp)):
        state, losses = spread(resident.start()), []
        for batch in (next(resident.benchmark.train_batches(5, 0)), last_batch(resident)):
            state, metrics = resident.step(state, batch)
            losses.append(float(metrics["loss"]))
        assert sum(int(output["users"]) for output in resident.outputs(state)) == USERS
        results.append((losses, jax.device_get(state.params), resident.evaluate(state)))
    assert results[0][2]["hit_rate"] == results[1][2]["hit_rate"]
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-3, atol=1e-4), results[0], results[1])
    sharded = "fsdp" in str(state.params["item_embedding"].sharding.spec)
    assert sharded == (fsdp > 1)


@pytest.mark.slow
def test_data_parallel_devices_all_reduce_gradients_and_two_sums(data_dir):
    eight = built(data_dir, devices=8)
    (program,) = eight.programs.train.values()
    found = collectives(program)
    assert {(collective.kind, len(collective.group)) for collective in found} == {("all-reduce", 8)}
    size = sum(leaf.size * 4 for leaf in jax.tree.leaves(eight.programs.state_target.params))
    assert sum(collective.bytes * collective.count for collective in found) == size + 8


@pytest.mark.slow
def test_lazy_adam_leaves_rows_alone(data_dir, epochs):
    lazy = built(data_dir, "optimizer.name=lazy_adam")
    batches, state = lazy.benchmark.train_batches(5, 0), lazy.start()
    state, _ = lazy.step(state, next(batches))
    between = np.array(state.params["user_embedding"])
    state, _ = lazy.step(state, next(batches))
    moved = np.any(np.asarray(state.params["user_embedding"]) != between, axis=1)
    np.testing.assert_array_equal(moved, np.isin(np.arange(USERS), epochs[0][1, 0]))


# What there is without data --------------------------------------------------------------------------------------


def create(*overrides, reference="ncf", devices=1, data_dir="/nowhere"):
    return benchmarks.create(load_config(reference, overrides), Topology(devices), Path(data_dir))


@pytest.mark.parametrize(("reference", "steps", "recipe"), [
    ("ncf:reference", 48_491, (2_048, 0.0005, 0.9, 0.999, 1e-8)),
    ("ncf:batch=98304", 1_011, (98_304, 0.003821, 0.783529, 0.909003, 1.45439e-7)),
    ("ncf", 95, (1_048_576, 0.0045, 0.25, 0.5, 1e-8)),
])
def test_sizes_and_recipes_of_the_benchmark(reference, steps, recipe):
    """ncf.md of the specification, sections 1 and 4."""
    benchmark = create(reference=reference)
    optimizer = benchmark.config.optimizer
    assert (benchmark.global_batch_size, benchmark.learning_rate(steps + 1), optimizer.beta_1, optimizer.beta_2,
            optimizer.epsilon) == recipe
    assert (benchmark.train_samples, benchmark.eval_samples, benchmark.steps_per_epoch) == (99_308_850, 138_493, steps)
    (spec,) = benchmark.batch_specs
    assert benchmark.forward_flops(spec) == 213_376 * benchmark.samples_in(spec) == 213_376 * benchmark.global_batch_size
    assert (benchmark.max_steps(), benchmark.next_eval_step(0), benchmark.epoch_num(3 * steps)) == (20 * steps, steps, 3)
    last = next(benchmark.train_batches(0, 20 * steps - 1))
    assert (last["epoch"], last["first"].tolist()) == (19, [(steps - 1) * benchmark.global_batch_size])


def test_what_the_log_says():
    benchmark = create()
    values = {entry.key: entry.value for entry in benchmark.hyperparameters()}
    assert values.items() >= {"opt_name": "adam", "opt_base_learning_rate": 0.0045, "opt_adam_beta_1": 0.25, "opt_adam_beta_2": 0.5,
                              "preproc_hp_min_ratings": 20, "eval_hp_num_neg": 999, "input_hp_num_neg": 4,
                              "input_size": 19_861_770}.items()
    assert values["model_hp_mlp_layer_sizes"] == [256, 256, 128, 64]
    assert benchmark.logged_quality({"hit_rate": 0.63512345, "ndcg": 0.4}) == 0.635123
    assert benchmark.quality.reached({"hit_rate": 0.635}) and not benchmark.quality.reached({"hit_rate": 0.6349})


@pytest.mark.parametrize(("override", "message"), [
    ("microbatch_per_device=8", "leave it at 0"), ("optimizer.name=sgd", "is 'sgd'; ncf has 'adam' and 'lazy_adam'"),
    ("optimizer.weight_decay=-0.1", "must be at least 0"), ("model.dropout_rate=1.0", "must be below 1"),
    ("model.layers=(255,8)", "the first one even"), ("model.first_layer=rows", "is 'rows'; there are: auto, pairs, tables"),
    ("optimizer.beta_2=1.0", "must be below 1"), ("data.negatives=0", "must be at least 1"), ("evaluation.negatives=0", "at least 1"),
    ("data.source=netflix", "is 'netflix'; there are: ml-20m"),
    ("data.expected.train=1223962043", r"an epoch has 6,119,810,215 pairs .* take fewer of them \(config.data.negatives\)"),
    ("data.batch_size=20", "config.data.batch_size of 20 does not divide over 8 devices; 16 or 24 would"),
    ("data.batch_size=8000000000", "config.data.batch_size is 8000000000, must be at most 2147483647"),
    ("optimizer.average_every_steps=8000000000", "must be at most 2147483647"), ("model.factors=8000000000", "at most 2147483647"),
    ("evaluation.every_epochs=0.01", "config.evaluation.every_epochs is 0.01, less than one of an epoch's 95 steps: .* 0.010527"),
])
def test_mistakes_in_the_config_are_one_line(override, message):
    with pytest.raises(UserError, match=message) as error:
        create(override, devices=8)
    assert "\n" not in str(error.value)


def test_the_closed_division_takes_the_whole_set_only(tmp_path):
    folder = movielens.prepared_folder(tmp_path, settings(load_config("ncf")))
    folder.mkdir(parents=True)
    fields = {field.name: 0 for field in dataclasses.fields(movielens.Meta)}
    records.write_meta(folder, fields | {"fingerprint": "part", "users": 138_492, "items": 26_744, "train_ratings": 19_861_770})
    with pytest.raises(UserError, match="holds 138,492 users, 26,744 items and 19,861,770 ratings .* closed division needs 138,493"):
        create(data_dir=tmp_path)
    assert create("division=open", data_dir=tmp_path).users == 138_492


def test_any_seed_that_jax_takes():
    first, same = (next(create().train_batches(seed, 0))["seed"] for seed in (7, 2**32 + 7))
    assert first == same == 7
    assert next(create().train_batches(2**31, 0))["seed"].dtype == np.int32


def test_a_user_without_negatives_is_refused(tmp_path):
    write_prepared(tmp_path, np.array([0, ITEMS]), np.arange(ITEMS, dtype=np.int32), np.array([0], np.int32))
    with pytest.raises(UserError, match="user 0 of .* has rated all 64 items"):
        create(reference="ncf:tiny", data_dir=tmp_path).host_data()
