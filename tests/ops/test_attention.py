"""Attention against a loop in NumPy, forward and backward; dropout and the choice of implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.attention import attention
from jax_mlperf.ops.dropout import dropout

B, T, S, H, D = 2, 5, 6, 2, 4
TARGETS = np.array([[1, 1, 2, 2, 0], [1, 1, 1, 1, 1]])
SOURCES = np.array([[1, 1, 1, 2, 2, 0], [1, 1, 1, 1, 0, 0]])


def qkv(queries: int, keys: int, dtype=jnp.float32):
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=(B, n, H, D)), dtype) for n in (queries, keys, keys)]


def by_loops(query, key, value, query_segments, key_segments, causal):
    query, key, value = (np.asarray(x, np.float64) for x in (query, key, value))
    out = np.zeros(query.shape)
    for b, t, h in np.ndindex(*query.shape[:3]):
        seen = [
            s
            for s in range(key.shape[1])
            if key_segments[b, s] == query_segments[b, t] and (not causal or s <= t)
        ]
        weights = np.exp([query[b, t, h] @ key[b, s, h] / np.sqrt(D) for s in seen])
        out[b, t, h] = sum(w * value[b, s, h] for w, s in zip(weights / weights.sum(), seen, strict=True))
    return out


@pytest.mark.parametrize(("keys", "causal"), [(SOURCES, False), (TARGETS, False), (TARGETS, True)])
def test_against_loops(keys, causal):
    arrays = qkv(T, keys.shape[1])
    out = attention(
        *arrays, query_segmentation=jnp.asarray(TARGETS), key_segmentation=jnp.asarray(keys), causal=causal
    )
    np.testing.assert_allclose(out, by_loops(*arrays, TARGETS, keys, causal), atol=1e-6)


def plain(query, key, value, mask):
    logits = jnp.where(mask, jnp.einsum("bthd,bshd->bhts", query, key) / D**0.5, -1e9)
    return jnp.einsum("bhts,bshd->bthd", jax.nn.softmax(logits), value)


@pytest.mark.slow
def test_gradients_equal_automatic_ones():
    arrays = qkv(T, T)
    segments = jnp.asarray(TARGETS)
    mask = (segments[:, None, :, None] == segments[:, None, None, :]) & np.tri(T, dtype=bool)
    probe = jnp.asarray(np.random.default_rng(1).normal(size=(B, T, H, D)), jnp.float32)

    def ours(*arrays):
        return (
            attention(*arrays, query_segmentation=segments, key_segmentation=segments, causal=True) * probe
        ).sum()

    gradients = jax.grad(ours, argnums=(0, 1, 2))(*arrays)
    expected = jax.grad(lambda *arrays: (plain(*arrays, mask) * probe).sum(), argnums=(0, 1, 2))(*arrays)
    for gradient, wanted in zip(gradients, expected, strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=2e-6)


def test_products_and_saved_probabilities_are_16_bit():
    """No float32 matrix product in either pass of a bfloat16 attention, except for the logits."""
    arrays = qkv(T, S, jnp.bfloat16)

    def loss(*arrays):
        out = attention(
            *arrays, query_segmentation=jnp.asarray(TARGETS), key_segmentation=jnp.asarray(SOURCES)
        )
        return out.astype(jnp.float32).sum()

    jaxpr = str(jax.make_jaxpr(jax.grad(loss, argnums=(0, 1, 2)))(*arrays))
    assert jaxpr.count("dot_general") >= 6
    wide = [line for line in jaxpr.splitlines() if "f32[" in line.split("=")[0] and "dot_general" in line]
    assert len(wide) == 1, wide


def test_fully_masked_queries_stay_finite():
    arrays = qkv(T, S)
    out = attention(
        *arrays,
        query_segmentation=jnp.full((B, T), 3),
        key_segmentation=jnp.ones((B, S), jnp.int32),
    )
    assert bool(jnp.isfinite(out).all())


def test_dropout_on_probabilities_is_unbiased_and_only_scales_or_drops():
    rng = np.random.default_rng(2)
    query, key = (jnp.asarray(rng.normal(size=(64, 8, 4, 4)), jnp.float32) for _ in range(2))
    value = jnp.ones_like(key)
    segments = jnp.ones((64, 8), jnp.int32)
    out = attention(
        query, key, value,
        query_segmentation=segments, key_segmentation=segments,
        dropout_rate=0.2, dropout_key=jax.random.key(0),
    )  # fmt: skip
    # The sum of a row's probabilities is 1 on average, and not 1 in every row.
    assert float(out.mean()) == pytest.approx(1.0, abs=0.02)
    assert float(out.std()) > 0.1


def test_causal_needs_a_square():
    with pytest.raises(ValueError, match="as many queries as keys, got 5 and 6"):
        attention(
            *qkv(T, S),
            query_segmentation=jnp.asarray(TARGETS),
            key_segmentation=jnp.asarray(SOURCES),
            causal=True,
        )


@pytest.mark.slow
def test_gradients_with_dropout_equal_automatic_ones():
    """The mask of the backward pass is that of the forward pass, dropped probabilities included."""
    arrays = qkv(T, T)
    segments, dropout_key = jnp.asarray(TARGETS), jax.random.key(3)
    mask = (segments[:, None, :, None] == segments[:, None, None, :])
    probe = jnp.asarray(np.random.default_rng(1).normal(size=(B, T, H, D)), jnp.float32)

    def ours(*arrays):
        return (attention(*arrays, query_segmentation=segments, key_segmentation=segments, dropout_rate=0.4,
                          dropout_key=dropout_key) * probe).sum()

    def automatic(query, key, value):
        logits = jnp.where(mask, jnp.einsum("bthd,bshd->bhts", query, key) / D**0.5, -1e9)
        return (jnp.einsum("bhts,bshd->bthd", dropout(jax.nn.softmax(logits), 0.4, dropout_key), value) * probe).sum()

    found = jax.jit(jax.value_and_grad(ours, argnums=(0, 1, 2)))(*arrays)
    expected = jax.jit(jax.value_and_grad(automatic, argnums=(0, 1, 2)))(*arrays)
    for gradient, wanted in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(gradient, wanted, atol=5e-6)


def test_backward_pass_keeps_one_array_of_probabilities():
    """And no random words or mask: dropped elements have a sign."""
    arrays = qkv(T, S, jnp.bfloat16)

    def vjp(*arrays):
        return jax.vjp(lambda *arrays: attention(
            *arrays, query_segmentation=jnp.asarray(TARGETS), key_segmentation=jnp.asarray(SOURCES),
            dropout_rate=0.1, dropout_key=jax.random.key(0)), *arrays)[1]

    saved = [leaf for leaf in jax.tree.leaves(jax.eval_shape(vjp, *arrays)) if leaf.shape == (B, H, T, S)]
    assert [leaf.dtype for leaf in saved] == [jnp.bfloat16]


def test_cudnn_dropout_has_the_rate_and_the_seed(monkeypatch):
    """The traced call of cuDNN's kernel: one constant seed for each call; nothing runs."""
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.check_cudnn_version", lambda: 91000)
    arrays = [jnp.zeros((2, 8, 2, 8), jnp.bfloat16)] * 3
    segments = jnp.ones((2, 8), jnp.int32)

    def two_calls(*arrays):
        return sum(attention(*arrays, query_segmentation=segments, key_segmentation=segments, dropout_rate=0.1,
                             dropout_key=jax.random.key(0), cudnn_seed=seed, implementation="cudnn").astype(jnp.float32).sum()
                   for seed in (7, 8))

    jaxpr = str(jax.make_jaxpr(jax.grad(two_calls, argnums=(0, 1, 2)))(*arrays))
    assert jaxpr.count("dropout_rate=0.1") == 4  # forward and backward of two
    assert jaxpr.count("seed=7") == jaxpr.count("seed=8") == 2


def test_cudnn_with_dropout_needs_the_private_function(monkeypatch):
    monkeypatch.setattr("jax._src.cudnn.fused_attention_stablehlo.dot_product_attention", lambda query, key, value: value)
    with pytest.raises(ValueError, match=r"private function that JAX .* has changed: use implementation='auto'"):
        attention(
            *qkv(T, S), query_segmentation=jnp.asarray(TARGETS), key_segmentation=jnp.asarray(SOURCES),
            dropout_rate=0.1, dropout_key=jax.random.key(0), implementation="cudnn",
        )  # fmt: skip
