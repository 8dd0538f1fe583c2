"""Attention against a loop in NumPy, forward and backward; dropout and the choice of implementation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.attention import attention

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


def test_cudnn_with_dropout_is_refused():
    with pytest.raises(ValueError, match="no dropout"):
        attention(
            *qkv(T, S), query_segmentation=jnp.asarray(TARGETS), key_segmentation=jnp.asarray(SOURCES),
            dropout_rate=0.1, dropout_key=jax.random.key(0), implementation="cudnn",
        )  # fmt: skip
