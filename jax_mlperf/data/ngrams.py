"""The open model's features: each review as the sorted set of its distinct n-grams, hashed into 2^k buckets.

The hash is our own and the same on every machine: 64 bits of BLAKE2b for a word, and for an n-gram its words' hashes folded
one after another by multiply and add, then SplitMix64's finaliser (Steele et al. 2014, "Fast splittable pseudorandom number
generators", figure 14). Of this the lowest k bits are the bucket.
"""

import hashlib
import re

import numpy as np

from jax_mlperf.data.review_words import Numbered

_TOKEN = re.compile(rb"[a-z0-9']+|[!?.]")
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2^64 / golden ratio: odd, so that multiplying loses nothing
_REVIEWS_AT_ONCE = 2000


def tokenize(text: bytes) -> list[bytes]:
    """Words, and the marks ! ? . one by one; HTML's line breaks are blanks, all else separates."""
    return _TOKEN.findall(text.lower().replace(b"<br />", b" "))


def hashed_sets(numbered: Numbered, order: int, buckets_log2: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct buckets of the n-grams of 1 to `order` words of each text; none reaches from one text into the next.

    Args:
      numbered: the texts' words.
      order: of the longest n-grams.
      buckets_log2: k, 1 to 32.

    Returns:
      uint32 [sum of set sizes], ascending within each text, and the set sizes, int64 [texts].
    """
    word_hashes = np.array([_word_hash(word) for word in numbered.words], np.uint64)
    ends = np.cumsum(numbered.lengths)
    parts, sizes = [np.zeros(0, np.uint32)], [np.zeros(0, np.int64)]
    for start in range(0, len(numbered.lengths), _REVIEWS_AT_ONCE):
        lengths = numbered.lengths[start : start + _REVIEWS_AT_ONCE]
        end = ends[start + len(lengths) - 1]
        words = word_hashes[numbered.numbers[end - lengths.sum() : end]]
        texts = np.repeat(np.arange(len(lengths), dtype=np.uint64), lengths)
        keys = np.sort(np.concatenate(_keys(words, texts, order, buckets_log2)))
        keys = keys[np.concatenate([[True], keys[1:] != keys[:-1]])] if len(keys) else keys
        parts.append((keys & np.uint64((1 << buckets_log2) - 1)).astype(np.uint32))
        sizes.append(np.bincount((keys >> np.uint64(buckets_log2)).astype(np.int64), minlength=len(lengths)))
    return np.concatenate(parts), np.concatenate(sizes)


def _word_hash(word: bytes) -> int:
    return int.from_bytes(hashlib.blake2b(word, digest_size=8).digest(), "little")


def _keys(words: np.ndarray, texts: np.ndarray, order: int, buckets_log2: int) -> list[np.ndarray]:
    """Text number * 2^k + bucket, for the n-grams of each order that begin at each word."""
    keys = []
    folded = np.zeros_like(words)
    for last in range(min(order, len(words))):  # n-grams of last + 1 words
        count = len(words) - last
        folded = folded[:count] * _GOLDEN + words[last:]
        inside = texts[:count] == texts[last:]
        buckets = _finalised(folded[inside]) & np.uint64((1 << buckets_log2) - 1)
        keys.append(texts[:count][inside] << np.uint64(buckets_log2) | buckets)
    return keys


def _finalised(values: np.ndarray) -> np.ndarray:
    values = (values ^ values >> np.uint64(30)) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ values >> np.uint64(27)) * np.uint64(0x94D049BB133111EB)
    return values ^ values >> np.uint64(31)
