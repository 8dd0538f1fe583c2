"""Hashed n-grams against a plain computation with Python's integers."""

import hashlib

import numpy as np
import pytest

from jax_mlperf.data.ngrams import hashed_sets, tokenize
from jax_mlperf.data.review_words import number_words

MASK = 2**64 - 1


def bucket(words, buckets_log2) -> int:
    folded = 0
    for word in words:
        folded = (folded * 0x9E3779B97F4A7C15 + int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")) & MASK
    for shift, factor in ((30, 0xBF58476D1CE4E5B9), (27, 0x94D049BB133111EB), (31, 1)):
        folded = ((folded ^ folded >> shift) * factor) & MASK
    return folded % 2**buckets_log2


def test_tokens():
    assert tokenize(b"It's GOOD!!<BR /><br />Is it? \xc3\x89a_b, 10/10... <i>") == \
        b"it's good ! ! is it ? a b 10 10 . . . i".split()


@pytest.mark.parametrize("order", [1, 2, 3])
@pytest.mark.parametrize("buckets_log2", [3, 22, 32])
def test_sets_are_those_of_the_plain_rule(order, buckets_log2, monkeypatch):
    monkeypatch.setattr("jax_mlperf.data.ngrams._REVIEWS_AT_ONCE", 4)
    rng = np.random.default_rng(order)
    texts = [[b"w%d" % word for word in rng.integers(0, 5, size)] for size in (9, 1, 2, 0, 30, 0, 3, 1, 12)]
    buckets, sizes = hashed_sets(number_words(texts), order, buckets_log2)
    expected = [sorted({bucket(text[start : start + length], buckets_log2) for length in range(1, order + 1)
                        for start in range(len(text) - length + 1)}) for text in texts]
    assert buckets.dtype == np.uint32 and sizes.tolist() == [len(each) for each in expected]
    assert buckets.tolist() == [number for each in expected for number in each]


def test_the_hash_is_written_in_stone():
    """Models are kept: the buckets of a known review must never move."""
    buckets, _ = hashed_sets(number_words([[b"not", b"good"]]), 2, 22)
    assert buckets.tolist() == [1112640, 2287029, 2389997]


def test_word_order_counts():
    buckets, sizes = hashed_sets(number_words([[b"not", b"good"], [b"good", b"not"]]), 2, 22)
    assert sizes.tolist() == [3, 3] and len(set(buckets.tolist())) == 4


def test_no_texts():
    buckets, sizes = hashed_sets(number_words([]), 2, 22)
    assert len(buckets) == len(sizes) == 0
