"""Beam search against a Markov chain, exhaustive search and a greedy loop."""

import itertools
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.beam_search import (
    EOS,
    Cache,
    ancestry_mask,
    beam_search,
    length_norm,
    new_ancestry,
    record_ancestry,
)

MARKOV_TABLE = 2 * np.sin(3 * np.arange(5)[:, None] + 5 * np.arange(5))  # [previous, token]


def markov(table, ids, cache, index):
    """Logits that depend on the previous token only; `table` [V, V], or [B, V, V]: a chain per sentence."""
    if table.ndim == 2:
        return table[ids], cache
    return jax.vmap(lambda rows, previous: rows[previous])(table, ids), cache


@partial(jax.jit, static_argnames=("beams", "length", "alpha", "early_stop", "batch"))
def search(table, batch=1, beams=4, length=12, alpha=0.6, early_stop=True):
    return beam_search(
        partial(markov, table), Cache((), ()), batch=batch, beams=beams, max_length=length, alpha=alpha,
        early_stop=early_stop,
    )  # fmt: skip


def tokens(ids) -> list[int]:
    return np.trim_zeros(np.asarray(ids), "b").tolist()


def all_sentences(table: np.ndarray, length: int, alpha: float) -> list[tuple[float, list[int]]]:
    """Every sentence that ends in EOS within `length`, best first."""
    log_probs = table - np.log(np.exp(table).sum(-1, keepdims=True))
    others = [token for token in range(len(table)) if token != EOS]
    scored = []
    for size in range(length):
        for words in itertools.product(others, repeat=size):
            sentence = [*words, EOS]
            total = sum(log_probs[a, b] for a, b in itertools.pairwise([0, *sentence]))
            scored.append((total / ((5 + len(sentence)) / 6) ** alpha, sentence))
    return sorted(scored, reverse=True)


FIRST_THREE = [[4, 3, 1], [3, 1], [4, 4, 3, 1]]


@pytest.mark.parametrize(
    ("alpha", "scores", "fourth"),
    [
        (0.6, [-1.310200, -1.435219, -2.254156, -2.968871], [4, 3, 0, 4, 3, 1]),
        (0.0, [-1.557044, -1.574295, -2.875006, -4.192967], [4, 4, 4, 3, 1]),
        (1.0, [-1.167783, -1.349396, -1.916670, -2.329672], [4, 3, 0, 4, 3, 1]),
    ],
)
def test_markov_chain(alpha, scores, fourth):
    result = search(jnp.asarray(MARKOV_TABLE, jnp.float32), alpha=alpha)
    assert [tokens(ids) for ids in result.ids[0]] == [*FIRST_THREE, fourth]
    np.testing.assert_allclose(result.scores[0], scores, atol=2e-6)


@pytest.mark.parametrize(
    ("length", "norm"),
    [(1, 1.0), (2, 1.096903), (10, 1.732862), (20, 2.354362), (50, 3.778565), (147, 6.953691)],
)
def test_length_norm(length, norm):
    assert float(length_norm(length, 0.6)) == pytest.approx(norm, rel=1e-6)


def test_wide_beam_equals_exhaustive_search():
    """With as many beams as hypotheses nothing is pruned: the best results are the true ones."""
    rng = np.random.default_rng(0)
    tables = rng.normal(size=(6, 5, 5)) * 2
    tables[:, :, 0] = -30.0  # the start is no word: sentences that go around a circle would tie
    result = search(jnp.asarray(tables, jnp.float32), batch=6, beams=27, length=4, early_stop=False)
    for table, ids, scores in zip(tables, result.ids, result.scores, strict=True):
        expected = all_sentences(table, 4, 0.6)[:10]
        assert [tokens(row) for row in ids[:10]] == [sentence for _, sentence in expected]
        np.testing.assert_allclose(scores[:10], [score for score, _ in expected], rtol=1e-5)


@pytest.fixture(scope="module")
def random_tables() -> np.ndarray:
    return np.random.default_rng(1).normal(size=(16, 7, 7)) * 1.5


def test_one_beam_is_greedy(random_tables):
    """One beam follows the best token; an EOS that is second best is kept aside, and may win in the end."""
    result = search(
        jnp.asarray(random_tables, jnp.float32), batch=16, beams=1, length=8, alpha=0.0, early_stop=False
    )
    for table, ids in zip(random_tables, result.ids[:, 0], strict=True):
        log_probs = table - np.log(np.exp(table).sum(-1, keepdims=True))
        words, total, endings = [0], 0.0, []
        for _ in range(8):
            row = log_probs[words[-1]]
            if EOS in np.argsort(row)[-2:]:
                endings.append((total + row[EOS], [*words[1:], EOS]))
            best = max((token for token in range(7) if token != EOS), key=lambda token: row[token])
            total, words = total + row[best], [*words, best]
        assert tokens(ids) == (max(endings)[1] if endings else np.trim_zeros(words[1:], "b"))


def test_early_stop_keeps_the_best(random_tables):
    tables = jnp.asarray(random_tables, jnp.float32)
    stopped = search(tables, batch=16, length=20)
    full = search(tables, batch=16, length=20, early_stop=False)
    np.testing.assert_array_equal(stopped.ids[:, 0], full.ids[:, 0])
    np.testing.assert_array_equal(stopped.scores[:, 0], full.scores[:, 0])


def test_rows_do_not_influence_each_other(random_tables):
    tables = jnp.asarray(random_tables, jnp.float32)
    together = search(tables, batch=16, length=20)
    for row in (0, 7, 15):
        alone = search(tables[row : row + 1], length=20)
        np.testing.assert_array_equal(alone.ids[0], together.ids[row])
        np.testing.assert_array_equal(alone.scores[0], together.scores[row])


def test_steps_taken_when_stopping_early():
    """A chain that ends at once needs few steps: the index of the last call is seen by the model."""
    table = jnp.full((5, 5), -8.0).at[:, EOS].set(8.0)

    def counting(ids, cache, index):
        return table[ids], Cache((), cache.shared + 1)

    def steps(early_stop):
        seen = []

        def decode(ids, cache, index):
            jax.debug.callback(lambda i: seen.append(int(i)), index)
            return counting(ids, cache, index)

        beam_search(
            decode, Cache((), jnp.int32(0)), batch=2, beams=2, max_length=30, alpha=0.6, early_stop=early_stop
        ).ids.block_until_ready()
        jax.effects_barrier()
        return len(seen)

    assert steps(True) < 4 and steps(False) == 30


def test_nothing_finished_returns_the_best_alive():
    table = jnp.zeros((4, 4)).at[:, EOS].set(-1e9).at[:, 3].set(5.0)
    result = search(table, beams=2, length=6)
    log_prob = 6 * (5 - np.log(np.exp(5) + 2))
    assert tokens(result.ids[0, 0]) == [3] * 6
    assert float(result.scores[0, 0]) == pytest.approx(log_prob / float(length_norm(6, 0.6)), rel=1e-5)


@pytest.mark.slow
def test_cache_follows_its_hypothesis():
    """A model that reads its whole history from `beams` and, through the ancestry, from `shared`."""
    batch, beams, length, vocab = 3, 4, 6, 6
    weights = jnp.asarray(
        np.random.default_rng(3).normal(size=(batch, length, vocab, vocab)) * 2, jnp.float32
    )

    def logits(counted):  # counted [B, K, L, V]: the one-hot history
        return jnp.einsum("bklv,blvw->bkw", counted, weights)

    def by_copy(ids, cache, index):
        history = cache.beams.at[:, :, index].set(jax.nn.one_hot(ids, vocab))
        return logits(history), Cache(history, ())

    def by_ancestry(ids, cache, index):
        ancestry = record_ancestry(cache.beams, index)
        shared = cache.shared.at[:, index].set(jax.nn.one_hot(ids, vocab))  # [B, L, K, V]
        mask = ancestry_mask(ancestry, index).astype(jnp.float32)
        return logits(jnp.einsum("bklj,bljv->bklv", mask, shared)), Cache(ancestry, shared)

    run = partial(beam_search, batch=batch, beams=beams, max_length=length, alpha=0.6)
    copied = run(by_copy, Cache(jnp.zeros((batch, beams, length, vocab)), ()))
    shared = run(
        by_ancestry, Cache(new_ancestry(batch, beams, length), jnp.zeros((batch, length, beams, vocab)))
    )
    np.testing.assert_array_equal(copied.ids, shared.ids)
    np.testing.assert_allclose(copied.scores, shared.scores, rtol=1e-6)
    # Each result's score is that of its own tokens, so histories were not mixed up.
    for row in range(batch):
        sentence = tokens(copied.ids[row, 0])
        history, total = [0], 0.0
        for token in sentence:
            state = sum(np.asarray(weights[row, i, word], np.float64) for i, word in enumerate(history))
            total += state[token] - np.log(np.exp(state).sum())
            history.append(token)
        assert float(copied.scores[row, 0]) == pytest.approx(
            total / float(length_norm(len(sentence), 0.6)), rel=1e-4
        )
