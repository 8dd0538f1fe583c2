"""Adam, lazy Adam and Adagrad against updates in NumPy; LARS and momentum SGD against known values."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_mlperf.optim import adagrad, adam, decay_mask, lars, lazy_adam, momentum_sgd


def test_adam_is_the_references_update():
    b1, b2, eps = 0.9, 0.98, 1e-9
    rng = np.random.default_rng(0)
    theta = rng.normal(size=7)
    params = jnp.asarray(theta, jnp.float32)
    optimizer = adam(lambda step: 0.01 * step, b1, b2)
    state = optimizer.init(params)
    m, v = np.zeros(7), np.zeros(7)
    for t in range(1, 6):
        gradient = rng.normal(size=7)
        updates, state = optimizer.update(jnp.asarray(gradient, jnp.float32), state, params)
        params = optax.apply_updates(params, updates)
        m, v = b1 * m + (1 - b1) * gradient, b2 * v + (1 - b2) * gradient**2
        rate = 0.01 * (t - 1)  # the counter before the update
        theta = theta - rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
        if t == 1:
            assert float(jnp.abs(updates).max()) == 0.0
    np.testing.assert_allclose(params, theta, rtol=1e-5)


def test_weight_decay_is_decoupled():
    params, gradient = {"w": jnp.array([2.0, -4.0])}, {"w": jnp.array([1.0, 1.0])}
    plain, decayed = (run(adam(lambda step: 0.01, 0.9, 0.999, 1e-8, decay), params, gradient)[0]["w"] for decay in (0.0, 0.1))
    np.testing.assert_allclose(decayed, plain - 0.01 * 0.1 * params["w"], rtol=1e-6)


def test_state_is_float32():
    state = adam(lambda step: 1e-3, 0.9, 0.98).init({"kernel": jnp.zeros((2, 3))})
    floats = [leaf for leaf in jax.tree.leaves(state) if jnp.issubdtype(leaf.dtype, jnp.floating)]
    assert len(floats) == 2 and all(leaf.dtype == jnp.float32 for leaf in floats)


def run(optimizer, params, gradient, updates=1):
    """The parameters after updates with the same gradient."""
    @jax.jit
    def step(params, state):
        change, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, change), state

    state, path = optimizer.init(params), []
    for _ in range(updates):
        params, state = step(params, state)
        path.append(params)
    return path


def falling(step):
    return jnp.where(step < 2, 1.0, 0.1)


START = {"kernel": jnp.array([[3.0, 4.0]]), "bias": jnp.array([3.0, 4.0])}


@pytest.mark.parametrize("gradient, decay, first, second", [
    ((0.6, 0.8), 1e-4, (2.97, 3.96), (2.9133, 3.8844)),
    ((0.8, -0.6), 0.1, (2.9633333, 4.0066667), (2.8938696, 4.0192964)),
])
def test_lars_spec_points(gradient, decay, first, second):
    gradients = {"kernel": jnp.array([gradient]), "bias": jnp.array([0.6, 0.8])}
    paths = run(lars(lambda step: 10.0, 0.9, decay), START, gradients, 2)
    np.testing.assert_allclose([path["kernel"][0] for path in paths], [first, second], rtol=2e-5)
    np.testing.assert_allclose(paths[0]["bias"], [-3, -4], rtol=1e-6)  # the skip list: plain momentum, no decay


def test_lars_is_not_that_of_optax():
    gradients = {"kernel": jnp.array([[0.8, -0.6]]), "bias": jnp.zeros(2)}
    (theirs,) = run(optax.lars(10.0, 0.1, momentum=0.9), START, gradients)
    np.testing.assert_allclose(theirs["kernel"][0], (2.9508066, 4.0089445), rtol=1e-6)
    (ours,) = run(lars(lambda step: 10.0, 0.9, 0.1), START, gradients)
    assert np.abs(ours["kernel"] - theirs["kernel"]).max() > 2e-3


def test_lars_where_a_norm_is_zero_has_trust_one():
    zeros, ones = {"kernel": jnp.zeros((1, 2))}, {"kernel": jnp.ones((1, 2))}
    np.testing.assert_array_equal(run(lars(lambda step: 0.5, 0.9, 0.1), zeros, ones)[0]["kernel"], [[-0.5, -0.5]])
    np.testing.assert_allclose(run(lars(lambda step: 0.5, 0.9, 0.1), ones, zeros)[0]["kernel"], [[0.95, 0.95]])


@pytest.mark.parametrize("optimizer, last", [
    (lars(falling, 0.9, 0.0), -6.439), (momentum_sgd(falling, 0.9, 0.0, decayed="all"), -3.5149)])
def test_lars_has_the_rate_inside_the_buffer_and_sgd_outside(optimizer, last):
    assert float(run(optimizer, jnp.zeros(()), jnp.ones(()), 4)[-1]) == pytest.approx(last, rel=1e-6)


def test_nesterov_is_optax_nesterov():
    rates = lambda step: 0.1 / (1.0 + step)  # noqa: E731
    ours = momentum_sgd(rates, 0.9, 0.0, decayed="all", nesterov=True)
    gradients = {"kernel": jnp.array([[1.0, 2.0]]), "bias": jnp.array([0.5, -1.0])}
    theirs = run(optax.sgd(rates, 0.9, nesterov=True), START, gradients, 3)[-1]
    jax.tree.map(np.testing.assert_allclose, run(ours, START, gradients, 3)[-1], theirs)


@pytest.mark.parametrize("decayed, expected", [("not_batch_norm", (True, True, False)), ("all", (True, True, True))])
def test_what_decays(decayed, expected):
    params = {"fc1": START, "bn0": {"scale": jnp.ones(2), "bias": jnp.ones(2)}}
    mask = decay_mask(params, decayed)
    assert (mask["fc1"]["kernel"], mask["fc1"]["bias"], mask["bn0"]["bias"]) == expected
    optimizer = momentum_sgd(lambda step: 1.0, 0.0, 0.25, decayed=decayed)
    after = run(optimizer, params, jax.tree.map(jnp.zeros_like, params))[0]
    jax.tree.map(lambda before, after, decays: np.testing.assert_allclose(after, before * (0.75 if decays else 1.0)),
                 params, after, mask)


def test_unknown_rule_of_decay():
    with pytest.raises(ValueError, match="decayed 'none' is unknown; there are: not_batch_norm, not_biases, not_biases_nor_offsets, all"):
        decay_mask(START, "none")


def test_lazy_adam_leaves_unused_rows_of_tables_alone():
    b1, b2, eps, rate = 0.9, 0.999, 1e-4, 0.01
    rng = np.random.default_rng(1)
    gradients = rng.normal(size=(4, 3, 2))
    gradients[1, 0] = gradients[2, 0] = gradients[:, 2] = 0  # row 0 rests twice, row 2 always
    params = {"table": jnp.ones((3, 2)), "kernel": jnp.ones((3, 2))}
    optimizer = lazy_adam(lambda step: rate, b1, b2, eps, tables=("table",))
    state = optimizer.init(params)
    expected = {name: np.ones((3, 2)) for name in params}
    moments = {name: np.zeros((2, 3, 2)) for name in params}
    for t, gradient in enumerate(gradients, 1):
        updates, state = optimizer.update({name: jnp.asarray(gradient, jnp.float32) for name in params}, state, params)
        params = optax.apply_updates(params, updates)
        for name in params:
            for row in range(3) if name == "kernel" else np.flatnonzero(gradient.any(axis=1)):
                m, v = moments[name][:, row]
                m[:], v[:] = b1 * m + (1 - b1) * gradient[row], b2 * v + (1 - b2) * gradient[row] ** 2
                expected[name][row] -= rate * np.sqrt(1 - b2**t) / (1 - b1**t) * m / (np.sqrt(v) + eps)
    for name in params:
        np.testing.assert_allclose(params[name], expected[name], rtol=1e-5)
    assert (params["table"][2] == 1).all() and (params["table"][0] != params["kernel"][0]).all()


def test_adagrad_has_no_epsilon():
    path = run(adagrad(lambda step: 0.1), {"w": jnp.array([1.0, 1.0])}, {"w": jnp.array([1e-15, 0.0])}, updates=2)
    np.testing.assert_allclose(path[-1]["w"], [1 - 0.1 - 0.1 / np.sqrt(2), 1.0], rtol=1e-6)
