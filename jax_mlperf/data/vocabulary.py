"""Builds a subtoken vocabulary from token counts, as the MLPerf reference's `transformer/utils/tokenizer.py`.

The reference walks every substring of every token in Python dictionaries, about 25 s for 28,000 tokens. Here
the substrings are the nodes of a trie of all token suffixes, made once, so that each of the many rounds is a
few passes over integer arrays.
"""

import os
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jax_mlperf.data.encoding import decode_text
from jax_mlperf.data.subtokenizer import ESCAPE_CHARACTERS, RESERVED, escape, split
from jax_mlperf.errors import UserError

ROUNDS = 4  # rounds of segmenting and counting, as the reference
SEARCH_RANGE = (1, 1000)  # of min_count, as the reference
CHARACTERS_PER_FILE = 100_000_000  # the reference's 1e6 would see only half of Multi30k


def count_tokens(
    paths: Iterable[str | os.PathLike[str]], characters_per_file: int = CHARACTERS_PER_FILE
) -> Counter[str]:
    """Counts the tokens of text files, evenly thinned to about characters_per_file each.

    The reference's rule: skip int(bytes / (2 * budget)) lines, take one, until the budget is used.
    """
    counts: Counter[str] = Counter()
    for path in paths:
        skip = int(Path(path).stat().st_size / (2 * characters_per_file))
        left = characters_per_file
        with open(path, "rb") as file:
            for number, raw in enumerate(file):
                if number % (skip + 1) != skip:
                    continue
                line = decode_text(raw, Path(path)).strip()
                counts.update(split(line))
                left -= len(line)
                if left < 0:
                    break
    return counts


@dataclass(frozen=True)
class _Level:
    """The substrings of one length. A position is a place in the concatenated escaped tokens."""

    positions: np.ndarray  # int64: where a substring of this length starts
    nodes: np.ndarray  # int64, same length: which distinct substring it is
    parents: (
        np.ndarray
    )  # int64 [nodes]: the node one level up that is the substring without its last character
    examples: np.ndarray  # int64 [nodes]: one position where the node starts


class _Substrings:
    """All substrings of the escaped tokens, level by level of their length."""

    def __init__(self, token_counts: Mapping[str, int], alphabet: frozenset[str]):
        tokens = [escape(token, alphabet) for token in token_counts]
        self.text = "".join(tokens)
        sizes = np.array([len(token) for token in tokens], np.int64)
        self.starts = np.cumsum(sizes) - sizes
        self.weights = np.repeat(np.fromiter(token_counts.values(), np.float64, len(tokens)), sizes)
        room = np.repeat(self.starts + sizes, sizes) - np.arange(len(self.text))
        self.levels = list(self._build(room))

    def _build(self, room: np.ndarray) -> Iterable[_Level]:
        codes = np.frombuffer(self.text.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
        _, letters = np.unique(codes, return_inverse=True)
        base = int(letters.max()) + 1
        positions = np.arange(len(codes))
        above = np.zeros(len(codes), np.int64)
        for length in range(1, int(room.max()) + 1):
            keep = room[positions] >= length
            positions, above = positions[keep], above[keep]
            keys, examples, nodes = np.unique(
                above * base + letters[positions + length - 1], return_index=True, return_inverse=True
            )
            yield _Level(positions, nodes, keys // base, positions[examples])
            above = nodes

    def string(self, length: int, node: int) -> str:
        start = int(self.levels[length - 1].examples[node])
        return self.text[start : start + length]

    def segment_starts(self, known: list[np.ndarray]) -> np.ndarray:
        """Marks (bool [positions]) where greedy longest match over known nodes starts a segment."""
        longest = np.ones(len(self.text), np.int64)
        for length, (level, is_known) in enumerate(zip(self.levels, known, strict=False), 1):
            longest[level.positions[is_known[level.nodes]]] = length
        started = np.zeros(len(self.text), bool)
        ends = np.append(self.starts[1:], len(self.text))
        here = self.starts
        while len(here):
            started[here] = True
            here = here + longest[here]
            inside = here < ends
            here, ends = here[inside], ends[inside]
        return started

    def select(self, started: np.ndarray, min_count: int) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Counts every substring from every started segment and picks the entries of the next round.

        From the longest to the shortest, an entry of at least min_count is kept and its count taken off all
        its prefixes.

        Returns:
          which nodes are kept (bool) and their remaining counts (float64, exact integers), one array per
          level.
        """
        weights = self.weights * started
        kept: list[np.ndarray] = []
        remaining: list[np.ndarray] = []
        taken: np.ndarray = np.zeros(len(self.levels[-1].parents))
        for depth in range(len(self.levels) - 1, -1, -1):
            level = self.levels[depth]
            count = np.bincount(level.nodes, weights[level.positions], len(level.parents)) - taken
            keep = count >= min_count
            kept.append(keep)
            remaining.append(count)
            above = len(self.levels[depth - 1].parents) if depth else 1
            taken = np.bincount(level.parents, taken + np.where(keep, count, 0.0), above)
        return kept[::-1], remaining[::-1]


class VocabularyBuilder:
    """Holds the substrings of one set of token counts, for any number of builds.

    Args:
      token_counts: token -> count, of the tokens that `subtokenizer.split` gives.
      reserved: entries put in front, in order, whatever their count.
    """

    def __init__(self, token_counts: Mapping[str, int], reserved: Iterable[str] = RESERVED):
        if not token_counts:
            raise UserError("there is no text to build a vocabulary from: the files are empty")
        self.reserved = list(reserved)
        self.alphabet = (
            frozenset("".join(token_counts)) | frozenset("".join(self.reserved)) | ESCAPE_CHARACTERS
        )
        self._substrings = _Substrings(token_counts, self.alphabet)
        singles = [np.ones(len(self._substrings.levels[0].parents), bool)]
        self._first_starts = self._substrings.segment_starts(singles)

    def build(self, min_count: int) -> list[str]:
        """The entries that occur at least min_count times: reserved, then by (count, string) descending."""
        started = self._first_starts
        for round_number in range(ROUNDS):
            kept, remaining = self._substrings.select(started, min_count)
            if round_number < ROUNDS - 1:
                kept[0][:] = True  # the alphabet is always in the vocabulary
                started = self._substrings.segment_starts(kept)
        counted = {c: 0 for c in self.alphabet}
        for depth, (keep, count) in enumerate(zip(kept, remaining, strict=True)):
            chosen = np.flatnonzero(keep) if depth else np.arange(len(keep))
            counted.update(
                (self._substrings.string(depth + 1, node), int(count[node])) for node in chosen.tolist()
            )
        ordered = sorted(((count, entry) for entry, count in counted.items()), reverse=True)
        return self.reserved + [entry for _, entry in ordered]

    def search(self, target_size: int, tolerance: int) -> list[str]:
        """Bisects min_count for a size within tolerance of target_size, else takes the closest."""
        low, high = SEARCH_RANGE
        best: list[str] = []
        while low <= high:
            min_count = (low + high) // 2
            entries = self.build(min_count)
            if not best or abs(len(entries) - target_size) < abs(len(best) - target_size):
                best = entries
            if abs(len(entries) - target_size) < tolerance or min_count < 2:
                break
            if len(entries) > target_size:
                low = min_count + 1
            else:
                high = min_count - 1
        return best


def build_vocabulary(
    token_counts: Mapping[str, int],
    *,
    target_size: int,
    tolerance: float = 0.01,
) -> list[str]:
    """A vocabulary of about target_size entries.

    Args:
      token_counts: token -> count (`count_tokens`).
      target_size: entries wanted; the search ends within `tolerance` of it (a share; the reference's 327 of
        32,768 is 1 %).

    Returns:
      entries in the order of their ids, `<pad>_` and `<EOS>_` first.

    Raises:
      UserError: target_size is below the number of characters and reserved entries.
    """
    builder = VocabularyBuilder(token_counts)
    if target_size < len(builder.alphabet) + len(RESERVED):
        raise UserError(
            f"vocabulary size {target_size} is below the {len(builder.alphabet)} characters of the text and "
            f"{len(RESERVED)} reserved entries, which it must hold: ask for more"
        )
    return builder.search(target_size, max(1, int(tolerance * target_size)))
