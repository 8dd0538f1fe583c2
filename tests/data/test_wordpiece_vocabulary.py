"""Vocabularies by hand, against counting anew at each step, and on real text."""

from collections import Counter
from itertools import pairwise

import pytest

from jax_mlperf.data.articles import read_articles
from jax_mlperf.data.wordpiece import SPECIAL_WORDS, WordPiece, split_words
from jax_mlperf.data.wordpiece_vocabulary import build_vocabulary


def test_by_hand():
    # Pairs: (l, ##o) 5, (##o, ##w) 5, (##w, ##e) 3, (##e, ##r) 3, (n, ##o) 1. The first tie goes to "##o" before "l".
    counts = {"low": 2, "lower": 3, "no": 1}
    alphabet = ["##e", "##o", "##r", "##w", "l", "n"]
    assert build_vocabulary(counts, 100) == [*SPECIAL_WORDS, *alphabet, "##ow", "low", "##er", "lower"]
    assert build_vocabulary(counts, 13) == [*SPECIAL_WORDS, *alphabet, "##ow", "low"]
    assert build_vocabulary(counts, 3) == [*SPECIAL_WORDS, *alphabet]  # the alphabet is kept whole
    assert build_vocabulary(counts, 100, min_count=1)[-1] == "no"
    assert build_vocabulary({}, 10) == list(SPECIAL_WORDS)


def _recounted(word_counts, size):
    """The same rule, all pairs counted anew at each step."""
    words = {word: [word[0], *("##" + letter for letter in word[1:])] for word in word_counts}
    vocabulary = [*SPECIAL_WORDS, *sorted({piece for pieces in words.values() for piece in pieces})]
    while len(vocabulary) < size:
        pairs = Counter()
        for word, pieces in words.items():
            for pair in pairwise(pieces):
                pairs[pair] += word_counts[word]
        pair = min((pair for pair in pairs if pairs[pair] >= 2), key=lambda pair: (-pairs[pair], pair), default=None)
        if pair is None:
            break
        joined = pair[0] + pair[1][2:]
        vocabulary += [joined] if joined not in vocabulary else []
        for word, pieces in words.items():
            merged, place = [], 0
            while place < len(pieces):
                both = tuple(pieces[place:place + 2]) == pair
                merged.append(joined if both else pieces[place])
                place += 2 if both else 1
            words[word] = merged
    return vocabulary


@pytest.mark.parametrize("text", ["a b aa aaa aaaa aaaaa abab ababab baba bbaa abba",
                                  "the then them they this these those there thereby other others another mother bother"])
def test_counts_kept_up_to_date_are_the_true_ones(text):
    counts = Counter(text.split() * 2)
    assert build_vocabulary(counts, 60) == _recounted(counts, 60)
    assert build_vocabulary(dict(reversed(counts.items())), 60) == build_vocabulary(counts, 60)


def test_real_text(shared_data):
    path = shared_data / "wikitext-2" / "valid.txt"
    if not path.exists():
        pytest.skip(f"no {path}")
    sentences = [sentence for article in read_articles(path)[:3] for sentence in article]
    counts = Counter(word for sentence in sentences for word in split_words(sentence))
    vocabulary = build_vocabulary(counts, 500)
    assert len(vocabulary) == 500
    assert {"the", "of", "and", "##ing"} <= set(vocabulary)
    wordpiece = WordPiece(vocabulary)
    ids = [wordpiece.encode(sentence) for sentence in sentences]
    assert not any(wordpiece.unk_id in sentence for sentence in ids)
    assert sum(map(len, ids)) < 2 * sum(counts.values())
