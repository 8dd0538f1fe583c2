"""The open sentiment model: logistic regression on the set of a review's n-grams, weighted by naive Bayes.

Wang and Manning 2012 ("Baselines and Bigrams"), with a linear classifier trained by Adagrad.
"""

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.ops.ragged import Ragged, ragged_sum


class NgramClassifier(nnx.Module):
    """Sets of n-grams -> logits of two classes; at the start the classes are equally likely.

    Args:
      features: V, distinct n-grams (hash buckets).
    """

    def __init__(self, features: int) -> None:
        self.weights = nnx.Param(jnp.zeros(features))
        self.bias = nnx.Param(jnp.zeros(1))

    def __call__(self, reviews: Ragged, log_ratios: jax.Array) -> jax.Array:
        """Logits float32 [B, 2] from the features' `log_count_ratios` float32 [V] (ones: no naive Bayes)."""
        score = ragged_sum(self.weights[...] * log_ratios, reviews) + self.bias[...]
        return jnp.stack([score, jnp.zeros_like(score)], axis=-1)


def log_count_ratios(tokens: jax.Array, offsets: jax.Array, labels: jax.Array, features: int) -> jax.Array:
    """Naive Bayes's weight of each feature: ln((1 + n_0) / sum) - ln((1 + n_1) / sum), 0 for features that never occur.

    n_c counts the reviews of class c that have the feature, and the sum goes over all features.

    Args:
      tokens: the features of all reviews, one review after another, each feature once in a review; integers [T].
      offsets: int32 [n + 1], where the reviews begin.
      labels: [n], 0 or 1.
      features: V.

    Returns:
      float32 [V].
    """
    steps = jnp.diff(labels.astype(jnp.int32), prepend=0)
    is_second = jnp.cumsum(jnp.zeros(len(tokens), jnp.int32).at[offsets[:-1]].add(steps, mode="drop"))
    tokens = tokens.astype(jnp.int32)
    second = jnp.zeros(features, jnp.int32).at[tokens].add(is_second)
    first = jnp.zeros(features, jnp.int32).at[tokens].add(1 - is_second)
    logs = [jnp.log((1 + count) / (features + jnp.sum(count, dtype=jnp.float32))) for count in (first, second)]
    return jnp.where(first + second > 0, logs[0] - logs[1], 0.0)
