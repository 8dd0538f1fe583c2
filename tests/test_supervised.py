"""The training step against gradients written by hand: masks, accumulation, devices, sharded parameters."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_mlperf.benchmark import TrainState
from jax_mlperf.parallel.mesh import make_mesh, state_shardings
from jax_mlperf.prefetch import to_devices
from jax_mlperf.supervised import LossOutput, supervised_step

ROWS, FEATURES, OUTPUTS, RATE = 32, 16, 256, 0.5  # 16 x 256 parameters are enough to be sharded


def weighted_loss(params, model_state, batch, key, data):
    error = batch["x"] @ params["w"] - batch["y"]
    return LossOutput(jnp.sum(batch["weight"][:, None] * error**2), jnp.sum(batch["weight"]), model_state)


def make_batch(weight):
    rng = np.random.default_rng(1)
    return {"x": rng.standard_normal((ROWS, FEATURES), np.float32), "y": rng.standard_normal((ROWS, OUTPUTS), np.float32),
            "weight": np.asarray(weight, np.float32)}


# How many of the 8 devices' 4 rows count: all, some, or (uneven) only one device's and a single row of another.
MASKS = {
    "all": np.ones(ROWS),
    "some": np.arange(ROWS) % 3 > 0,
    "uneven": np.r_[np.ones(4), np.zeros(27), 1],
}


def by_hand(w, batch):
    """Loss, gradient norm and new parameters of one step of gradient descent, in float64."""
    x, y, weight = (np.asarray(batch[name], np.float64) for name in ("x", "y", "weight"))
    error = x @ w - y
    gradient = 2 * x.T @ (weight[:, None] * error) / weight.sum()
    return (weight[:, None] * error**2).sum() / weight.sum(), np.linalg.norm(gradient), w - RATE * gradient


def initial():
    return np.random.default_rng(0).standard_normal((FEATURES, OUTPUTS), np.float32) * 0.1


def state_of(params, optimizer, model_state=None, seed=3):
    return TrainState(jnp.int32(0), params, model_state or {}, optimizer.init(params),
                      jax.random.key_data(jax.random.key(seed, impl="threefry2x32")))


def compiled(mesh=None, accumulation_steps=1, loss=weighted_loss, model_state=None, optimizer=None):
    """A function of one batch: the first step from the initial state on."""
    optimizer = optimizer or optax.sgd(RATE)
    step = jax.jit(supervised_step(loss, optimizer, rng_impl="threefry2x32", accumulation_steps=accumulation_steps, mesh=mesh))
    state = state_of({"w": jnp.asarray(initial())}, optimizer, model_state)
    if mesh is None:
        return lambda batch: step(state, batch)
    placed = jax.tree.map(jax.device_put, state, state_shardings(mesh, state))
    return lambda batch: step(placed, to_devices(mesh, batch))


def run(batch, *arguments, **values):
    return compiled(*arguments, **values)(batch)


@pytest.mark.parametrize(("mesh", "accumulation_steps"), [(None, 1), (None, 4), ((8, 1), 1), ((8, 1), 2), ((2, 4), 1), ((1, 8), 4)])
def test_step_is_that_of_the_mean_over_the_global_weight(mesh, accumulation_steps):
    step = compiled(make_mesh(*mesh) if mesh else None, accumulation_steps)
    for mask in MASKS.values():
        batch = make_batch(mask)
        state, metrics = step(batch)
        loss, norm, params = by_hand(initial(), batch)
        np.testing.assert_allclose(metrics["loss"], loss, rtol=1e-5)
        np.testing.assert_allclose(metrics["gradient_norm"], norm, rtol=1e-5)
        np.testing.assert_allclose(state.params["w"], params, rtol=1e-4, atol=1e-5)
        assert int(state.step) == 1
        np.testing.assert_array_equal(state.rng, jax.random.key_data(jax.random.key(3)))


def test_masked_rows_do_not_count_whatever_they_hold():
    batch = make_batch(MASKS["some"])
    other = {**batch, "x": np.where(batch["weight"][:, None] > 0, batch["x"], 1e3).astype(np.float32)}
    step = compiled()
    np.testing.assert_array_equal(step(batch)[0].params["w"], step(other)[0].params["w"])


def test_a_batch_of_nothing_but_padding_changes_nothing():
    state, metrics = run(make_batch(np.zeros(ROWS)), make_mesh(8, 1))
    assert float(metrics["loss"]) == 0 and float(metrics["gradient_norm"]) == 0
    np.testing.assert_array_equal(state.params["w"], initial())


def test_microbatches_take_interleaved_rows_in_order_and_pass_the_model_state_on():
    def loss(params, model_state, batch, key, data):
        seen = jax.lax.dynamic_update_slice(model_state["seen"], batch["row"][None], (model_state["count"], 0))
        return LossOutput(jnp.sum(params["w"]) * 0, jnp.float32(1), {"seen": seen, "count": model_state["count"] + 1})

    state, _ = run({"row": jnp.arange(8)}, accumulation_steps=4, loss=loss,
                   model_state={"seen": jnp.zeros((4, 2), jnp.int32), "count": jnp.int32(0)})
    assert np.asarray(state.model_state["seen"]).tolist() == [[0, 4], [1, 5], [2, 6], [3, 7]]


def test_rows_that_do_not_divide_into_microbatches_are_refused():
    with pytest.raises(TypeError, match="reshape"):
        run(make_batch(MASKS["all"]), accumulation_steps=3)


def test_model_state_is_the_mean_over_the_devices():
    def loss(params, model_state, batch, key, data):
        return LossOutput(jnp.sum(params["w"]) * 0, jnp.float32(1), {"mean": jnp.mean(batch["row"])})

    rows = np.arange(16, dtype=np.float32) ** 2
    state, _ = run({"row": rows}, make_mesh(8, 1), loss=loss, model_state={"mean": jnp.float32(0)})
    np.testing.assert_allclose(state.model_state["mean"], rows.mean())


@pytest.mark.parametrize(("mesh", "distinct"), [(None, 4), ((8, 1), 32)])
def test_every_microbatch_of_every_device_has_its_own_random_numbers(mesh, distinct):
    def loss(params, model_state, batch, key, data):  # row i gets the number of its microbatch and device
        number = jax.random.uniform(key)
        return LossOutput(jnp.sum(params["w"] @ batch["one_hot"].T * number), jnp.float32(1), model_state)

    batch = {"one_hot": np.pad(np.eye(ROWS, dtype=np.float32), ((0, 0), (0, OUTPUTS - ROWS)))}
    state, _ = run(batch, make_mesh(*mesh) if mesh else None, 4, loss=loss)
    numbers = (initial() - np.asarray(state.params["w"]))[0, :ROWS]
    assert len(np.unique(numbers.round(6))) == distinct


def test_the_random_numbers_of_a_step_depend_on_seed_and_step_alone():
    def loss(params, model_state, batch, key, data):
        return LossOutput(jax.random.uniform(key) + jnp.sum(params["w"]) * 0, jnp.float32(1), model_state)

    optimizer = optax.sgd(0.0)
    step = jax.jit(supervised_step(loss, optimizer, rng_impl="threefry2x32"))
    state = state_of({"w": jnp.zeros(2)}, optimizer)
    losses = []
    for _ in range(3):
        state, metrics = step(state, {"x": jnp.zeros(2)})
        losses.append(float(metrics["loss"]))
    key = jax.random.key(3)
    assert losses == [float(jax.random.uniform(jax.random.fold_in(key, number))) for number in range(3)]
    assert len(set(losses)) == 3


@pytest.mark.parametrize("accumulation_steps", [1, 2])
def test_the_optimizer_gets_float32_although_the_model_computes_in_bfloat16(accumulation_steps):
    received = []

    def update(gradients, state, params):
        received.extend((leaf.dtype, leaf.shape) for leaf in jax.tree.leaves(gradients))
        return gradients, state

    def loss(params, model_state, batch, key, data):
        error = (batch["x"].astype(jnp.bfloat16) @ params["w"].astype(jnp.bfloat16)).astype(jnp.float32) - batch["y"]
        return LossOutput(jnp.sum(error**2), jnp.float32(len(error)), model_state)

    optimizer = optax.GradientTransformation(lambda params: optax.EmptyState(), update)
    state, metrics = run(make_batch(MASKS["all"]), make_mesh(8, 1), accumulation_steps, loss=loss, optimizer=optimizer)
    assert received == [(jnp.float32, (FEATURES, OUTPUTS))]
    assert state.params["w"].dtype == metrics["loss"].dtype == jnp.float32


def test_whole_numbers_of_the_model_state_stay_whole():
    def loss(params, model_state, batch, key, data):
        return LossOutput(jnp.sum(params["w"]) * 0, jnp.float32(1), {"count": model_state["count"] + 1})

    state, _ = run({"row": np.arange(8)}, make_mesh(8, 1), loss=loss, model_state={"count": jnp.int32(4)})
    assert state.model_state["count"].dtype == jnp.int32 and int(state.model_state["count"]) == 5


def test_a_scalar_of_the_batch_goes_to_every_microbatch():
    def loss(params, model_state, batch, key, data):
        return LossOutput(jnp.sum(batch["row"]) * batch["scale"], jnp.float32(batch["row"].size), model_state)

    _, metrics = run({"row": jnp.arange(8.0), "scale": jnp.float32(3)}, accumulation_steps=2, loss=loss)
    assert float(metrics["loss"]) == 3 * 28 / 8
