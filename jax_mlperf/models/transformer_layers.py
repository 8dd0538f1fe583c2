"""The layers of the Transformer: attention, feed-forward network, layer norm, encoder and decoder layer.

Parameters are float32 and cast to the compute dtype where they are used. `rngs` is given for training
(dropout on) and None for evaluation. Shapes: B rows, T target slots, S source slots, d model dimension, H
heads, D = d / H.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.ops.attention import Implementation, attention
from jax_mlperf.ops.dropout import dropout
from jax_mlperf.ops.layer_norm import layer_norm

_glorot_uniform = nnx.initializers.glorot_uniform()


@dataclass(frozen=True)
class LayerSettings:
    """What all layers of one model have in common."""

    d_model: int
    ffn_dim: int
    num_heads: int
    dropout_rate: float
    dtype: jnp.dtype
    attention_implementation: Implementation


@dataclass(frozen=True)
class Source:
    """What the decoder sees of the source: encoder output [B, S, d] and segmentation [B, S], 0 = padding."""

    encoded: jax.Array
    segmentation: jax.Array


def drop(x: jax.Array, rate: float, rngs: nnx.Rngs | None) -> jax.Array:
    """Dropout with the next key of the stream "dropout"; nothing without rngs."""
    return x if rngs is None or rate == 0.0 else dropout(x, rate, rngs.dropout())


def multiply(x: jax.Array, kernel: jax.Array) -> jax.Array:
    """x [..., m] times kernel [m, n] -> [..., n], as one product of two matrices.

    The same as x @ kernel; but the kernel's gradient of that sums over several axes, for which XLA transposes
    the larger operand on the CPU, and multiplies at half speed.
    """
    return (x.reshape(-1, x.shape[-1]) @ kernel).reshape(*x.shape[:-1], kernel.shape[1])


class LayerNorm(nnx.Module):
    """`ops.layer_norm` with its parameters, scale 1 and bias 0."""

    def __init__(self, dim: int):
        self.scale = nnx.Param(jnp.ones((dim,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((dim,), jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """x [..., d] -> [..., d] in x's dtype."""
        return layer_norm(x, self.scale[...], self.bias[...])


class MultiHeadAttention(nnx.Module):
    """Attention with d x d projections without bias, Glorot-uniform each, multiplied as one wide matrix."""

    def __init__(self, settings: LayerSettings, rngs: nnx.Rngs):
        self.settings = settings
        shape = (settings.d_model, settings.d_model)
        self.query = nnx.Param(_glorot_uniform(rngs.params(), shape, jnp.float32))
        self.key = nnx.Param(_glorot_uniform(rngs.params(), shape, jnp.float32))
        self.value = nnx.Param(_glorot_uniform(rngs.params(), shape, jnp.float32))
        self.output = nnx.Param(_glorot_uniform(rngs.params(), shape, jnp.float32))

    def _project(self, x: jax.Array, *kernels: nnx.Param[jax.Array]) -> list[jax.Array]:
        """x [..., d] through every kernel in one matrix product: [..., H, D] each."""
        fused = jnp.concatenate([kernel[...].astype(self.settings.dtype) for kernel in kernels], axis=1)
        heads = (*x.shape[:-1], self.settings.num_heads, -1)
        return [part.reshape(heads) for part in jnp.split(multiply(x, fused), len(kernels), axis=-1)]

    def project_self(self, x: jax.Array) -> list[jax.Array]:
        """Query, key and value of x [..., d], each [..., H, D]."""
        return self._project(x, self.query, self.key, self.value)

    def project_query(self, x: jax.Array) -> jax.Array:
        """Query [..., H, D] of x [..., d]."""
        return self._project(x, self.query)[0]

    def project_source(self, encoded: jax.Array) -> list[jax.Array]:
        """Key and value of the encoder's output [B, S, d], each [B, S, H, D]."""
        return self._project(encoded, self.key, self.value)

    def merge_heads(self, attended: jax.Array) -> jax.Array:
        """Output projection of [..., H, D] to [..., d]."""
        merged = attended.reshape(*attended.shape[:-2], -1)
        return multiply(merged, self.output[...].astype(self.settings.dtype))

    def _attend(
        self,
        projected: list[jax.Array],
        segmentations: tuple[jax.Array, jax.Array],
        causal: bool,
        rngs: nnx.Rngs | None,
    ) -> jax.Array:
        rate = self.settings.dropout_rate
        return self.merge_heads(
            attention(
                *projected,
                query_segmentation=segmentations[0],
                key_segmentation=segmentations[1],
                causal=causal,
                dropout_rate=rate,
                dropout_key=None if rngs is None or rate == 0.0 else rngs.dropout(),
                implementation=self.settings.attention_implementation,
            )
        )

    def attend_self(
        self, x: jax.Array, segmentation: jax.Array, *, causal: bool, rngs: nnx.Rngs | None
    ) -> jax.Array:
        """Self-attention of x [B, T, d] within segments [B, T]."""
        return self._attend(self.project_self(x), (segmentation, segmentation), causal, rngs)

    def attend_source(
        self, x: jax.Array, segmentation: jax.Array, source: Source, *, rngs: nnx.Rngs | None
    ) -> jax.Array:
        """Attention of x [B, T, d] to the source segments of the same number."""
        projected = [self.project_query(x), *self.project_source(source.encoded)]
        return self._attend(projected, (segmentation, source.segmentation), False, rngs)


class FeedForward(nnx.Module):
    """d -> ffn_dim, ReLU, dropout, -> d; with biases, initialised to zero."""

    def __init__(self, settings: LayerSettings, rngs: nnx.Rngs):
        self.settings = settings
        d_model, ffn_dim = settings.d_model, settings.ffn_dim
        self.hidden_kernel = nnx.Param(_glorot_uniform(rngs.params(), (d_model, ffn_dim), jnp.float32))
        self.hidden_bias = nnx.Param(jnp.zeros((ffn_dim,), jnp.float32))
        self.output_kernel = nnx.Param(_glorot_uniform(rngs.params(), (ffn_dim, d_model), jnp.float32))
        self.output_bias = nnx.Param(jnp.zeros((d_model,), jnp.float32))

    def __call__(self, x: jax.Array, rngs: nnx.Rngs | None) -> jax.Array:
        """x [..., d] -> [..., d]."""
        dtype = self.settings.dtype
        hidden = multiply(x, self.hidden_kernel[...].astype(dtype)) + self.hidden_bias[...].astype(dtype)
        hidden = jax.nn.relu(hidden)
        hidden = drop(hidden, self.settings.dropout_rate, rngs)
        return multiply(hidden, self.output_kernel[...].astype(dtype)) + self.output_bias[...].astype(dtype)


class EncoderLayer(nnx.Module):
    """x + Dropout(SelfAttention(LayerNorm(x))), then the same with the feed-forward network (pre-norm)."""

    def __init__(self, settings: LayerSettings, rngs: nnx.Rngs):
        self.dropout_rate = settings.dropout_rate
        self.self_attention_norm = LayerNorm(settings.d_model)
        self.self_attention = MultiHeadAttention(settings, rngs)
        self.feed_forward_norm = LayerNorm(settings.d_model)
        self.feed_forward = FeedForward(settings, rngs)

    def __call__(self, x: jax.Array, segmentation: jax.Array, rngs: nnx.Rngs | None) -> jax.Array:
        """x [B, S, d] with segmentation [B, S] -> [B, S, d]."""
        attended = self.self_attention.attend_self(
            self.self_attention_norm(x), segmentation, causal=False, rngs=rngs
        )
        x = x + drop(attended, self.dropout_rate, rngs)
        return x + drop(self.feed_forward(self.feed_forward_norm(x), rngs), self.dropout_rate, rngs)


class DecoderLayer(nnx.Module):
    """Causal self-attention, attention to the source, feed-forward network; pre-norm and residual each."""

    def __init__(self, settings: LayerSettings, rngs: nnx.Rngs):
        self.dropout_rate = settings.dropout_rate
        self.self_attention_norm = LayerNorm(settings.d_model)
        self.self_attention = MultiHeadAttention(settings, rngs)
        self.source_attention_norm = LayerNorm(settings.d_model)
        self.source_attention = MultiHeadAttention(settings, rngs)
        self.feed_forward_norm = LayerNorm(settings.d_model)
        self.feed_forward = FeedForward(settings, rngs)

    def __call__(
        self, x: jax.Array, segmentation: jax.Array, source: Source, rngs: nnx.Rngs | None
    ) -> jax.Array:
        """x [B, T, d] with segmentation [B, T] -> [B, T, d]."""
        attended = self.self_attention.attend_self(
            self.self_attention_norm(x), segmentation, causal=True, rngs=rngs
        )
        x = x + drop(attended, self.dropout_rate, rngs)
        attended = self.source_attention.attend_source(
            self.source_attention_norm(x), segmentation, source, rngs=rngs
        )
        x = x + drop(attended, self.dropout_rate, rngs)
        return x + drop(self.feed_forward(self.feed_forward_norm(x), rngs), self.dropout_rate, rngs)
