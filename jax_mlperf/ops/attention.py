"""Multi-head attention over packed rows: cuDNN flash kernel where possible, else plain XLA."""

import inspect
from functools import partial
from typing import Literal

import jax
import jax.numpy as jnp

from jax_mlperf.ops.dropout import dropout, scaled_survivors, survivors_scale

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


def _probabilities(query: jax.Array, key: jax.Array, mask: jax.Array) -> jax.Array:
    """softmax(q k^T) [B, H, T, S] of scaled queries [B, H, T, D]: logits and softmax in float32, result in the inputs' dtype."""
    logits = jnp.einsum("bhtd,bhsd->bhts", query, key, preferred_element_type=jnp.float32)
    return jax.nn.softmax(jnp.where(mask, logits, MASKED_LOGIT), axis=-1).astype(query.dtype)


_Residuals = tuple[jax.Array, jax.Array, jax.Array, jax.Array, jax.Array]


def _forward(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array, dropout_key: jax.Array | None, rate: float
) -> tuple[jax.Array, _Residuals]:
    probabilities = _probabilities(query, key, mask)
    dropped = dropout(probabilities, rate, dropout_key)
    out = jnp.einsum("bhts,bhsd->bhtd", dropped, value)
    return out, (query, key, value, jnp.where(dropped > 0, probabilities, -probabilities), out)


def _backward(
    rate: float, residuals: _Residuals, gradient: jax.Array
) -> tuple[jax.Array, jax.Array, jax.Array, None, None]:
    """Of arrays [B, H, T, S] only the probabilities are kept, in the inputs' dtype, negative where dropped.

    Autodiff keeps them before and after dropout, and makes two of the products float32. The sum over keys of a
    query's probabilities times their gradients is out * gradient summed over D (Dao et al. 2022, appendix B.2).

    Where the mask hides a key its probability is 0, and so is its logit's gradient. A row with every key
    hidden is uniform; it is a padded query, whose gradient is 0 because its loss has weight 0.
    """
    query, key, value, signed, out = residuals
    # Else XLA keeps what is computed from them here, and their float32 values, from the forward pass on.
    signed = jax.lax.optimization_barrier(signed)
    dropped = jnp.where(signed > 0, scaled_survivors(signed, rate), jnp.zeros((), signed.dtype))
    gradient_value = jnp.einsum("bhts,bhtd->bhsd", dropped, gradient)
    gradient_dropped = jnp.einsum("bhtd,bhsd->bhts", gradient, value).astype(jnp.float32)
    wide = signed.astype(jnp.float32)
    sums = (out.astype(jnp.float32) * gradient.astype(jnp.float32)).sum(axis=-1, keepdims=True)
    gradient_logits = jnp.abs(wide) * (jnp.where(wide > 0, gradient_dropped * survivors_scale(rate), 0.0) - sums)
    gradient_logits = gradient_logits.astype(query.dtype)
    gradient_query = jnp.einsum("bhts,bhsd->bhtd", gradient_logits, key)
    return gradient_query, jnp.einsum("bhts,bhtd->bhsd", gradient_logits, query), gradient_value, None, None


@partial(jax.custom_vjp, nondiff_argnums=(5,))
def _attend(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array, dropout_key: jax.Array | None, rate: float
) -> jax.Array:
    return _forward(query, key, value, mask, dropout_key, rate)[0]


_attend.defvjp(_forward, _backward)


def _attention_xla(
    query: jax.Array,
    key: jax.Array,
    value: jax.Array,
    mask: jax.Array,
    rate: float,
    dropout_key: jax.Array | None,
) -> jax.Array:
    """Heads come before slots in all products: XLA's CPU products of the other order cost up to 1.5 times as much."""
    scaled = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    by_head = (array.swapaxes(1, 2) for array in (scaled, key, value))
    return _attend(*by_head, mask, dropout_key, 0.0 if dropout_key is None else rate).swapaxes(1, 2)


def _cudnn_fits(query: jax.Array, key: jax.Array) -> bool:
    """What jax.nn.dot_product_attention(implementation="cudnn") accepts with a mask, forward and backward."""
    even = query.shape[1] % 2 == 0 and key.shape[1] % 2 == 0
    head_dim = query.shape[-1]
    half = query.dtype in (jnp.bfloat16, jnp.float16)
    return jax.default_backend() == "gpu" and half and even and head_dim <= 128 and head_dim % 8 == 0


def _attention_cudnn_dropout(
    query: jax.Array, key: jax.Array, value: jax.Array, mask: jax.Array, rate: float, seed: int
) -> jax.Array:
    """cuDNN's kernel with dropout on the probabilities, through the function under jax.nn.dot_product_attention."""
    try:
        from jax._src.cudnn.fused_attention_stablehlo import MaskType, dot_product_attention

        known = inspect.signature(dot_product_attention).parameters
        if not {"mask", "scale", "mask_type", "seed", "dropout_rate"} <= known.keys():
            raise ImportError
    except ImportError as error:
        raise ValueError(
            f"cuDNN attention with dropout needs a private function that JAX {jax.__version__} has changed: use "
            "implementation='auto' or rate 0"
        ) from error
    return dot_product_attention(
        query, key, value, mask=mask, scale=query.shape[-1] ** -0.5, mask_type=MaskType.NO_MASK, seed=seed, dropout_rate=rate
    )


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
    cudnn_seed: int = 0,
    implementation: Implementation = "auto",
) -> jax.Array:
    """softmax(q k^T / sqrt(D)) v within segments (Vaswani et al. 2017, section 3.2.1).

    "auto" takes cuDNN on a GPU for 16-bit inputs without dropout, and XLA for all else: float32 softmax,
    probabilities kept once in the inputs' dtype for the backward pass, the dropout mask as their sign.

    cuDNN's dropout has to be asked for by name. Its seed is a constant of the compiled program, beside which XLA
    keeps an offset on the device that every execution advances (stream_executor/cuda/cuda_dnn.cc). So every
    step drops other elements; but calls of one seed in a step share them, a resumed run starts at offset 0
    again and is not the uninterrupted one, and a backward pass fits its forward pass only where both run
    equally often (not under jax.checkpoint). JAX's public `dot_product_attention` does not pass it on; the
    private function under it does.

    Args:
      query: [B, T, H, D]; the dtype of all three is the dtype of the two matrix products.
      key, value: [B, S, H, D].
      query_segmentation, key_segmentation: int [B, T] and [B, S], see `segment_mask`.
      causal: also hide later slots; T must equal S.
      dropout_rate, dropout_key: dropout on the probabilities, off when the key is None.
      cudnn_seed: takes the key's place under "cudnn"; different for every call in a step.
      implementation: "xla", "cudnn" or "auto".

    Returns:
      [B, T, H, D] in the inputs' dtype.

    Raises:
      ValueError: `causal` with T != S, or "cudnn" with dropout where this version of JAX has another private
        function.
    """
    if causal and query.shape[1] != key.shape[1]:
        raise ValueError(
            f"causal attention needs as many queries as keys, got {query.shape[1]} and {key.shape[1]}"
        )
    drops = dropout_key is not None and dropout_rate > 0.0
    mask = segment_mask(query_segmentation, key_segmentation, causal)
    if implementation == "cudnn" and drops:
        return _attention_cudnn_dropout(query, key, value, mask, dropout_rate, cudnn_seed)
    if implementation == "cudnn" or (implementation == "auto" and not drops and _cudnn_fits(query, key)):
        return jax.nn.dot_product_attention(query, key, value, mask=mask, implementation="cudnn")
    return _attention_xla(query, key, value, mask, dropout_rate, dropout_key)
