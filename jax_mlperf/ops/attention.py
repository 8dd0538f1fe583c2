"""Multi-head attention over packed rows: cuDNN flash kernel where possible, else plain XLA."""

from typing import Literal

import jax
import jax.numpy as jnp

from jax_mlperf.ops.dropout import dropout

Implementation = Literal["auto", "xla", "cudnn"]

# The mask bias of the reference's model/*.py
# (`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`); finite, so that a fully masked
# row has no NaN.
MASKED_LOGIT = -1e9


def segment_mask(query_segmentation: jax.Array, key_segmentation: jax.Array, causal: bool) -> jax.Array:
    """Which key each query may see: same segment and, if causal, not a later slot of the row.

    Args:
      query_segmentation: int [B, T], 0 = padding.
      key_segmentation: int [B, S].
      causal: slots of queries and keys are the same row (T == S); segments are contiguous, so slot order is
        position order inside every segment.

    Returns:
      bool [B, 1, T, S]. A padding query sees padding keys only; its output means nothing.
    """
    mask = query_segmentation[:, :, None] == key_segmentation[:, None, :]
    if causal:
        length = query_segmentation.shape[1]
        mask &= jnp.arange(length)[:, None] >= jnp.arange(length)[None, :]
    return mask[:, None]


@jax.custom_vjp
def _probabilities(query: jax.Array, key: jax.Array, mask: jax.Array) -> jax.Array:
    """softmax(q k^T) [B, H, T, S]: logits and softmax in float32, result in the inputs' dtype."""
    logits = jnp.einsum("bthd,bshd->bhts", query, key, preferred_element_type=jnp.float32)
    return jax.nn.softmax(jnp.where(mask, logits, MASKED_LOGIT), axis=-1).astype(query.dtype)


def _probabilities_forward(
    query: jax.Array, key: jax.Array, mask: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array, jax.Array]]:
    probabilities = _probabilities(query, key, mask)
    return probabilities, (query, key, probabilities)


def _probabilities_backward(
    residuals: tuple[jax.Array, jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array, None]:
    """Saves one array, not two, and keeps both products in the inputs' dtype, where autodiff makes them
    float32.

    Where the mask hides a key its probability is 0, and so is its logit's gradient. A row with every key
    hidden is uniform; it is a padded query, whose gradient is 0 because its loss has weight 0.
    """
    query, key, probabilities = residuals
    weighted = probabilities.astype(jnp.float32) * gradient.astype(jnp.float32)
    gradient_logits = weighted - probabilities.astype(jnp.float32) * weighted.sum(axis=-1, keepdims=True)
    gradient_logits = gradient_logits.astype(query.dtype)
    gradient_query = jnp.einsum("bhts,bshd->bthd", gradient_logits, key)
    return gradient_query, jnp.einsum("bhts,bthd->bshd", gradient_logits, query), None


_probabilities.defvjp(_probabilities_forward, _probabilities_backward)


def _attention_xla(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    rate: float,
    dropout_key: jax.Array | None,
) -> jax.Array:
    scaled = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    probabilities = dropout(_probabilities(scaled, key, mask), rate, dropout_key)
    return jnp.einsum("bhts,bshd->bthd", probabilities, value)


def _cudnn_fits(query: jax.Array, key: jax.Array) -> bool:
    """What jax.nn.dot_product_attention(implementation="cudnn") accepts with a mask, forward and backward."""
    even = query.shape[1] % 2 == 0 and key.shape[1] % 2 == 0
    head_dim = query.shape[-1]
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    return jax.default_backend() == "gpu" and half and even and head_dim <= 128 and head_dim % 8 == 0


def attention(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    *,
    query_segmentation: jax.Array,
    key_segmentation: jax.Array,
    causal: bool = False,
    dropout_rate: float = 0.0,
    dropout_key: jax.Array | None = None,
    implementation: Implementation = "auto",
) -> jax.Array:
    """softmax(q k^T / sqrt(D)) v within segments (Vaswani et al. 2017, section 3.2.1).

    "auto" takes cuDNN on a GPU for 16-bit inputs without dropout, and XLA for all else. JAX's public
    `dot_product_attention` has no dropout argument; the private function under it has one, but with a seed
    that is a constant of the compiled program, so every step would drop the same elements. The closed
    division fixes attention dropout at 0.1, hence trains on the XLA path: float32 softmax, probabilities kept
    once in the inputs' dtype for the backward pass, dropout mask recomputed there.

    Args:
      query: [B, T, H, D]; the dtype of all three is the dtype of the two matrix products.
      key, value: [B, S, H, D].
      query_segmentation, key_segmentation: int [B, T] and [B, S], see `segment_mask`.
      causal: also hide later slots; T must equal S.
      dropout_rate, dropout_key: dropout on the probabilities, off when the key is None.
      implementation: "xla", "cudnn" or "auto".

    Returns:
      [B, T, H, D] in the inputs' dtype.

    Raises:
      ValueError: "cudnn" was asked for together with dropout, or `causal` with T != S.
    """
    if causal and query.shape[1] != key.shape[1]:
        raise ValueError(
            f"causal attention needs as many queries as keys, got {query.shape[1]} and {key.shape[1]}"
        )
    drops = dropout_key is not None and dropout_rate > 0.0
    if implementation == "cudnn" and drops:
        raise ValueError(
            "cuDNN attention has no dropout in JAX's public API: use implementation='xla' or rate 0"
        )
    mask = segment_mask(query_segmentation, key_segmentation, causal)
    if implementation == "cudnn" or (implementation == "auto" and not drops and _cudnn_fits(query, key)):
        return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation="cudnn")
    return _attention_xla(query, key, value, mask, dropout_rate, dropout_key)
