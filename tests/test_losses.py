"""The smoothed cross-entropy against known values and against its definition in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.losses import sigmoid_cross_entropy, smoothed_cross_entropy, smoothing_constant, softmax_cross_entropy

LOGITS = jnp.array([2.0, 1.0, 0.0, -1.0])


def by_definition(logits: np.ndarray, targets: np.ndarray, smoothing: float) -> np.ndarray:
    vocab = logits.shape[-1]
    low = smoothing / (vocab - 1)
    q = np.where(np.arange(vocab) == targets[..., None], 1 - smoothing, low)
    log_p = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    return -(q * log_p).sum(-1) + (q * np.log(q + 1e-20)).sum(-1)


@pytest.mark.parametrize(
    ("vocab", "constant"),
    [(4, 0.434944), (8192, 1.226162), (32000, 1.362429), (33708, 1.367629), (33712, 1.367641)],
)
def test_constant(vocab, constant):
    assert smoothing_constant(vocab, 0.1) == pytest.approx(constant, abs=1e-6)


@pytest.mark.parametrize(("target", "loss"), enumerate([0.205245, 1.071912, 1.938579, 2.805245]))
def test_spec_points(target, loss):
    total, weight = smoothed_cross_entropy(LOGITS[None], jnp.array([target]), jnp.ones(1), 0.1)
    assert float(total) == pytest.approx(loss, abs=1e-6)
    assert float(weight) == 1.0


@pytest.mark.parametrize(("vocab", "loss"), [(33708, 9.057861), (4, 0.951350)])
def test_uniform_logits(vocab, loss):
    total, _ = smoothed_cross_entropy(jnp.zeros((1, vocab)), jnp.array([2]), jnp.ones(1), 0.1)
    assert float(total) == pytest.approx(loss, abs=2e-6)


def test_smoothing_zero_is_plain_cross_entropy():
    total, _ = smoothed_cross_entropy(LOGITS[None], jnp.array([1]), jnp.ones(1), 0.0)
    assert float(total) == pytest.approx(-float(jax.nn.log_softmax(LOGITS)[1]), abs=1e-6)


def test_minimum_is_zero_at_the_smoothed_targets():
    q = jnp.array([0.9, 0.1 / 3, 0.1 / 3, 0.1 / 3])
    total, _ = smoothed_cross_entropy(jnp.log(q)[None], jnp.array([0]), jnp.ones(1), 0.1)
    assert float(total) == pytest.approx(0.0, abs=1e-6)


def test_sums_weights_and_gradient_against_the_definition():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(3, 5, 11)) * 3
    targets = rng.integers(0, 11, (3, 5))
    weights = rng.integers(0, 3, (3, 5)).astype(float)

    def mean_loss(logits):
        total, weight = smoothed_cross_entropy(logits, jnp.asarray(targets), jnp.asarray(weights), 0.1)
        return total / weight

    expected = (by_definition(logits, targets, 0.1) * weights).sum() / weights.sum()
    value, gradient = jax.value_and_grad(mean_loss)(jnp.asarray(logits, jnp.float32))
    assert float(value) == pytest.approx(expected, rel=1e-5)
    softmax = np.exp(logits) / np.exp(logits).sum(-1, keepdims=True)
    q = np.where(np.arange(11) == targets[..., None], 0.9, 0.1 / 10)
    np.testing.assert_allclose(gradient, (softmax - q) * weights[..., None] / weights.sum(), atol=1e-6)


def test_padding_changes_nothing_and_large_logits_stay_finite():
    logits = jnp.array([[[1e4, -1e4, 3.0], [0.0, 1.0, 2.0]]])
    total, weight = smoothed_cross_entropy(logits, jnp.array([[0, 0]]), jnp.array([[1.0, 0.0]]), 0.1)
    alone, _ = smoothed_cross_entropy(logits[:, :1], jnp.array([[0]]), jnp.ones((1, 1)), 0.1)
    assert float(total) == float(alone) and np.isfinite(total) and float(weight) == 1.0


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_uniform_logits_of_a_classifier(smoothing):
    total, weight = softmax_cross_entropy(jnp.zeros((2, 1000)), jnp.array([3, -1]), jnp.array([1.0, 0.0]), smoothing)
    assert float(total) == pytest.approx(6.907755, abs=1e-5) and float(weight) == 1.0


@pytest.mark.parametrize("smoothing, loss", [(0.0, 0.0443561), (0.1, 1.0433561)])
def test_classifier_spec_points(smoothing, loss):
    logits = jnp.zeros((1, 1000)).at[0, 7].set(10.0)
    total, _ = softmax_cross_entropy(logits, jnp.array([7]), jnp.ones(1), smoothing)
    assert float(total) == pytest.approx(loss, abs=2e-6)


def test_least_smoothed_loss_of_a_classifier():
    """At the smoothed target itself, where the gradient is zero."""
    target = jnp.full((1, 1000), 0.1 / 1000).at[0, 7].add(0.9)

    def loss(logits):
        return softmax_cross_entropy(logits, jnp.array([7]), jnp.ones(1), 0.1)[0]

    value, gradient = jax.value_and_grad(loss)(jnp.log(target))
    assert float(value) == pytest.approx(1.0148480, abs=2e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-6)


def test_constant_answers_to_yes_no_questions():
    """One positive among four negatives: ln 2 without knowledge, and the entropy of 0.2 for the constant answer 0.2."""
    labels = np.array([1, 0, 0, 0, 0, 1])
    weights = np.array([1, 1, 1, 1, 1, 0])
    for logit, expected in ((0.0, 0.693147), (np.log(0.25), 0.500402)):
        total, weight = sigmoid_cross_entropy(jnp.full(6, logit, jnp.float32), labels, weights)
        assert float(total / weight) == pytest.approx(expected, abs=1e-6) and float(weight) == 5


def test_sigmoid_cross_entropy_and_its_gradient_at_large_logits():
    logits = jnp.array([-200.0, -2.0, 0.0, 2.0, 200.0])
    for label in (0, 1):
        def loss(logits, label=label):
            return sigmoid_cross_entropy(logits, jnp.full(5, label), jnp.ones(5))[0]

        value, gradient = jax.value_and_grad(loss)(logits)
        assert float(value) == pytest.approx(200 + np.log1p(np.exp(-2)) * 2 + 2 + np.log(2), rel=1e-6)
        np.testing.assert_allclose(gradient, 1 / (1 + np.exp(-np.asarray(logits, np.float64))) - label, atol=1e-6)
