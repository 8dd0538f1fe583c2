"""Translation with a trained Transformer: one encoder pass, then beam search with a key-value cache.

Shapes: B sentences, S source slots, K beams, L output slots, H heads, D head dimension.
Keys and values of past steps lie in [B, H, L * K, D], where each beam writes its own row of every step. When
hypotheses change beams only the ancestry [B, K, L] is permuted; every query is multiplied with the rows of
all beams and a mask leaves its own history. The cache is read once for all beams and never copied.
"""

import math
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.transformer import Transformer
from jax_mlperf.models.transformer_layers import DecoderLayer, MultiHeadAttention
from jax_mlperf.ops.attention import MASKED_LOGIT
from jax_mlperf.ops.beam_search import (
    BeamResult,
    Cache,
    ancestry_mask,
    beam_search,
    new_ancestry,
    record_ancestry,
)

# Keys and values have a multiple of 8 rows: cuBLAS takes 16-bit operands on the tensor cores in multiples of
# 16 bytes, and XLA pads others, here in every step of the loop: a copy of the whole cache for each token.
_ALIGNMENT = 8


class KeyValue(NamedTuple):
    """Keys and values [B, H, N, D]: N = L * K past steps and beams, or N = S source slots."""

    key: jax.Array
    value: jax.Array


class SourceMemory(NamedTuple):
    """What decoding needs of the source: keys and values per decoder layer; mask bool [B, 1, 1, S]."""

    layers: list[KeyValue]
    mask: jax.Array


def _heads_first(x: jax.Array) -> jax.Array:
    return x.transpose(0, 2, 1, 3)


def _attend_step(query: jax.Array, memory: KeyValue, mask: jax.Array) -> jax.Array:
    """Attention of one query per beam [B, K, H, D] to [B, H, N, D], mask [B, 1, K or 1, N]: [B, K, H, D]."""
    scaled = query * jnp.asarray(query.shape[-1] ** -0.5, query.dtype)
    logits = jnp.einsum("bkhd,bhnd->bhkn", scaled, memory.key, preferred_element_type=jnp.float32)
    probabilities = jax.nn.softmax(jnp.where(mask, logits, MASKED_LOGIT), axis=-1)
    return jnp.einsum("bhkn,bhnd->bkhd", probabilities.astype(query.dtype), memory.value)


def _append(memory: KeyValue, key: jax.Array, value: jax.Array, index: jax.Array) -> KeyValue:
    """Writes the beams' key and value [B, K, H, D] of step `index`."""
    at = index * key.shape[1]
    return KeyValue(
        jax.lax.dynamic_update_slice_in_dim(memory.key, _heads_first(key), at, axis=2),
        jax.lax.dynamic_update_slice_in_dim(memory.value, _heads_first(value), at, axis=2),
    )


def _layer_step(
    layer: DecoderLayer,
    x: jax.Array,
    past: KeyValue,
    past_mask: jax.Array,
    source: KeyValue,
    source_mask: jax.Array,
    index: jax.Array,
) -> tuple[jax.Array, KeyValue]:
    """One decoder layer at one step: x [B, K, d] -> [B, K, d], and the past with this step."""
    query, key, value = layer.self_attention.project_self(layer.self_attention_norm(x))
    past = _append(past, key, value, index)
    x = x + layer.self_attention.merge_heads(_attend_step(query, past, past_mask))
    query = layer.source_attention.project_query(layer.source_attention_norm(x))
    x = x + layer.source_attention.merge_heads(_attend_step(query, source, source_mask))
    return x + layer.feed_forward(layer.feed_forward_norm(x), None), past


def read_source(model: Transformer, inputs: jax.Array) -> SourceMemory:
    """Encodes sentences int32 [B, S], 0 = padding, one a row; S is padded to a multiple of 8 first."""
    inputs = jnp.pad(inputs, ((0, 0), (0, -inputs.shape[1] % _ALIGNMENT)))
    positions = jnp.broadcast_to(jnp.arange(inputs.shape[1]), inputs.shape)
    mask = inputs != 0
    encoded = model.encode(inputs, positions, mask.astype(jnp.int32), rngs=None).encoded

    def memory(attention: MultiHeadAttention) -> KeyValue:
        return KeyValue(*(_heads_first(part) for part in attention.project_source(encoded)))

    layers = [memory(layer.source_attention) for layer in model.decoder_layers]
    return SourceMemory(layers, mask[:, None, None, :])


def init_cache(model: Transformer, batch: int, beams: int, max_length: int) -> Cache:
    """An empty cache for `max_length` steps or the few more that make L * K a multiple of 8.

    In the model's compute dtype. Steps that are never made stay masked.
    """
    multiple = _ALIGNMENT // math.gcd(_ALIGNMENT, beams)
    length = max_length + -max_length % multiple
    shape = (batch, model.num_heads, length * beams, model.d_model // model.num_heads)
    empty = jnp.zeros(shape, model.dtype)
    return Cache(
        new_ancestry(batch, beams, length), [KeyValue(empty, empty) for _ in model.decoder_layers]
    )


def decode_step(
    model: Transformer, source: SourceMemory, ids: jax.Array, cache: Cache, index: jax.Array
) -> tuple[jax.Array, Cache]:
    """Logits float32 [B, K, V] of token `index` after ids int32 [B, K] and the tokens before them.

    At index 0 ids must be 0, which embeds to the zero vector.
    """
    batch, beams = ids.shape
    ancestry = record_ancestry(cache.beams, index)
    past_mask = ancestry_mask(ancestry, index).reshape(batch, 1, beams, -1)
    x = model.embed(ids, jnp.full_like(ids, index))
    past: list[KeyValue] = []
    for layer, own, memory in zip(model.decoder_layers, cache.shared, source.layers, strict=True):
        x, own = _layer_step(layer, x, own, past_mask, memory, source.mask, index)
        past.append(own)
    return model.logits(model.decoder_norm(x)), Cache(ancestry, past)


def with_cast_kernels(model: Transformer) -> Transformer:
    """The model with its matrices in the compute dtype, so that no step of the loop casts them again."""
    graph, params = nnx.split(model)
    cast = jax.tree.map(lambda leaf: leaf.astype(model.dtype) if leaf.ndim > 1 else leaf, params)
    return nnx.merge(graph, cast)


def translate(
    model: Transformer,
    inputs: jax.Array,
    *,
    max_length: int,
    beams: int = 4,
    alpha: float = 0.6,
) -> BeamResult:
    """Beam search translations of sentences int32 [B, S], 0 = padding, EOS included, one a row.

    The benchmark's beams are 4, alpha 0.6 and max_length S + 50 (model/model_params.py of the reference,
    `mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`). Pure: jit it with the model's
    parameters as arguments.
    """
    model = with_cast_kernels(model)
    source = read_source(model, inputs)
    return beam_search(
        lambda ids, cache, index: decode_step(model, source, ids, cache, index),
        init_cache(model, inputs.shape[0], beams, max_length),
        batch=inputs.shape[0],
        beams=beams,
        max_length=max_length,
        alpha=alpha,
    )
