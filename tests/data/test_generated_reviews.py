"""The generated reviews: their figures are those of sentiment.md of the specification, section 12."""

import numpy as np
import pytest

from jax_mlperf.data import ngrams, review_words
from jax_mlperf.data.generated_reviews import NEGATOR, SENTIMENT, WORDS, Drawn, draw, generate, spelling

NUMBERS = {spelling(word): word for word in range(WORDS)}


@pytest.fixture(scope="module")
def drawn() -> Drawn:
    return draw(4000, seed=0)


def text_polarity(ids, *, negation: bool) -> int:
    """Negative less positive words, with the opposite polarity behind a negator if that counts."""
    score = 0
    for previous, word in zip([-1, *ids], ids, strict=False):
        sign = int(word in SENTIMENT[1]) - int(word in SENTIMENT[0])
        score += -sign if negation and previous == NEGATOR else sign
    return score


def accuracy(scores, labels) -> float:
    return float(np.where(scores == 0, 0.5, (scores > 0) == labels).mean())


def test_word_order_decides(drawn):
    events = np.array([2 * each.sum() - len(each) for each in drawn.polarities])
    effective = np.array([text_polarity(ids.tolist(), negation=True) for ids in drawn.ids])
    surface = np.array([text_polarity(ids.tolist(), negation=False) for ids in drawn.ids])
    np.testing.assert_array_equal(effective, events)  # what is written is what was drawn
    assert accuracy(effective, drawn.labels) == pytest.approx(0.953, abs=0.008)
    assert accuracy(surface, drawn.labels) == pytest.approx(0.69, abs=0.015)


def test_lengths_labels_and_events(drawn):
    lengths = np.array([len(ids) for ids in drawn.ids])
    assert lengths.min() == 12 and lengths.max() == 200 and np.median(lengths) == pytest.approx(np.exp(3.7), abs=1)
    assert np.bincount(drawn.labels).tolist() == [2000, 2000]
    assert [len(each) for each in drawn.polarities] == [max(5, int(0.15 * length)) for length in lengths]
    agreeing = np.concatenate([each == label for each, label in zip(drawn.polarities, drawn.labels, strict=True)])
    assert agreeing.mean() == pytest.approx(0.8, abs=0.01)
    ids = np.concatenate(drawn.ids)
    assert (ids == NEGATOR).sum() / len(agreeing) == pytest.approx(0.35, abs=0.01)
    counts = np.bincount(ids, minlength=WORDS)
    assert len(counts) == WORDS and counts.min() > 0
    assert counts[0] / counts[9] == pytest.approx(10, rel=0.1)  # Zipf(1)


def test_spellings_survive_both_tokenizers(drawn):
    assert len(NUMBERS) == WORDS
    reviews = generate(30, seed=0)
    expected = draw(30, seed=0)
    for tokenize in (review_words.tokenize, ngrams.tokenize):
        for text, ids in zip(reviews.texts, expected.ids, strict=True):
            assert [NUMBERS[word] for word in tokenize(text)] == ids.tolist()
    np.testing.assert_array_equal(reviews.labels, expected.labels)
    assert generate(30, seed=1).texts != reviews.texts
