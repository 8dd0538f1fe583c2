"""The linear classifier of n-grams and its naive Bayes weights, against loops."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.losses import softmax_cross_entropy
from jax_mlperf.models.network import Network
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
    ratios = jax.jit(log_count_ratios, static_argnums=3)(tokens, offsets, LABELS, FEATURES)
    np.testing.assert_allclose(ratios, expected, rtol=1e-5)
    assert ratios[0] > 0 > ratios[6] and ratios[7] == 0, "0 is of the first class only, 6 of the second, 7 of none"


def test_score_is_the_sum_of_weights_times_ratios():
    tokens, offsets = map(np.asarray, flat())
    network = Network(lambda rngs: NgramClassifier(FEATURES))
    ratios = np.linspace(-1, 2, FEATURES, dtype=np.float32)

    @jax.jit
    def results(weights, bias):
        """Logits, and the gradient of the first class's in the weights."""
        def scores(weights):
            reviews = Ragged(*map(jnp.asarray, (tokens, offsets[:-1], np.diff(offsets))))
            logits = network.bound({"weights": weights, "bias": bias}, {})(reviews, ratios)
            return logits[:, 0].sum(), logits

        return jax.grad(scores, has_aux=True)(weights)

    start, _ = network.init(jax.random.key(0))
    _, logits = results(**start)
    assert not logits.any()
    loss, count = softmax_cross_entropy(logits, jnp.asarray(LABELS, jnp.int32), jnp.ones(len(SETS)))
    assert float(loss / count) == np.float32(np.log(2))
    weights = np.random.default_rng(0).normal(size=FEATURES).astype(np.float32)
    gradient, logits = results(weights, np.array([0.5], np.float32))
    expected = [0.5 + sum(weights[token] * ratios[token] for token in review) for review in SETS]
    np.testing.assert_allclose(logits, np.stack([expected, np.zeros(len(SETS))], axis=-1), rtol=1e-5)
    np.testing.assert_allclose(gradient, ratios * np.bincount(tokens, minlength=FEATURES), rtol=1e-5)
