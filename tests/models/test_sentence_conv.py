"""The convolution model: counts of the specification, table look-ups against a plain convolution, words left out of the tables."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.models.network import Network
from jax_mlperf.models.sentence_conv import SentenceConv
from jax_mlperf.ops.ragged import Ragged

VOCAB, EMBEDDING, FILTERS = 13, 6, 5
LENGTHS = (7, 1, 12)


def network(vocab_size, **sizes):
    return Network(lambda rngs: SentenceConv(vocab_size, **sizes, rngs=rngs))


def small(**options):
    return network(VOCAB, embedding=EMBEDDING, filters=FILTERS, **options)


@pytest.fixture(scope="module")
def params():
    """Of order 1, biases too, so that none of them can be left out."""
    params, _ = jax.eval_shape(small().init, jax.random.key(0))
    rng = np.random.default_rng(1)
    return jax.tree.map(lambda leaf: rng.normal(0, 0.4, leaf.shape).astype(np.float32), params)


@pytest.fixture(scope="module")
def reviews():
    tokens = np.random.default_rng(0).integers(0, VOCAB, sum(LENGTHS)).astype(np.uint16)
    return Ragged(jnp.asarray(tokens), jnp.asarray(np.cumsum((0, *LENGTHS[:-1])), jnp.int32), jnp.asarray(LENGTHS, jnp.int32))


def logits(params, reviews, **options):
    return jax.jit(lambda params: small(**options).bound(params, {})(reviews))(params)


@pytest.mark.parametrize(("vocab", "embedding", "filters", "count"), [(5_147, 1024, 1024, 12_616_706), (1_000, 32, 64, 46_722)])
def test_parameter_counts(vocab, embedding, filters, count):
    params, _ = jax.eval_shape(network(vocab, embedding=embedding, filters=filters).init, jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(params)) == count
    assert count == vocab * embedding + 7 * embedding * filters + 2 * filters + 4 * filters + 2


@pytest.mark.slow
def test_initial_values():
    params, _ = jax.jit(network(5_147).init)(jax.random.key(1))
    for name, limit in (("embedding", 0.031182), ("kernel_a", 0.038273), ("kernel_b", 0.034233), ("output_a", 0.076472)):
        assert float(jnp.abs(params[name]).max()) == pytest.approx(limit, rel=1e-3), name
        assert float(params[name].std()) == pytest.approx(limit / 3**0.5, rel=0.05), name
    assert all(not params[name].any() for name in ("bias_a", "bias_b", "output_bias"))


def plain_logits(params, reviews):
    """The network as the reference states it: convolution, ELU, maximum over time, linear layer; in NumPy."""
    params = jax.tree.map(np.asarray, params)
    rows = []
    for start, length in zip(reviews.starts, reviews.lengths, strict=True):
        words = params["embedding"][np.asarray(reviews.tokens)[start:start + length]]
        logits = params["output_bias"]
        for part, before, after in (("a", 1, 1), ("b", 2, 1)):
            padded = np.pad(words, ((before, after), (0, 0)))
            kernel = params[f"kernel_{part}"]
            at = np.array([sum(padded[t + k] @ kernel[k] for k in range(len(kernel))) for t in range(length)]) + params[f"bias_{part}"]
            activated = np.where(at > 0, at, np.expm1(at))
            logits = logits + activated.max(axis=0) @ params[f"output_{part}"]
        rows.append(logits)
    return np.array(rows)


@pytest.mark.parametrize("distinct_rows", [0, 12, 3], ids=["all words", "words of the batch", "more words than rows"])
def test_the_tables_are_the_convolution(params, reviews, distinct_rows):
    assert 3 < len(np.unique(reviews.tokens)) <= 12
    found = logits(params, reviews, distinct_rows=distinct_rows)
    np.testing.assert_allclose(found, plain_logits(params, reviews), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_gradients_do_not_depend_on_the_words_in_the_tables(params, reviews):
    def gradients(distinct_rows):
        return jax.jit(jax.grad(lambda params: jnp.sum(jnp.sin(small(distinct_rows=distinct_rows).bound(params, {})(reviews)))))(params)

    all_words, few_words = gradients(0), gradients(12)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), all_words, few_words)
    assert all(leaf.any() for leaf in jax.tree.leaves(all_words)), "gradient reaches every parameter"
    absent = np.setdiff1d(np.arange(VOCAB), reviews.tokens)
    assert len(absent) and not all_words["embedding"][absent].any()


def test_bfloat16_is_near(params, reviews):
    near, exact = logits(params, reviews, dtype=jnp.bfloat16), plain_logits(params, reviews)
    assert 1e-5 < np.abs(near - exact).max() < 0.02 * np.abs(exact).max() and near.dtype == jnp.float32
    state, _ = jax.eval_shape(small(dtype=jnp.bfloat16).init, jax.random.key(0))
    assert all(leaf.dtype == jnp.float32 for leaf in jax.tree.leaves(state))
