"""The layers of BERT: dense, layer norm, self-attention with feed-forward network (post-norm).

Parameters are float32 and cast to the compute dtype where they are used; every kernel starts as zeros, the model fills them.
Shapes: B rows, T slots, H hidden size, N heads, D = H / N, F intermediate size.
"""

from dataclasses import dataclass

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.transformer_layers import multiply
from jax_mlperf.ops.attention import Implementation, attention
from jax_mlperf.ops.dropout import dropout
from jax_mlperf.ops.gather import take_slots
from jax_mlperf.ops.gelu import gelu_tanh
from jax_mlperf.ops.layer_norm import layer_norm

# `layer_norm` of modeling.py of the reference (`mlcommons/training:retired_benchmarks/bert`): tf.contrib's default.
EPSILON = 1e-12
# Places of dropout in a layer: attention probabilities, attention output, layer output.
DROPOUTS_PER_LAYER = 3


@dataclass(frozen=True)
class LayerSettings:
    """What all layers of one model have in common."""

    hidden_size: int
    intermediate_size: int
    num_heads: int
    hidden_dropout_rate: float
    attention_dropout_rate: float
    dtype: jnp.dtype
    attention_implementation: Implementation


class Dense(nnx.Module):
    """x times kernel plus bias."""

    def __init__(self, inputs: int, outputs: int):
        self.kernel = nnx.Param(jnp.zeros((inputs, outputs), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((outputs,), jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """x [..., inputs] -> [..., outputs] in x's dtype."""
        return multiply(x, self.kernel[...].astype(x.dtype)) + self.bias[...].astype(x.dtype)


class LayerNorm(nnx.Module):
    """`ops.layer_norm` with BERT's epsilon and its parameters, scale 1 and bias 0."""

    def __init__(self, dim: int):
        self.scale = nnx.Param(jnp.ones((dim,), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((dim,), jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """x [..., H] -> [..., H] in x's dtype."""
        return layer_norm(x, self.scale[...], self.bias[...], EPSILON)


class Layer(nnx.Module):
    """LN(x + dropout(self-attention(x))), then LN(x + dropout(feed-forward(x))) with tanh-GELU in between.

    Source: `transformer_model` and `attention_layer` in modeling.py of the reference
    (`mlcommons/training:retired_benchmarks/bert`; Devlin et al. 2018).

    Args:
      settings: sizes, rates, dtype.
      seed: of cuDNN's dropout, different for every layer; used by the implementation "cudnn" alone.
    """

    def __init__(self, settings: LayerSettings, seed: int):
        hidden, intermediate = settings.hidden_size, settings.intermediate_size
        self.settings, self.seed = settings, seed
        self.query, self.key, self.value = (Dense(hidden, hidden) for _ in range(3))
        self.attention_output = Dense(hidden, hidden)
        self.attention_norm = LayerNorm(hidden)
        self.intermediate = Dense(hidden, intermediate)
        self.output = Dense(intermediate, hidden)
        self.output_norm = LayerNorm(hidden)

    def _project(self, x: jax.Array, *parts: Dense) -> list[jax.Array]:
        """What the parts (query, key, value) make of x [B, T, H], [B, T, N, D] each, multiplied as one wide matrix."""
        kernel = jnp.concatenate([part.kernel[...].astype(x.dtype) for part in parts], axis=1)
        bias = jnp.concatenate([part.bias[...].astype(x.dtype) for part in parts])
        heads = (*x.shape[:-1], self.settings.num_heads, -1)
        return [part.reshape(heads) for part in jnp.split(multiply(x, kernel) + bias, len(parts), axis=-1)]

    def __call__(self, x: jax.Array, segmentation: jax.Array, keys: jax.Array | None,
                 slots: jax.Array | None = None) -> jax.Array:
        """One layer.

        Args:
          x: [B, T, H].
          segmentation: int [B, T]; a slot attends to the slots of its own number.
          keys: random keys [DROPOUTS_PER_LAYER], or None for evaluation.
          slots: int [B, Q], those whose output is wanted; None: all.

        Returns:
          [B, T, H], or [B, Q, H], in x's dtype.
        """
        settings = self.settings
        attention_key, attended_key, output_key = (None,) * DROPOUTS_PER_LAYER if keys is None else keys
        if slots is None:
            queries, query_segmentation = x, segmentation
            projected = self._project(x, self.query, self.key, self.value)
        else:
            queries, query_segmentation = take_slots(x, slots), jnp.take_along_axis(segmentation, slots, axis=1, mode="clip")
            projected = [*self._project(queries, self.query), *self._project(x, self.key, self.value)]
        attended = attention(
            *projected, query_segmentation=query_segmentation, key_segmentation=segmentation,
            dropout_rate=settings.attention_dropout_rate, dropout_key=attention_key, cudnn_seed=self.seed,
            implementation=settings.attention_implementation)
        attended = self.attention_output(attended.reshape(queries.shape))
        x = self.attention_norm(queries + dropout(attended, settings.hidden_dropout_rate, attended_key))
        output = self.output(gelu_tanh(self.intermediate(x)))
        return self.output_norm(x + dropout(output, settings.hidden_dropout_rate, output_key))


def rematerialized(layer: Layer, x: jax.Array, segmentation: jax.Array, keys: jax.Array | None,
                   slots: jax.Array | None) -> jax.Array:
    """`layer(x, segmentation, keys, slots)`, of which only the input is kept for the backward pass; see jax.checkpoint.

    The keys are arguments, so that the second forward pass drops the same elements.
    """
    graph, params = nnx.split(layer)

    def forward(params: nnx.State, x: jax.Array, segmentation: jax.Array, keys: jax.Array | None,
                slots: jax.Array | None) -> jax.Array:
        return nnx.merge(graph, params)(x, segmentation, keys, slots)

    return jax.checkpoint(forward)(params, x, segmentation, keys, slots)
