"""The linear classifier of n-grams and its naive Bayes weights, against loops."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.losses import softmax_cross_entropy
from jax_mlperf.models.ngram_classifier import NgramClassifier, log_count_ratios
from jax_mlperf.ops.ragged import Ragged

FEATURES = 8
SETS = [(0, 2, 5), (1, 2), (), (2, 5, 6), (0,)]
LABELS = np.array([0, 1, 0, 1, 0], np.uint8)


def flat():
    offsets = np.cumsum([0, *map(len, SETS)]).astype(np.int32)
    return jnp.asarray([token for review in SETS for token in review], jnp.uint32), jnp.asarray(offsets)


def test_log_count_ratios():
    tokens, offsets = flat()
    counts = np.zeros((2, FEATURES))
    for review, label in zip(SETS, LABELS, strict=True):
        counts[label, list(review)] += 1
    shares = (1 + counts) / (1 + counts).sum(axis=1, keepdims=True)
    expected = np.where(counts.sum(axis=0) > 0, np.log(shares[0] / shares[1]), 0)
    ratios = log_count_ratios(tokens, offsets, jnp.asarray(LABELS), FEATURES)
    np.testing.assert_allclose(ratios, expected, rtol=1e-5)
    assert ratios[0] > 0 > ratios[6] and ratios[7] == 0, "0 is of the first class only, 6 of the second, 7 of none"


def test_score_is_the_sum_of_weights_times_ratios():
    tokens, offsets = flat()
    model = NgramClassifier(FEATURES)
    reviews, ratios = Ragged(tokens, offsets[:-1], jnp.diff(offsets)), jnp.linspace(-1, 2, FEATURES)
    logits = model(reviews, ratios)
    assert not logits.any()
    loss, count = softmax_cross_entropy(logits, jnp.asarray(LABELS, jnp.int32), jnp.ones(len(SETS)))
    assert float(loss / count) == np.float32(np.log(2))
    weights = np.random.default_rng(0).normal(size=FEATURES).astype(np.float32)
    model.weights[...], model.bias[...] = jnp.asarray(weights), jnp.array([0.5])
    expected = [0.5 + sum(weights[token] * ratios[token] for token in review) for review in SETS]
    np.testing.assert_allclose(model(reviews, ratios), np.stack([expected, np.zeros(len(SETS))], axis=-1), rtol=1e-5)
    gradient = jax.grad(lambda ratios: model(reviews, ratios)[:, 0].sum())(ratios)
    np.testing.assert_allclose(gradient, weights * np.bincount(tokens, minlength=FEATURES), rtol=1e-5)
