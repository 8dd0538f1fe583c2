"""The Transformer of MLPerf Training v0.5 to v0.7 (Vaswani et al. 2017, pre-norm, one shared embedding)."""

from typing import get_args

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.transformer_layers import (
    DecoderLayer,
    EncoderLayer,
    LayerNorm,
    LayerSettings,
    Source,
    drop,
)
from jax_mlperf.ops.attention import Implementation
from jax_mlperf.ops.matmul import tied_logits
from jax_mlperf.ops.positions import sinusoidal_encoding


def shift_right(targets: jax.Array, targets_position: jax.Array) -> jax.Array:
    """The decoder's input ids [B, T]: the previous slot's id, and 0 at the start of every segment.

    Id 0 embeds to the zero vector, so every packed sentence starts as decoding does (packing with a
    plain shift would feed the previous sentence's EOS).
    """
    previous = jnp.pad(targets, ((0, 0), (1, 0)))[:, :-1]
    return jnp.where(targets_position == 0, 0, previous)


class Transformer(nnx.Module):
    """Encoder-decoder model; "big" is d_model 1024, ffn_dim 4096, 16 heads, 6 + 6 layers.

    Parameters are float32 whatever `dtype` is; LayerNorm statistics, softmax and the accumulation of the
    logits are float32. Initial values: embedding Normal(0, d_model**-0.5), kernels Glorot uniform, biases 0,
    as in model/*.py of the reference
    (`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`).

    Args:
      vocab_size: rows of the embedding matrix, shared by source, target and logits.
      d_model: even; a multiple of num_heads.
      ffn_dim: width of the feed-forward networks.
      num_heads: attention heads.
      num_layers: layers of the encoder, and as many of the decoder.
      dropout_rate: after embedding + position, after every sublayer, after the feed-forward network's ReLU,
        and on the attention probabilities.
      dtype: of activations and matrix products.
      attention_implementation: see ops.attention.attention.
      rngs: stream "params".

    Raises:
      ValueError: d_model is odd or not a multiple of num_heads, the attention implementation is unknown, or
        it is "cudnn" and dropout_rate is above 0.
    """

    def __init__(
        self,
        *,
        vocab_size: int,
        d_model: int,
        ffn_dim: int,
        num_heads: int,
        num_layers: int,
        dropout_rate: float,
        dtype: jax.typing.DTypeLike = jnp.bfloat16,
        attention_implementation: Implementation = "auto",
        rngs: nnx.Rngs,
    ):
        if d_model % num_heads or d_model % 2:
            raise ValueError(f"d_model must be even and a multiple of num_heads ({num_heads}), got {d_model}")
        implementations = get_args(Implementation)
        if attention_implementation not in implementations:
            raise ValueError(
                f"attention implementation {attention_implementation!r} is unknown; there are: "
                f"{', '.join(implementations)}"
            )
        if attention_implementation == "cudnn" and dropout_rate > 0:
            raise ValueError("cuDNN attention takes no dropout: use 'auto' or dropout_rate 0")
        self.d_model = d_model
        self.num_heads = num_heads
        self.dropout_rate = dropout_rate
        self.dtype = jnp.dtype(dtype)
        settings = LayerSettings(
            d_model=d_model,
            ffn_dim=ffn_dim,
            num_heads=num_heads,
            dropout_rate=dropout_rate,
            dtype=self.dtype,
            attention_implementation=attention_implementation,
        )
        initial = jax.random.normal(rngs.params(), (vocab_size, d_model), jnp.float32) * d_model**-0.5
        self.embedding = nnx.Param(initial)
        self.encoder_layers = nnx.List([EncoderLayer(settings, rngs) for _ in range(num_layers)])
        self.encoder_norm = LayerNorm(d_model)
        self.decoder_layers = nnx.List([DecoderLayer(settings, rngs) for _ in range(num_layers)])
        self.decoder_norm = LayerNorm(d_model)

    def embed(self, ids: jax.Array, positions: jax.Array) -> jax.Array:
        """sqrt(d) * embedding (zero for id 0) + positional encoding: ids, positions int [...] -> [..., d]."""
        scale = jnp.where(ids == 0, 0.0, self.d_model**0.5)[..., None]
        embedded = jnp.take(self.embedding[...], ids, axis=0, mode="clip") * scale
        return (embedded + sinusoidal_encoding(positions, self.d_model)).astype(self.dtype)

    def logits(self, decoded: jax.Array) -> jax.Array:
        """Product with the transposed embedding, no bias: [..., d] -> float32 [..., V], not rounded."""
        return tied_logits(decoded, self.embedding[...])

    def encode(
        self, inputs: jax.Array, positions: jax.Array, segmentation: jax.Array, *, rngs: nnx.Rngs | None
    ) -> Source:
        """The normed encoder output of packed rows, all arguments int32 [B, S]."""
        x = drop(self.embed(inputs, positions), self.dropout_rate, rngs)
        for layer in self.encoder_layers:
            x = layer(x, segmentation, rngs)
        return Source(self.encoder_norm(x), segmentation)

    def __call__(
        self,
        inputs: jax.Array,
        inputs_position: jax.Array,
        inputs_segmentation: jax.Array,
        targets: jax.Array,
        targets_position: jax.Array,
        targets_segmentation: jax.Array,
        *,
        rngs: nnx.Rngs | None = None,
    ) -> jax.Array:
        """Teacher-forced logits float32 [B, T, V] for packed rows or for one sentence a row.

        Args:
          inputs, inputs_position, inputs_segmentation: int32 [B, S]; 0 is padding in the first and the last.
          targets, targets_position, targets_segmentation: int32 [B, T]; positions restart at 0 in every
            segment.
          rngs: stream "dropout" turns dropout on; None is evaluation.
        """
        source = self.encode(inputs, inputs_position, inputs_segmentation, rngs=rngs)
        x = self.embed(shift_right(targets, targets_position), targets_position)
        x = drop(x, self.dropout_rate, rngs)
        for layer in self.decoder_layers:
            x = layer(x, targets_segmentation, source, rngs)
        return self.logits(self.decoder_norm(x))
