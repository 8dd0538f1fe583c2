"""Paddle's tokens and vocabulary rule."""

import collections

import numpy as np
import pytest

from jax_mlperf.data.review_words import UNKNOWN, number_words, tokenize, vocabulary


@pytest.mark.parametrize("text, words", [
    # sentiment.md of the specification, 1.2
    (b"It's a well-made, 10/10 film!<br /><br />I'd say: \"great\"...", b"its a wellmade 1010 filmbr br id say great"),
    (b"...\n\r\n", b""), (b"a\n\r\nb\n", b"a b"), (b"A\x0bB\x0cC\tD", b"a b c d"), (b"<unk>", b"unk"),
    ("É\u00a0ÜBER ZOË".encode(), "É\u00a0Über zoË".encode()),  # only ASCII is lower-cased, only ASCII separates
    (b"caf\xe9 \xff\xfe\x85 X", b"caf\xe9 \xff\xfe\x85 x"),  # Latin-1, and what no encoding has
])
def test_tokens(text, words):
    assert tokenize(text) == ([] if words == b"" else words.split(b" "))


def test_numbers_follow_first_appearance():
    numbered = number_words([[b"b", b"a", b"b"], [], [b"c", b"a"]])
    assert numbered.words == [b"b", b"a", b"c"]
    assert numbered.numbers.tolist() == [0, 1, 0, 2, 1] and numbered.lengths.tolist() == [3, 0, 2]


@pytest.mark.parametrize("cutoff", [0, 3, 10, 1000])
def test_vocabulary_is_that_of_the_plain_rule(cutoff):
    rng = np.random.default_rng(0)
    texts = [[b"w%d" % word for word in rng.zipf(1.5, size) % 60] for size in rng.integers(1, 30, 40)]
    counts = collections.Counter(word for text in texts for word in text)
    expected = sorted((word for word in counts if counts[word] > cutoff), key=lambda word: (-counts[word], word))
    numbered = number_words(texts)
    words, ids = vocabulary(numbered, cutoff)
    assert words == [*expected, UNKNOWN]
    assert ids[numbered.numbers].tolist() == [
        expected.index(word) if word in expected else len(expected) for text in texts for word in text]


def test_the_cutoff_is_strict_and_equals_go_by_spelling():
    numbered = number_words([[b"b"] * 3 + [b"a"] * 3 + [b"c"] * 2 + [b"d"] * 4])
    words, ids = vocabulary(numbered, 2)
    assert words == [b"d", b"a", b"b", UNKNOWN] and ids.tolist() == [2, 1, 3, 0]
