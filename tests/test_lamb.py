"""LAMB and AdamW of BERT's recipes: known values, an update in NumPy, and the same on sharded parameters."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_mlperf.lamb import adamw, lamb
from jax_mlperf.parallel.mesh import make_mesh, state_shardings

KERNEL, KERNEL_GRADIENTS = [[3.0, 0.0], [0.0, 4.0]], ([[0.1, -0.2], [0.05, 0.0]], [[-0.1, 0.1], [0.2, 0.3]])
BIAS, BIAS_GRADIENTS = [0.5, -0.5], ([0.1, -0.2], [0.3, 0.1])
START = {"kernel": jnp.array(KERNEL), "bias": jnp.array(BIAS)}
GRADIENTS = [{"kernel": jnp.array(kernel), "bias": jnp.array(bias)}
             for kernel, bias in zip(KERNEL_GRADIENTS, BIAS_GRADIENTS, strict=True)]


def path(optimizer, params, gradients):
    """The parameters after each of the updates."""
    @jax.jit
    def step(params, state, gradient):
        change, state = optimizer.update(gradient, state, params)
        return optax.apply_updates(params, change), state

    state, visited = optimizer.init(params), []
    for gradient in gradients:
        params, state = step(params, state, gradient)
        visited.append(params)
    return visited


def test_lamb_spec_points():
    first, second = path(lamb(lambda step: 0.01, 0.9, 0.999, 1e-6, 0.01, 0.0), START, GRADIENTS)
    np.testing.assert_allclose(first["kernel"].ravel(), [2.970571, 0.028572, -0.028571, 3.998857], atol=6e-7)
    np.testing.assert_allclose(second["kernel"].ravel(), [2.971514, 0.039511, -0.064924, 3.966615], atol=6e-7)
    # neither decay nor ratio; with a ratio they were [.495, -.495], [.488277, -.493049]
    np.testing.assert_allclose(first["bias"], [0.49, -0.49], atol=6e-7)
    np.testing.assert_allclose(second["bias"], [0.480822, -0.487337], atol=6e-7)


@pytest.mark.slow
def test_lamb_is_not_that_of_optax():
    """It has the ratio for biases too: the wrong values of the spec."""
    theirs = path(optax.lamb(0.01, 0.9, 0.999, 1e-6, weight_decay=0.0), {"bias": START["bias"]},
                  [{"bias": gradient["bias"]} for gradient in GRADIENTS])
    np.testing.assert_allclose([step["bias"] for step in theirs], [[0.495, -0.495], [0.488277, -0.493049]], atol=6e-7)


def in_numpy(params, gradients, rates, b1, b2, eps, weight_decay, clip_norm, ratio):
    """The updates in float64: name -> array."""
    params = {name: np.asarray(array, np.float64) for name, array in params.items()}
    m, v = ({name: np.zeros_like(array) for name, array in params.items()} for _ in range(2))
    for t, (gradient, rate) in enumerate(zip(gradients, rates, strict=True), 1):
        norm = np.sqrt(sum((np.asarray(g, np.float64) ** 2).sum() for g in gradient.values()))
        for name, w in params.items():
            g = np.asarray(gradient[name], np.float64) * (min(1.0, clip_norm / norm) if clip_norm else 1.0)
            m[name] = b1 * m[name] + (1 - b1) * g
            v[name] = b2 * v[name] + (1 - b2) * g**2
            u = m[name] / (1 - b1**t) / (np.sqrt(v[name] / (1 - b2**t)) + eps)
            trust = 1.0
            if w.ndim > 1:
                u += weight_decay * w
                size, length = np.linalg.norm(w), np.linalg.norm(u)
                trust = size / length if ratio and size and length else 1.0
            params[name] = w - rate * trust * u
    return params


RATES = [0.02 / (1 + step) for step in range(10)]
RNG = np.random.default_rng(0)
TREE = {"kernel": RNG.normal(size=(3, 4)), "table": np.zeros((5, 2)), "still": RNG.normal(size=(2, 2)),
        "bias": RNG.normal(size=4), "scale": np.ones(1)}
# every second one is clipped; a table of zeros has no ratio, and what never has a gradient only decays
PATH = [{name: 0.4 * (1 + step % 2) * RNG.normal(size=array.shape) * (name != "still") for name, array in TREE.items()}
        for step in range(10)]


@pytest.mark.parametrize("make, ratio, arguments", [
    (lamb, True, (0.9, 0.999, 1e-6, 0.01, 1.0)),
    *(pytest.param(*case, marks=pytest.mark.slow) for case in (
        (lamb, True, (0.60466, 0.85437, 1e-6, 0.1, 3.0)), (lamb, True, (0.0, 0.9, 1e-3, 0.0, 0.0)),
        (adamw, False, (0.9, 0.999, 1e-6, 0.1, 1.0)))),
])
def test_ten_updates_are_those_of_numpy(make, ratio, arguments):
    params, *gradients = jax.tree.map(lambda array: jnp.asarray(array, jnp.float32), [TREE, *PATH])
    optimizer = make(lambda step: jnp.asarray(RATES, jnp.float32)[step], *arguments)
    *_, last = path(optimizer, params, gradients)
    expected = in_numpy(TREE, PATH, RATES, *arguments, ratio)
    for name, array in expected.items():
        np.testing.assert_allclose(last[name], array, rtol=2e-5, atol=2e-6, err_msg=name)


def test_only_gradients_above_the_norm_are_clipped():
    """At eps 1 the size of a first gradient shows in the update: rate g / (|g| + 1)."""
    def moved(gradient, clip_norm):
        optimizer, params = adamw(lambda step: 1.0, 0.9, 0.999, 1.0, 0.0, clip_norm), {"b": jnp.zeros(2)}
        return optimizer.update({"b": gradient}, optimizer.init(params), params)[0]["b"]

    gradients = jnp.array([[3.0, -4.0], [0.3, -0.4], [0.0, 0.0], [np.inf, 1.0]])
    whole, clipped = jax.jit(lambda: [jax.vmap(partial(moved, clip_norm=norm))(gradients) for norm in (0.0, 1.0)])()
    np.testing.assert_allclose(whole[0], [-3 / 4, 4 / 5], rtol=1e-6)
    np.testing.assert_allclose(clipped[:2], [[-0.6 / 1.6, 0.8 / 1.8], [-0.3 / 1.3, 0.4 / 1.4]], rtol=1e-6)  # (0.6, -0.8) has norm 1
    assert clipped[2].tolist() == [0.0, 0.0]
    assert np.isnan(clipped[3]).any()  # is seen, not hidden


def test_the_state_is_float32_and_counts():
    state = lamb(lambda step: 1.0, 0.9, 0.999, 1e-6, 0.01, 1.0).init(START)
    assert state.updates_made.dtype == jnp.int32
    assert jax.tree.structure(state.mean) == jax.tree.structure(state.variance) == jax.tree.structure(START)
    assert all(leaf.dtype == jnp.float32 and not leaf.any() for leaf in jax.tree.leaves((state.mean, state.variance)))


@pytest.mark.slow
def test_sharded_parameters_move_as_whole_ones_do():
    rng = np.random.default_rng(1)
    params = {"kernel": rng.normal(size=(64, 128)), "odd": rng.normal(size=(3, 5)), "bias": rng.normal(size=8192)}
    params, *gradients = ({name: jnp.asarray(rng.normal(size=array.shape), jnp.float32) for name, array in params.items()}
                          for _ in range(3))
    optimizer = lamb(lambda step: 0.1, 0.9, 0.99, 1e-6, 0.1, 1.0)
    *_, alone = path(optimizer, params, gradients)
    shardings = state_shardings(make_mesh(1, 8), params)
    placed = [jax.device_put(tree, shardings) for tree in (params, *gradients)]
    assert placed[0]["kernel"].addressable_shards[0].data.shape == (64, 16)
    *_, spread = path(optimizer, placed[0], placed[1:])
    assert spread["kernel"].sharding.spec == shardings["kernel"].spec
    for name, array in alone.items():
        np.testing.assert_allclose(spread[name], array, rtol=1e-5, atol=1e-6, err_msg=name)
