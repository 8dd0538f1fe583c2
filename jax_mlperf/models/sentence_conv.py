"""The closed sentiment model: two convolutions over word embeddings, each pooled over time, and a linear layer.

Johnson and Zhang 2014 (arXiv 1412.1058), as `mlcommons/training:retired_benchmarks/never-adopted/sentiment_analysis` has it.
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jax_mlperf.models.initializers import fill, uniform
from jax_mlperf.ops.ragged import Ragged, distinct_tokens, windowed_max

# Windows of paddle's sequence_conv begin at -floor(size / 2): -1, 0, 1 and -2, -1, 0, 1.
_WINDOWS = {"kernel_a": 3, "kernel_b": 4}


class SentenceConv(nnx.Module):
    """Reviews of any length -> logits of two classes.

    A convolution of embeddings is a sum of table look-ups: at place k of the window, word w adds (embedding @ kernel_k)[w]. The
    tables of the batch's words cost 6 to 9 times fewer operations than the convolution at every position, and are exact. ELU
    rises everywhere, so it is taken after the maximum over time.

    Args:
      vocab_size: V, words.
      embedding: e, features of a word.
      filters: h, of each convolution.
      distinct_rows: most words of a batch for which tables of so many rows are made; a batch with more makes tables of all V
        words. 0: always all words.
      dtype: of the tables and of the products that make them; everything else is float32.
      rngs: stream "params".
    """

    def __init__(self, vocab_size: int, *, embedding: int = 1024, filters: int = 1024, distinct_rows: int = 0,
                 dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs) -> None:
        self.distinct_rows = distinct_rows
        self.dtype = dtype
        self.embedding = nnx.Param(jnp.zeros((vocab_size, embedding)))
        self.kernel_a = nnx.Param(jnp.zeros((_WINDOWS["kernel_a"], embedding, filters)))
        self.kernel_b = nnx.Param(jnp.zeros((_WINDOWS["kernel_b"], embedding, filters)))
        self.output_a = nnx.Param(jnp.zeros((filters, 2)))
        self.output_b = nnx.Param(jnp.zeros((filters, 2)))
        weights = [self.embedding, self.kernel_a, self.kernel_b, self.output_a, self.output_b]
        # Xavier's limit on Paddle's two-dimensional shapes: a kernel is [window e, h] there.
        limits = [math.sqrt(6 / (math.prod(weight.shape[:-1]) + weight.shape[-1])) for weight in weights]
        fill(weights, uniform, limits, rngs.params())
        self.bias_a = nnx.Param(jnp.zeros(filters))
        self.bias_b = nnx.Param(jnp.zeros(filters))
        self.output_bias = nnx.Param(jnp.zeros(2))

    def __call__(self, reviews: Ragged, *, all_words: bool = False) -> jax.Array:
        """Logits float32 [B, 2] of reviews whose tokens are below V; `all_words`: as if `distinct_rows` were 0."""
        vocab_size = self.embedding.shape[0]
        if all_words or self.distinct_rows >= vocab_size or not self.distinct_rows:
            return self._logits(reviews, jnp.arange(vocab_size + 1), jnp.arange(vocab_size))
        present = distinct_tokens(reviews, vocab_size)
        words = jnp.nonzero(present, size=self.distinct_rows + 1, fill_value=vocab_size)[0]
        return lax.cond(jnp.sum(present) <= self.distinct_rows,
                        lambda: self._logits(reviews, words, jnp.cumsum(present) - 1),
                        lambda: self._logits(reviews, jnp.arange(vocab_size + 1), jnp.arange(vocab_size)))

    def _logits(self, reviews: Ragged, words: jax.Array, rows: jax.Array) -> jax.Array:
        """With tables of the given words [R + 1], V standing for none (the last one does); `rows` [V] says where a word is."""
        embeddings = self.embedding[...].at[words].get(mode="fill", fill_value=0).astype(self.dtype)
        logits = self.output_bias[...]
        for kernel, bias, output in ((self.kernel_a, self.bias_a, self.output_a), (self.kernel_b, self.bias_b, self.output_b)):
            tables = jnp.einsum("re,keh->rkh", embeddings, kernel[...].astype(self.dtype))
            pooled = windowed_max(tables, rows, reviews, -(kernel.shape[0] // 2))
            logits += jax.nn.elu(pooled + bias[...]) @ output[...]
        return logits
