"""Builds a WordPiece vocabulary by joining the most frequent pair of neighbouring pieces again and again."""

import heapq
from collections import defaultdict
from collections.abc import Mapping
from itertools import pairwise

from jax_mlperf.data.wordpiece import CONTINUATION, SPECIAL_WORDS

Pair = tuple[str, str]


def build_vocabulary(word_counts: Mapping[str, int], size: int, min_count: int = 2) -> list[str]:
    """The special entries, the whole alphabet in order, then joined pieces, the most frequent pair first.

    Byte-pair encoding (Sennrich et al., arXiv:1508.07909) with WordPiece's marks: a character opens a word or, with "##", goes on
    in it. Equally frequent pairs are joined in the order of their text, so equal counts give equal vocabularies.

    Args:
      word_counts: lower-cased words and single punctuation marks (`wordpiece.split_words`) and how often each occurs.
      size: entries wanted. There are more where the alphabet alone takes more, fewer where no pair is left.
      min_count: a pair that occurs less often is not joined.
    """
    pieces = _Pieces(word_counts)
    vocabulary = [*SPECIAL_WORDS, *sorted(pieces.alphabet)]
    known = set(vocabulary)
    while len(vocabulary) < size and (pair := pieces.most_frequent(min_count)):
        joined = pieces.join(pair)
        if joined not in known:  # two pairs may give the same piece
            known.add(joined)
            vocabulary.append(joined)
    return vocabulary


class _Pieces:
    """All words cut in pieces, and the counts of neighbouring pairs of them, kept up to date as pairs are joined."""

    def __init__(self, word_counts: Mapping[str, int]):
        self._words = [[word[0], *(CONTINUATION + character for character in word[1:])] for word in word_counts if word]
        self._occurrences = [count for word, count in word_counts.items() if word]
        self._counts: dict[Pair, int] = defaultdict(int)
        self._places: dict[Pair, set[int]] = defaultdict(set)  # words that hold the pair, or held it once
        for place, word in enumerate(self._words):
            self._count(place, word, 1)
        self._heap = [(-count, pair) for pair, count in self._counts.items()]
        heapq.heapify(self._heap)
        self.alphabet = {piece for word in self._words for piece in word}

    def most_frequent(self, min_count: int) -> Pair | None:
        """The pair to join next; None when none is frequent enough.

        A pair's count in the heap may be too high: then it goes back with the right one.
        """
        while self._heap:
            count, pair = self._heap[0]
            actual = self._counts[pair]
            if actual == -count:
                return pair if actual >= min_count else None
            heapq.heapreplace(self._heap, (-actual, pair))
        return None

    def join(self, pair: Pair) -> str:
        """Joins the pair wherever it stands; the new piece."""
        first, second = pair
        joined = first + second.removeprefix(CONTINUATION)
        changed: set[Pair] = set()
        for place in self._places.pop(pair):
            word = self._words[place]
            self._count(place, word, -1)
            changed |= self._count(place, _join(word, first, second, joined), 1)
        for new in changed:
            heapq.heappush(self._heap, (-self._counts[new], new))
        return joined

    def _count(self, place: int, word: list[str], sign: int) -> set[Pair]:
        """Sets a word's pieces and counts their pairs, or takes the counts back; the pairs."""
        self._words[place] = word
        occurrences = sign * self._occurrences[place]
        pairs = list(pairwise(word))
        for pair in pairs:
            self._counts[pair] += occurrences
            if sign > 0:
                self._places[pair].add(place)
        return set(pairs)


def _join(word: list[str], first: str, second: str, joined: str) -> list[str]:
    pieces: list[str] = []
    for piece in word:
        if piece == second and pieces and pieces[-1] == first:
            pieces[-1] = joined
        else:
            pieces.append(piece)
    return pieces
