"""BERT with its two pre-training heads over packed rows (Devlin et al. 2018), as MLPerf Training v0.7 to v5.0 has it.

`nnx.to_pure_dict` of its state gives the layers under the integer keys 0, 1, ... (flax 0.12); every leaf is one TF1 variable.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.bert_layers import DROPOUTS_PER_LAYER, Dense, Layer, LayerNorm, LayerSettings, rematerialized
from jax_mlperf.models.initializers import fill
from jax_mlperf.ops.attention import Implementation
from jax_mlperf.ops.dropout import dropout
from jax_mlperf.ops.gather import take_rows, take_slots
from jax_mlperf.ops.gelu import gelu_tanh
from jax_mlperf.ops.matmul import tied_logits

Remat = Literal["none", "layer"]
_SLOTS_MULTIPLE = 8  # of the slots that the last layer computes: what cuDNN and tensor cores like


class Packed(NamedTuple):
    """Rows of one or more sequences each, all int32: B rows of T slots, up to P predictions and S sequences a row.

    input_ids [B, T]; segmentation [B, T], 1, 2, ... for the sequences of a row and 0 for padding; token_type_ids [B, T], 0 or
    1; position_ids [B, T], from 0 in every sequence; masked_lm_positions [B, P], slots of the row, 0 where there is no
    prediction; sequence_starts [B, S], the slot of each sequence's [CLS], 0 where there is none.
    """

    input_ids: jax.Array
    segmentation: jax.Array
    token_type_ids: jax.Array
    position_ids: jax.Array
    masked_lm_positions: jax.Array
    sequence_starts: jax.Array


class Outputs(NamedTuple):
    """masked_lm_logits float32 [B, P, V]; next_sentence_logits float32 [B, S, 2], index 1 meaning a random next sentence."""

    masked_lm_logits: jax.Array
    next_sentence_logits: jax.Array


class Embeddings(nnx.Module):
    """The three tables, whose rows are added, and the norm of the sum."""

    def __init__(self, vocab_size: int, max_positions: int, type_vocab_size: int, hidden_size: int):
        self.word = nnx.Param(jnp.zeros((vocab_size, hidden_size), jnp.float32))
        self.position = nnx.Param(jnp.zeros((max_positions, hidden_size), jnp.float32))
        self.token_type = nnx.Param(jnp.zeros((type_vocab_size, hidden_size), jnp.float32))
        self.norm = LayerNorm(hidden_size)

    def __call__(self, rows: Packed, dtype: jnp.dtype) -> jax.Array:
        """[B, T, H], the tables' rows added in float32."""
        embedded = jnp.take(self.word[...], rows.input_ids, axis=0, mode="clip")
        embedded += jnp.take(self.position[...], rows.position_ids, axis=0, mode="clip")
        embedded += take_rows(self.token_type[...], rows.token_type_ids)
        return self.norm(embedded.astype(dtype))


class NextSentence(nnx.Module):
    """The product with the transpose of a kernel [2, H], stored as TF1 does, plus bias."""

    def __init__(self, hidden_size: int):
        self.kernel = nnx.Param(jnp.zeros((2, hidden_size), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((2,), jnp.float32))

    def __call__(self, pooled: jax.Array) -> jax.Array:
        """[..., H] -> float32 [..., 2]."""
        return tied_logits(pooled, self.kernel[...]) + self.bias[...]


class Bert(nnx.Module):
    """Embeddings, layers, pooler and the heads of masked-LM (tied to the word table) and next-sentence prediction.

    Source: modeling.py and run_pretraining.py of the reference (`mlcommons/training:retired_benchmarks/bert`). BERT-large:
    336,226,108 parameters. Kernels and tables start as a normal distribution cut at two deviations, biases as 0.

    Args:
      vocab_size, max_positions, type_vocab_size: rows of the three tables.
      hidden_size: a multiple of num_heads.
      num_layers, num_heads, intermediate_size: of the layers.
      hidden_dropout_rate: after the embeddings and after both parts of every layer.
      attention_dropout_rate: on the attention probabilities.
      initializer_range: deviation of the normal distribution before it is cut (0.02, hence 0.01759 after).
      dtype: of activations and matrix products; parameters, statistics, softmax and logits are float32.
      attention_implementation: see ops.attention.attention.
      remat: "layer" keeps each layer's input alone for the backward pass, and computes the layer again there.
      rngs: stream "params".

    Raises:
      ValueError: hidden_size is no multiple of num_heads, attention_implementation or remat is unknown, or the two are
        "cudnn" with dropout and "layer": cuDNN would drop other elements when a layer is computed again.
    """

    def __init__(
        self, *, vocab_size: int, hidden_size: int, num_layers: int, num_heads: int, intermediate_size: int,
        max_positions: int, type_vocab_size: int, hidden_dropout_rate: float, attention_dropout_rate: float,
        initializer_range: float, dtype: jax.typing.DTypeLike, attention_implementation: Implementation = "auto",
        remat: Remat = "none", rngs: nnx.Rngs,
    ):
        _check(hidden_size, num_heads, attention_implementation, attention_dropout_rate, remat)
        settings = LayerSettings(hidden_size, intermediate_size, num_heads, hidden_dropout_rate, attention_dropout_rate,
                                 jnp.dtype(dtype), attention_implementation)
        self.settings, self.remat = settings, remat
        self.embeddings = Embeddings(vocab_size, max_positions, type_vocab_size, hidden_size)
        self.layers = nnx.List([Layer(settings, seed) for seed in range(num_layers)])
        self.pooler = Dense(hidden_size, hidden_size)
        self.transform = Dense(hidden_size, hidden_size)
        self.transform_norm = LayerNorm(hidden_size)
        self.masked_lm_bias = nnx.Param(jnp.zeros((vocab_size,), jnp.float32))
        self.next_sentence = NextSentence(hidden_size)
        drawn = [param for _, param in nnx.iter_graph(self) if isinstance(param, nnx.Param) and param.ndim > 1]
        fill(drawn, _cut_normal, [initializer_range] * len(drawn), rngs.params())

    def encode(self, rows: Packed, rngs: nnx.Rngs | None = None, slots: jax.Array | None = None) -> jax.Array:
        """The last layer's output in the compute dtype.

        Args:
          rows: what to encode.
          rngs: stream "dropout", None for evaluation.
          slots: int [B, Q]: the last layer is computed for these alone, [B, Q, H]; None: for all, [B, T, H].
        """
        settings, count = self.settings, 1 + DROPOUTS_PER_LAYER * len(self.layers)
        keys = None if rngs is None else jax.random.split(rngs.dropout(), count)
        x = self.embeddings(rows, settings.dtype)
        x = dropout(x, settings.hidden_dropout_rate, None if keys is None else keys[0])
        for index, layer in enumerate(self.layers):
            first = 1 + DROPOUTS_PER_LAYER * index
            of_layer = None if keys is None else keys[first:first + DROPOUTS_PER_LAYER]
            of_slots = slots if index == len(self.layers) - 1 else None
            if self.remat == "layer":
                x = rematerialized(layer, x, rows.segmentation, of_layer, of_slots)
            else:
                x = layer(x, rows.segmentation, of_layer, of_slots)
        return x

    def pool(self, starts: jax.Array) -> jax.Array:
        """tanh of a dense layer of the encoded [CLS]: [B, S, H] -> [B, S, H]."""
        return jnp.tanh(self.pooler(starts))

    def masked_lm_logits(self, encoded: jax.Array) -> jax.Array:
        """Logits of the vocabulary: [B, P, H] -> float32 [B, P, V]."""
        transformed = self.transform_norm(gelu_tanh(self.transform(encoded)))
        return tied_logits(transformed, self.embeddings.word[...]) + self.masked_lm_bias[...]

    def __call__(self, rows: Packed, *, rngs: nnx.Rngs | None = None) -> Outputs:
        """Logits of both heads; rngs: stream "dropout" turns dropout on, None is evaluation.

        The last layer is computed where the heads look, and nowhere else (HazyResearch's submission to v2.0).
        """
        predictions, sequences = rows.masked_lm_positions.shape[1], rows.sequence_starts.shape[1]
        slots = jnp.concatenate([rows.masked_lm_positions, rows.sequence_starts], axis=1)
        slots = jnp.pad(slots, ((0, 0), (0, -slots.shape[1] % _SLOTS_MULTIPLE)))
        encoded = self.encode(rows, rngs, slots)
        return self._heads(encoded[:, :predictions], encoded[:, predictions:predictions + sequences])

    def of_whole_encoding(self, rows: Packed) -> tuple[jax.Array, Outputs]:
        """The last layer's output for all slots [B, T, H], and the logits: what the FLOPs of the model are counted from."""
        encoded = self.encode(rows)
        return encoded, self._heads(take_slots(encoded, rows.masked_lm_positions), take_slots(encoded, rows.sequence_starts))

    def _heads(self, masked: jax.Array, starts: jax.Array) -> Outputs:
        return Outputs(self.masked_lm_logits(masked), self.next_sentence(self.pool(starts)))


def _cut_normal(key: jax.Array, size: int) -> jax.Array:
    """float32 [size], a standard normal distribution cut at -2 and 2 (`create_initializer` of the reference)."""
    return jax.random.truncated_normal(key, -2.0, 2.0, (size,), jnp.float32)


def _check(hidden_size: int, num_heads: int, implementation: str, attention_dropout_rate: float, remat: str) -> None:
    if hidden_size % num_heads:
        raise ValueError(f"hidden_size must be a multiple of num_heads ({num_heads}), got {hidden_size}")
    for name, value, known in (("attention_implementation", implementation, get_args(Implementation)),
                               ("remat", remat, get_args(Remat))):
        if value not in known:
            raise ValueError(f"{name} {value!r} is unknown; there are: {', '.join(known)}")
    if implementation == "cudnn" and attention_dropout_rate > 0 and remat == "layer":
        raise ValueError("remat 'layer' computes attention twice, and cuDNN's dropout would differ between the two: use "
                         "attention_implementation 'auto', attention_dropout_rate 0 or remat 'none'")
