"""Parameter trees of BERTs without the network: shapes by the layout of models/bert.py, and random values."""

import jax
import numpy as np

TINY = {"vocab": 11, "hidden": 8, "layers": 2, "ffn": 16, "positions": 6}  # of the spec's golden forward pass
LARGE = {"vocab": 30_522, "hidden": 1024, "layers": 24, "ffn": 4096, "positions": 512}


def shapes(*, vocab, hidden, layers, ffn, positions):
    """The nested dict of ShapeDtypeStructs, float32."""
    def dense(size, out):
        return {"kernel": (size, out), "bias": (out,)}

    norm = {"scale": (hidden,), "bias": (hidden,)}
    square = dense(hidden, hidden)
    layer = {"query": square, "key": square, "value": square, "attention_output": square, "attention_norm": norm,
             "intermediate": dense(hidden, ffn), "output": dense(ffn, hidden), "output_norm": norm}
    tree = {"embeddings": {"word": (vocab, hidden), "position": (positions, hidden), "token_type": (2, hidden), "norm": norm},
            "layers": dict.fromkeys(range(layers), layer), "pooler": square, "transform": square, "transform_norm": norm,
            "masked_lm_bias": (vocab,), "next_sentence": {"kernel": (2, hidden), "bias": (2,)}}
    return jax.tree.map(lambda shape: jax.ShapeDtypeStruct(shape, np.float32), tree, is_leaf=lambda node: isinstance(node, tuple))


def random_params(sizes, seed=0):
    """Random values for all arrays, so that no two are equal."""
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda leaf: rng.normal(size=leaf.shape).astype(np.float32), shapes(**sizes))


def assert_same(left, right):
    """Equal trees: keys, dtypes and all values."""
    assert jax.tree.structure(left) == jax.tree.structure(right)
    for ours, theirs in zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True):
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)
