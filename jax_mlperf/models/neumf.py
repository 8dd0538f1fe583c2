"""NeuMF (He et al. 2017, "Neural Collaborative Filtering") as MLPerf v0.5 has it.

Facts: `mlcommons/training:recommendation/pytorch/neumf.py` of October 2018: a generalised matrix factorisation (GMF) beside a
multi-layer perceptron (MLP), each with embeddings of its own. Here the two tables of a side are one.
"""

import itertools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.initializers import fill, normal, uniform
from jax_mlperf.ops.dropout import dropout

TABLES = ("user_embedding", "item_embedding")  # the parameters that pairs look rows up in
_EMBEDDING_DEVIATION = 0.01


class Dense(nnx.Module):
    """Kernel [in, out] and bias [out], zeros until `NeuMF` fills them."""

    def __init__(self, in_features: int, out_features: int) -> None:
        self.kernel = nnx.Param(jnp.zeros((in_features, out_features), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out_features,), jnp.float32))


class Part(NamedTuple):
    """What one side gives to a pair: GMF factors [..., f], and its share of the first hidden layer [..., layers[1]]."""

    factors: jax.Array
    hidden: jax.Array


class NeuMF(nnx.Module):
    """Scores of user-item pairs: a linear layer on the products of the GMF factors and the MLP's last layer.

    Initial values as the reference: embeddings N(0, 0.01^2); MLP kernels Glorot uniform; the last kernel uniform in
    +-sqrt(3 / in); all biases PyTorch's default, uniform in +-1 / sqrt(in). 31,832,577 parameters on MovieLens-20M.

    Args:
      users, items: rows of the tables.
      factors: width f of the GMF embeddings, which are the first columns of both tables.
      layers: widths of the MLP, that of its input (both embeddings together) first.
      dropout_rate: of the products of the GMF factors and of the MLP's hidden layers (open division; 0 in the benchmark).
      dtype: of the matrix products; tables, sums of their gradients and logits are float32.
      rngs: stream "params".

    Raises:
      ValueError: fewer than two layers, or an odd first one.
    """

    def __init__(self, *, users: int, items: int, factors: int, layers: Sequence[int], dropout_rate: float = 0.0,
                 dtype: jax.typing.DTypeLike = jnp.float32, rngs: nnx.Rngs) -> None:
        if len(layers) < 2 or layers[0] % 2:
            raise ValueError(f"layers are {tuple(layers)}; there must be two at least, and the first one even")
        self.factors, self.half, self.dropout_rate, self.dtype = factors, layers[0] // 2, dropout_rate, dtype
        self.user_embedding = nnx.Param(jnp.zeros((users, factors + self.half), jnp.float32))
        self.item_embedding = nnx.Param(jnp.zeros((items, factors + self.half), jnp.float32))
        self.layers = nnx.List([Dense(*widths) for widths in itertools.pairwise(layers)])
        self.output = Dense(factors + layers[-1], 1)
        fill([self.user_embedding, self.item_embedding], normal, [_EMBEDDING_DEVIATION] * 2, rngs.params())
        dense = [*self.layers, self.output]
        limits = [math.sqrt(6 / sum(layer.kernel.shape)) for layer in self.layers]
        limits += [math.sqrt(3 / len(self.output.kernel)), *(1 / math.sqrt(len(layer.kernel)) for layer in dense)]
        fill([*(layer.kernel for layer in dense), *(layer.bias for layer in dense)], uniform, limits, rngs.params())

    def __call__(self, users: jax.Array, items: jax.Array, *, from_tables: bool = False,
                 key: jax.Array | None = None) -> jax.Array:
        """Logits float32 [B] of pairs int32 [B].

        Args:
          users, items: numbers of the rows.
          from_tables: apply the first layer to all rows of the tables and gather the results: the same sums, fewer operations
            where the pairs outnumber the rows; see `first_layer_from_tables`.
          key: random key of dropout; None: no dropout.
        """
        if from_tables:
            return self.score(parted(joined(self.user_part(self.user_embedding[...]))[users], self.factors),
                              parted(joined(self.item_part(self.item_embedding[...]))[items], self.factors), key)
        return self.score(self.user_part(self.user_embedding[users]), self.item_part(self.item_embedding[items]), key)

    def user_part(self, rows: jax.Array) -> Part:
        """Rows [..., f + half] of the user table -> Part float32; the first layer's bias is in it."""
        first = self.layers[0]
        return self._part(rows, first.kernel[: self.half], first.bias[...])

    def item_part(self, rows: jax.Array) -> Part:
        """Rows [..., f + half] of the item table -> Part float32."""
        return self._part(rows, self.layers[0].kernel[self.half:], None)

    def _part(self, rows: jax.Array, kernel: jax.Array, bias: jax.Array | None) -> Part:
        hidden = self._product(rows[..., self.factors:], kernel)
        return Part(rows[..., : self.factors], hidden if bias is None else hidden + bias)

    def score(self, user: Part, item: Part, key: jax.Array | None = None) -> jax.Array:
        """Logits float32 [...] of parts that broadcast against each other; `key` as in `__call__`."""
        keys = [None] * (1 + len(self.layers)) if key is None else jax.random.split(key, 1 + len(self.layers))
        x = dropout(jax.nn.relu(user.hidden + item.hidden).astype(self.dtype), self.dropout_rate, keys[0])
        for layer, layer_key in zip(self.layers[1:], keys[1:], strict=False):
            x = jax.nn.relu(jnp.dot(x, layer.kernel.astype(self.dtype)) + layer.bias.astype(self.dtype))
            x = dropout(x, self.dropout_rate, layer_key)
        kernel = self.output.kernel[:, 0]
        matched = dropout((user.factors * kernel[: self.factors]) * item.factors, self.dropout_rate, keys[-1]).sum(axis=-1)
        return matched + self._product(x, kernel[self.factors:]) + self.output.bias[0]

    def _product(self, x: jax.Array, kernel: jax.Array) -> jax.Array:
        """float32, so that the gradients of rows are added up in float32."""
        return jnp.dot(x.astype(self.dtype), kernel.astype(self.dtype), preferred_element_type=jnp.float32)


def joined(part: Part) -> jax.Array:
    """Both arrays side by side [..., f + layers[1]], so that one gather, and one scatter of gradients, takes both."""
    return jnp.concatenate(part, axis=-1)


def parted(rows: jax.Array, factors: int) -> Part:
    """The inverse of `joined`."""
    return Part(rows[..., :factors], rows[..., factors:])


def forward_flops(factors: int, layers: Sequence[int]) -> int:
    """FLOPs of one pair, two for each multiplication: the matrix products and GMF's elementwise one (213,376 in MLPerf)."""
    products = sum(a * b for a, b in itertools.pairwise(layers))
    return 2 * (products + layers[-1] + 2 * factors)


def first_layer_from_tables(pairs: int, users: int, items: int) -> bool:
    """Whether the first layer takes fewer operations on all rows of both tables than on the rows of each pair."""
    return users + items < 2 * pairs
