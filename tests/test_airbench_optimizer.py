"""Muon, the routing of the airbench optimizer, and lookahead, against a re-implementation in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from jax_mlperf.airbench_optimizer import Rates, airbench_optimizer, part_labels
from jax_mlperf.config import load_config
from jax_mlperf.epoch_schedules import linear_to_zero, triangle
from jax_mlperf.lookahead import lookahead, lookahead_keep
from jax_mlperf.muon import muon

STEPS, STEM_STEPS = 8, 3
MUON_RATES = Rates(filters=0.24, norm_biases=0.053, stem_bias=0.053, head=0.67)


def tree(rng):
    def norms(size):
        return {"norm1": {"bias": rng.normal(size=size)}, "norm2": {"bias": rng.normal(size=size)}}

    return jax.tree.map(np.float32, {
        "stem_bias": rng.normal(size=24), "head": {"kernel": rng.normal(size=(5, 10))},
        "groups": {0: {"conv1": {"kernel": rng.normal(size=(3, 3, 4, 5))}, "conv2": {"kernel": rng.normal(size=(3, 3, 5, 5))},
                       **norms(5)},
                   1: {"conv1": {"kernel": rng.normal(size=(3, 3, 5, 5))}, **norms(5)}}})


def test_parts():
    labels = part_labels(tree(np.random.default_rng(0)))
    assert labels["stem_bias"] == "stem_bias" and labels["head"]["kernel"] == "head"
    assert labels["groups"][0] == {"conv1": {"kernel": "filters"}, "conv2": {"kernel": "filters"},
                                   "norm1": {"bias": "norm_biases"}, "norm2": {"bias": "norm_biases"}}


class NumpySgd:
    """PyTorch's SGD with Nesterov momentum and its weight decay added to the gradient."""

    def __init__(self, rate, decay, factor, momentum=0.85):
        self.rate, self.decay, self.factor, self.momentum, self.buffer, self.step = rate, decay, factor, momentum, 0.0, 0

    def __call__(self, param, gradient):
        gradient = gradient + self.decay / self.rate * param
        self.buffer = self.momentum * self.buffer + gradient
        param = param - self.rate * self.factor(self.step) * (gradient + self.momentum * self.buffer)
        self.step += 1
        return param


class NumpyMuon:
    """airbench94_muon.py on kernels [3, 3, in, out], one out x (9 in) matrix each."""

    def __init__(self, rate, factor, momentum=0.6):
        self.rate, self.factor, self.momentum, self.buffer, self.step = rate, factor, momentum, 0.0, 0

    def __call__(self, kernel, gradient):
        self.buffer = self.momentum * self.buffer + gradient
        x = (gradient + self.momentum * self.buffer).transpose(3, 2, 0, 1)
        shape = x.shape
        x = x.reshape(shape[0], -1)
        x = x / (np.linalg.norm(x) + 1e-7)
        for _ in range(3):
            a = x @ x.T
            x = 3.4445 * x + (-4.7750 * a + 2.0315 * a @ a) @ x
        direction = x.reshape(shape).transpose(2, 3, 1, 0)
        kernel = kernel * (kernel.shape[-1] ** 0.5 / np.linalg.norm(kernel))
        kernel = kernel - self.rate * self.factor(self.step) * direction
        self.step += 1
        return kernel


def compare(optimizer, rules, gradient_scale=1.0):
    rng = np.random.default_rng(0)
    params = tree(rng)
    expected = jax.tree.map(np.float64, params)
    labels = jax.tree.leaves(part_labels(params))
    rules = [rules[label]() for label in labels]
    state = optimizer.init(params)
    update = jax.jit(optimizer.update)
    stem = []
    for _ in range(STEPS):
        gradients = tree(rng)
        updates, state = update(gradients, state, params)
        params = optax.apply_updates(params, updates)
        leaves = zip(rules, jax.tree.leaves(expected), jax.tree.leaves(gradients), strict=True)
        expected = jax.tree.unflatten(jax.tree.structure(params), [
            rule(param, gradient_scale * gradient.astype(np.float64)) for rule, param, gradient in leaves])
        jax.tree.map(lambda found, wanted: np.testing.assert_allclose(found, wanted, rtol=1e-4, atol=2e-5), params, expected)
        stem.append(np.asarray(params["stem_bias"]))
    assert (stem[STEM_STEPS - 1] == stem[-1]).all() and (stem[STEM_STEPS - 2] != stem[STEM_STEPS - 1]).any()


def test_muon_recipe():
    decay = 2e-6 * 2000
    assert decay == pytest.approx(0.004)

    def factor(step):
        return 1 - step / STEPS

    optimizer = airbench_optimizer(
        MUON_RATES, schedule=linear_to_zero(STEPS), stem_bias_schedule=linear_to_zero(STEM_STEPS), stem_bias_steps=STEM_STEPS,
        decay=decay, filters=muon(lambda step: 0.24 * factor(step), dtype="float32"), gradient_scale=3.0)
    compare(optimizer, {
        "filters": lambda: NumpyMuon(0.24, factor), "head": lambda: NumpySgd(0.67, decay, factor),
        "norm_biases": lambda: NumpySgd(0.053, decay, factor),
        "stem_bias": lambda: NumpySgd(0.053, decay, lambda step: max(0, 1 - step / STEM_STEPS))}, gradient_scale=3.0)


def test_airbench94_recipe():
    config = load_config("cifar10:speedrun_sgd")
    recipe, decay = config.optimizer, config.optimizer.decay_per_sample * config.data.batch_size
    rates = Rates(recipe.filter_learning_rate, recipe.bias_learning_rate, recipe.stem_bias_learning_rate, recipe.head_learning_rate)
    assert rates.filters == rates.head == rates.stem_bias == pytest.approx(0.00146484, abs=1e-8)
    assert rates.norm_biases == pytest.approx(0.09375, abs=1e-5) and decay == pytest.approx(0.00199565, abs=1e-8)

    def factor(step):  # warm-up of int(0.23 * 8) = 1 step
        return 0.2 if step == 0 else 1 - 0.93 * (step - 1) / 7

    schedule = triangle(STEPS)
    optimizer = airbench_optimizer(rates, schedule=schedule, stem_bias_schedule=schedule, stem_bias_steps=STEM_STEPS,
                                   decay=decay)
    compare(optimizer, {
        "filters": lambda: NumpySgd(rates.filters, decay, factor), "head": lambda: NumpySgd(rates.head, decay, factor),
        "norm_biases": lambda: NumpySgd(rates.norm_biases, decay, factor),
        "stem_bias": lambda: NumpySgd(rates.stem_bias, decay, lambda step: factor(step) if step < STEM_STEPS else 0)})


def test_muon_in_bfloat16_is_near_float32():
    rng = np.random.default_rng(0)
    kernel, gradient = (rng.normal(size=(3, 3, 2, 4)).astype(np.float32) for _ in range(2))
    optimizer = muon(lambda step: 0.1)
    updates, state = jax.jit(optimizer.update)(gradient, optimizer.init(jnp.asarray(kernel)), kernel)
    wanted = NumpyMuon(0.1, lambda step: 1)(kernel, gradient) - kernel
    assert updates.dtype == state.momentum.dtype == jnp.float32
    assert 0 < np.abs(updates - wanted).max() < 0.005


def test_lookahead():
    np.testing.assert_allclose([lookahead_keep(step, 476) for step in (240, 475)], [0.09918, 0.76891], atol=1e-5)
    for total in (12, 10):  # the last step is no averaging one, and is one
        optimizer = optax.chain(optax.sgd(1.0), lookahead(total))
        params = jnp.asarray([4.0, -2.0])
        state, fast = optimizer.init(params), np.array([4.0, -2.0])
        average = fast.copy()
        for step in range(1, total + 1):
            gradient = np.array([0.3 * step, 1.0])
            updates, state = optimizer.update(jnp.asarray(gradient), state, params)
            params = optax.apply_updates(params, updates)
            fast = fast - gradient
            if step % 5 == 0:
                keep = 0.95**5 * (step / total) ** 3
                average = keep * average + (1 - keep) * fast
                fast = average.copy()
            if step == total:
                fast = average.copy()
            np.testing.assert_allclose(params, fast, rtol=1e-5)
