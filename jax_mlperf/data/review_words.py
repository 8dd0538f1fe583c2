"""The closed model's words: tokens as paddle.dataset.imdb makes them, and the vocabulary of the frequent ones.

Texts are bytes and stay so, as in the reference: only ASCII letters are lower-cased and only ASCII white space separates, so
a text in any encoding, or in none, is read. HTML is not removed: `<br />` becomes the word `br` or part of a neighbour.
"""

import string
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

UNKNOWN = b"<unk>"  # no word is spelt like this: punctuation is deleted
_PUNCTUATION = string.punctuation.encode()


class Numbered(NamedTuple):
    """Words as numbers 0.. in the order of their first appearance.

    Attributes:
      words: the distinct ones; number i is words[i].
      numbers: int32 [tokens], the texts' words one after another.
      lengths: int64 [texts], tokens of each.
    """

    words: list[bytes]
    numbers: np.ndarray
    lengths: np.ndarray


class _Numbering(dict[bytes, int]):
    """Gives each new key the next number; a lookup costs one C call."""

    def __missing__(self, word: bytes) -> int:
        number = self[word] = len(self)
        return number


def tokenize(text: bytes) -> list[bytes]:
    """The words of a review (`PaddlePaddle/Paddle:python/paddle/dataset/imdb.py`, tokenize)."""
    return text.rstrip(b"\n\r").translate(None, _PUNCTUATION).lower().split()


def number_words(tokens: Iterable[Sequence[bytes]]) -> Numbered:
    """Numbers the words of each text."""
    numbering = _Numbering()
    parts = [np.zeros(0, np.int32)]
    parts += [np.fromiter(map(numbering.__getitem__, words), np.int32, len(words)) for words in tokens]
    return Numbered(list(numbering), np.concatenate(parts), np.array([len(part) for part in parts[1:]], np.int64))


def vocabulary(numbered: Numbered, cutoff: int) -> tuple[list[bytes], np.ndarray]:
    """The words that occur more than `cutoff` times, the most frequent first, equals by spelling; UNKNOWN is the last.

    Returns:
      the vocabulary, and int64 [distinct words]: the id of each numbered word, UNKNOWN's where it is too rare.
    """
    counts = np.bincount(numbered.numbers, minlength=len(numbered.words)).tolist()
    kept = sorted((-count, word, number)
                  for number, (word, count) in enumerate(zip(numbered.words, counts, strict=True)) if count > cutoff)
    ids = np.full(len(numbered.words), len(kept), np.int64)
    ids[[number for _, _, number in kept]] = np.arange(len(kept))
    return [*(word for _, word, _ in kept), UNKNOWN], ids
