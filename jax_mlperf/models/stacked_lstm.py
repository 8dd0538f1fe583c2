"""The stacked LSTM of the sentiment reference: linear layers and peephole LSTMs of alternating direction, max over time.

`mlcommons/training:retired_benchmarks/never-adopted/sentiment_analysis/paddle/train.py` (stacked_lstm_net) on
`PaddlePaddle/Paddle:python/paddle/fluid/layers/nn.py` (fc, dynamic_lstm).
"""

import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
from flax import nnx
from jax import lax

from jax_mlperf.models.initializers import fill, uniform

_CLASSES = 2


def _zeros(*shape: int) -> nnx.Param[jax.Array]:
    return nnx.Param(jnp.zeros(shape, jnp.float32))


class Linear(nnx.Module):
    """The sum of products of several inputs, each with a matrix of its own, and one bias; no activation.

    Args:
      in_features: widths of the inputs.
      out_features: width of the result.
    """

    def __init__(self, in_features: Sequence[int], out_features: int):
        self.kernels = nnx.List([_zeros(width, out_features) for width in in_features])
        self.bias = _zeros(out_features)

    def __call__(self, *inputs: jax.Array) -> jax.Array:
        """Inputs [N, width] each, of one dtype -> [N, out_features] of that dtype; accumulated in float32."""
        total = self.bias[...]
        for x, kernel in zip(inputs, self.kernels, strict=True):
            total = total + jnp.dot(x, kernel[...].astype(x.dtype), preferred_element_type=jnp.float32)
        return total.astype(inputs[0].dtype)


class PeepholeLstm(nnx.Module):
    """The recurrence of an LSTM with peepholes (Gers et al. 2002), of which the products of the inputs are given.

      candidate = tanh(x_c + h R_c + b_c)             input gate  = sigmoid(x_i + h R_i + b_i + p_i c)
      c' = forget gate * c + input gate * candidate   forget gate = sigmoid(x_f + h R_f + b_f + p_f c)
      h' = output gate * tanh(c')                     output gate = sigmoid(x_o + h R_o + b_o + p_o c')

    State (h, c) starts at 0. Gates and cell state are float32.

    Args:
      gates: 4 times the hidden size; blocks in the order candidate, input, forget, output.
      reverse: from each sequence's last step to its first.
    """

    def __init__(self, gates: int, *, reverse: bool):
        self.hidden, self.reverse = gates // 4, reverse
        self.recurrent, self.bias = _zeros(self.hidden, gates), _zeros(gates)
        self.peepholes = _zeros(3, self.hidden)  # of the input, forget and output gate

    def __call__(self, inputs: jax.Array, inside: jax.Array) -> jax.Array:
        """inputs [L, B, gates], inside bool [L, B] (a prefix of each column) -> h after each step, [L, B, gates / 4].

        Steps outside a sequence keep the state. Backwards, they come first and keep it at 0: each sequence is reversed over its
        own length without being moved.
        """
        recurrent = self.recurrent[...].astype(inputs.dtype)
        bias, (to_input, to_forget, to_output) = self.bias[...], self.peepholes[...]

        def step(state: tuple[jax.Array, jax.Array], given: tuple[jax.Array, jax.Array]) -> tuple[tuple, jax.Array]:
            (h, c), (x, keep) = state, given
            total = x + jnp.dot(h, recurrent, preferred_element_type=jnp.float32) + bias
            candidate, input_gate, forget_gate, output_gate = jnp.split(total, 4, axis=1)
            new_c = (jax.nn.sigmoid(forget_gate + to_forget * c) * c
                     + jax.nn.sigmoid(input_gate + to_input * c) * jnp.tanh(candidate))
            new_h = jax.nn.sigmoid(output_gate + to_output * new_c) * jnp.tanh(new_c)
            h, c = jnp.where(keep[:, None], new_h.astype(h.dtype), h), jnp.where(keep[:, None], new_c, c)
            return (h, c), h

        shape = (inputs.shape[1], self.hidden)
        start = (jnp.zeros(shape, inputs.dtype), jnp.zeros(shape, jnp.float32))
        return lax.scan(step, start, (inputs, inside), reverse=self.reverse)[1]


class StackedLstm(nnx.Module):
    """Embedding; linear layer and LSTM; then more of both, each pair on both outputs of the pair before; max over time of the
    last pair's outputs; linear layer.

    The second, fourth ... LSTM runs backwards. 4,998,658 parameters for 5,147 words and the sizes below, float32 whatever
    `dtype` is. Initial values: matrices Xavier uniform by their shape (the embedding, too), biases and peepholes 0.

    Args:
      vocab_size: rows of the embedding.
      embedding: its width.
      gates: width of the linear layers, 4 times the LSTMs' hidden size.
      layers: pairs of a linear layer and an LSTM.
      dtype: of activations and matrix products.
      rngs: stream "params".

    Raises:
      ValueError: gates is no multiple of 4, or there is no layer.
    """

    def __init__(self, vocab_size: int, *, embedding: int = 256, gates: int = 1024, layers: int = 3,
                 dtype: jax.typing.DTypeLike = jnp.bfloat16, rngs: nnx.Rngs):
        if gates % 4 or gates < 4 or layers < 1:
            raise ValueError(f"gates must be a multiple of 4 and layers at least 1, got {gates} and {layers}")
        self.dtype = jnp.dtype(dtype)
        self.embedding = _zeros(vocab_size, embedding)
        widths = [(embedding,), *[(gates, gates // 4)] * (layers - 1)]
        self.linears = nnx.List([Linear(width, gates) for width in widths])
        self.lstms = nnx.List([PeepholeLstm(gates, reverse=layer % 2 == 1) for layer in range(layers)])
        self.output = Linear((gates, gates // 4), _CLASSES)
        matrices = [self.embedding, *(lstm.recurrent for lstm in self.lstms),
                    *(kernel for linear in (*self.linears, self.output) for kernel in linear.kernels)]
        fill(matrices, uniform, [math.sqrt(6 / sum(matrix.shape)) for matrix in matrices], rngs.params())

    def __call__(self, tokens: jax.Array, lengths: jax.Array) -> jax.Array:
        """Logits of padded reviews.

        Args:
          tokens: int [B, L], in [0, vocab_size); whatever lies behind a review's end does not matter.
          lengths: int32 [B], at most L; a review of length 0 gets the logits of a maximum of 0.

        Returns:
          float32 [B, 2].
        """
        length, rows = tokens.shape[1], tokens.shape[0]
        inside = jnp.arange(length)[:, None] < lengths  # time first from here on
        outputs = [self.embedding[...].astype(self.dtype)[tokens.T.reshape(-1)]]
        for linear, lstm in zip(self.linears, self.lstms, strict=True):
            projected = linear(*outputs)
            hidden = lstm(projected.reshape(length, rows, -1), inside)
            outputs = [projected, hidden.reshape(length * rows, -1)]
        return self.output(*(_max_over_time(x.reshape(length, rows, -1), inside) for x in outputs))


def _max_over_time(x: jax.Array, inside: jax.Array) -> jax.Array:
    """[L, B, n] and bool [L, B] -> float32 [B, n]; 0 where nothing is inside."""
    largest = jnp.where(inside[..., None], x.astype(jnp.float32), -jnp.inf).max(axis=0)
    return jnp.where(inside.any(axis=0)[:, None], largest, 0.0)
