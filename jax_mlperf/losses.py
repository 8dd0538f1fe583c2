"""Training losses as sums with their weights, so that a mean over a sharded batch is exact."""

import math
from functools import partial

import jax
import jax.numpy as jnp


def smoothing_constant(vocab_size: int, smoothing: float) -> float:
    """Entropy in nats of the smoothed target distribution, the least value of the smoothed loss.

    C = -[(1 - e) ln(1 - e) + (V - 1) low ln(low + 1e-20)] with low = e / (V - 1), as utils/metrics.py
    of the reference (`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`); its 1e-20
    keeps smoothing 0 finite.
    """
    confidence = 1.0 - smoothing
    low = smoothing / (vocab_size - 1)
    return -(confidence * math.log(confidence) + (vocab_size - 1) * low * math.log(low + 1e-20))


def _expected_logit(logits: jax.Array, targets: jax.Array, smoothing: float) -> jax.Array:
    """Mean of the logits under the smoothed target distribution: [..., V] and [...] -> [...]."""
    low = smoothing / (logits.shape[-1] - 1)
    at_target = jnp.take_along_axis(logits, targets[..., None], axis=-1)[..., 0]
    return low * logits.sum(axis=-1) + (1.0 - smoothing - low) * at_target


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _cross_entropy(logits: jax.Array, targets: jax.Array, smoothing: float) -> jax.Array:
    """-sum_v q_v log softmax(logits)_v = logsumexp(logits) - sum_v q_v logits_v, per position [...]."""
    return jax.nn.logsumexp(logits, axis=-1) - _expected_logit(logits, targets, smoothing)


def _cross_entropy_forward(
    logits: jax.Array, targets: jax.Array, smoothing: float
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    normaliser = jax.nn.logsumexp(logits, axis=-1)
    return normaliser - _expected_logit(logits, targets, smoothing), (logits, targets, normaliser)


def _cross_entropy_backward(
    smoothing: float, residuals: tuple[jax.Array, jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, None]:
    logits, targets, normaliser = residuals
    low = smoothing / (logits.shape[-1] - 1)
    is_target = jnp.arange(logits.shape[-1]) == targets[..., None]
    difference = jnp.exp(logits - normaliser[..., None]) - jnp.where(is_target, 1.0 - smoothing, low)
    return difference * gradient[..., None], None


_cross_entropy.defvjp(_cross_entropy_forward, _cross_entropy_backward)


def smoothed_cross_entropy(
    logits: jax.Array, targets: jax.Array, weights: jax.Array, smoothing: float
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy against 1 - smoothing at the target and smoothing / (V - 1) elsewhere, minus its minimum.

    The gradient softmax - q is written out and recomputed from the logits, so that one float32 [..., V] array
    is kept for the backward pass.

    Args:
      logits: float32 [..., V].
      targets: int [...], in [0, V).
      weights: float or bool [...]; 0 leaves a position out (padding).
      smoothing: in [0, 1); 0.1 in the benchmark.

    Returns:
      (sum of weighted losses in nats, sum of weights), float32 scalars. Their quotient, both summed over all
      devices, is the benchmark's loss.
    """
    weights = weights.astype(jnp.float32)
    losses = _cross_entropy(logits, targets, smoothing) - smoothing_constant(logits.shape[-1], smoothing)
    return jnp.sum(losses * weights), jnp.sum(weights)


def softmax_cross_entropy(
    logits: jax.Array, labels: jax.Array, weights: jax.Array, smoothing: float = 0.0
) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of a classifier, with the label smoothing that spreads over all K classes (Szegedy et al. 2016).

    The target distribution has 1 - smoothing + smoothing / K at the label and smoothing / K elsewhere, as in MLPerf's
    ResNet, where `smoothed_cross_entropy` spreads over the K - 1 others; its minimum is not taken off.

    Args:
      logits: float32 [..., K].
      labels: int [...], in [0, K); where the weight is 0, -1 will do too.
      weights: float or bool [...]; 0 leaves an example out (padding).
      smoothing: in [0, 1); 0 or 0.1 in the benchmark.

    Returns:
      (sum of weighted losses in nats, sum of weights), float32 scalars.
    """
    classes = logits.shape[-1]
    weights = weights.astype(jnp.float32)
    losses = _cross_entropy(logits, labels, smoothing * (classes - 1) / classes)
    return jnp.sum(losses * weights), jnp.sum(weights)


def sigmoid_cross_entropy(logits: jax.Array, labels: jax.Array, weights: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Cross-entropy of yes-no questions: -ln sigmoid(logit) where the label is 1, -ln(1 - sigmoid(logit)) where it is 0.

    Args:
      logits: float32 [...].
      labels: bool or number [...], 0 or 1.
      weights: float or bool [...]; 0 leaves an example out (padding).

    Returns:
      (sum of weighted losses in nats, sum of weights), float32 scalars.
    """
    weights = weights.astype(jnp.float32)
    losses = jax.nn.softplus(logits) - labels.astype(jnp.float32) * logits
    return jnp.sum(losses * weights), jnp.sum(weights)
