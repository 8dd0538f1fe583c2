"""BERT's pre-training samples: pairs of text segments with masked tokens.

Random numbers are drawn in the order of `retired_benchmarks/bert/cleanup_scripts/create_pretraining_data.py` of the MLPerf
Training reference, so that the same text, settings and seed give the reference's samples.
"""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, product
from typing import NamedTuple

from jax_mlperf.data.wordpiece import WordPiece
from jax_mlperf.errors import UserError

Document = list[list[int]]  # token ids of each sentence

_REDRAWS = 10  # of another document for a random next segment; then the same one may serve
_SPECIAL_TOKENS = 3  # [CLS] A [SEP] B [SEP]


class Example(NamedTuple):
    """One sample: [CLS] A [SEP] B [SEP] as the model sees it, without padding."""

    tokens: list[int]     # ids, masked
    first: int            # tokens up to the first [SEP], it included: those of token type 0
    positions: list[int]  # of the predictions, ascending
    labels: list[int]     # ids that stood there
    random_next: bool     # B is from anywhere, rather than what follows A


@dataclass(frozen=True)
class ExampleSettings:
    """How text becomes samples; the names are the configuration's.

    Raises:
      UserError: a value is out of its range.
    """

    max_sequence_length: int
    max_predictions: int
    masked_lm_prob: float
    dupe_factor: int
    short_seq_prob: float

    def __post_init__(self) -> None:
        for name, least in (("max_sequence_length", _SPECIAL_TOKENS + 2), ("max_predictions", 1), ("dupe_factor", 1)):
            if getattr(self, name) < least:
                raise UserError(f"data.{name} is {getattr(self, name)}: it must be at least {least}")
        for name in ("masked_lm_prob", "short_seq_prob"):
            if not 0 <= getattr(self, name) <= 1:
                raise UserError(f"data.{name} is {getattr(self, name)}: it is a probability, from 0 to 1")


def make_examples(documents: Sequence[Document], settings: ExampleSettings, wordpiece: WordPiece,
                  rng: random.Random) -> list[Example]:
    """All samples of a set of documents, shuffled; each takes about 12 bytes for each of its tokens.

    Args:
      documents: empty sentences, and documents without others, are left out. The lists stay as they are.
      settings: `dupe_factor` passes are made over all documents, with other lengths, pairs and masks.
      wordpiece: whose ids the documents hold.
      rng: as the reference's: `random.Random(12345)` for each of the published parts.
    """
    kept = [sentences for document in documents if (sentences := [sentence for sentence in document if sentence])]
    rng.shuffle(kept)
    generator = _Generator(kept, settings, wordpiece, rng)
    passes = product(range(settings.dupe_factor), range(len(kept)))
    examples = [example for _, index in passes for example in generator.pass_over(index)]
    rng.shuffle(examples)
    return examples


def predictions(length: int, settings: ExampleSettings) -> int:
    """Masked tokens of a sample of `length` tokens, the special ones included; halves round to the even number."""
    return min(settings.max_predictions, max(1, round(length * settings.masked_lm_prob)))


class _Generator:
    """Draws the samples of documents that it holds."""

    def __init__(self, documents: list[Document], settings: ExampleSettings, wordpiece: WordPiece, rng: random.Random):
        self._documents = documents
        self._settings = settings
        self._wordpiece = wordpiece
        self._random, self._getrandbits = rng.random, rng.getrandbits
        self._longest_pair = settings.max_sequence_length - _SPECIAL_TOKENS
        self._places = list(range(settings.max_sequence_length))  # the same integer objects for all samples: less memory
        self._predictions = [predictions(length, settings) for length in range(settings.max_sequence_length + 1)]

    def _below(self, count: int) -> int:
        """A uniform integer in [0, count), by the draws of CPython's `Random.randint` without its three calls."""
        bits = count.bit_length()
        drawn = self._getrandbits(bits)
        while drawn >= count:
            drawn = self._getrandbits(bits)
        return drawn

    def pass_over(self, index: int) -> list[Example]:
        """Samples of one pass over one document: chunks of sentences of the target length, cut in A and B.

        The sentences of a chunk that a random B displaces open the next chunk.
        """
        document = self._documents[index]
        target = self._longest_pair
        if self._random() < self._settings.short_seq_prob:
            target = 2 + self._below(self._longest_pair - 1)
        examples = []
        start = end = length = 0
        while end < len(document):
            length += len(document[end])
            end += 1
            if length < target and end < len(document):
                continue
            count = end - start
            middle = start + (1 if count == 1 else 1 + self._below(count - 1))
            first = list(chain.from_iterable(document[start:middle]))
            random_next = count == 1 or self._random() < 0.5
            if random_next:
                second = self._random_segment(index, target - len(first))
                end = middle
            else:
                second = list(chain.from_iterable(document[middle:end]))
            examples.append(self._example(*self._truncated(first, second), random_next))
            start, length = end, 0
        return examples

    def _random_segment(self, index: int, length: int) -> list[int]:
        """Whole sentences of another document, from a random one on, until there are `length` tokens or it ends."""
        other = index
        for _ in range(_REDRAWS):
            other = self._below(len(self._documents))
            if other != index:
                break
        document = self._documents[other]
        segment: list[int] = []
        for place in range(self._below(len(document)), len(document)):
            segment += document[place]
            if len(segment) >= length:
                break
        return segment

    def _truncated(self, first: list[int], second: list[int]) -> tuple[list[int], list[int]]:
        """Takes single tokens off the front or the back of the longer one, the second on a tie, until both fit."""
        draw = self._random
        first_start, first_end, second_start, second_end = 0, len(first), 0, len(second)
        for _ in range(len(first) + len(second) - self._longest_pair):
            front = draw() < 0.5
            if first_end - first_start > second_end - second_start:
                if front:
                    first_start += 1
                else:
                    first_end -= 1
            elif front:
                second_start += 1
            else:
                second_end -= 1
        return first[first_start:first_end], second[second_start:second_end]

    def _example(self, first: list[int], second: list[int], random_next: bool) -> Example:
        wordpiece = self._wordpiece
        tokens = [wordpiece.cls_id, *first, wordpiece.sep_id, *second, wordpiece.sep_id]
        places = self._places
        candidates = places[1 : len(first) + 1] + places[len(first) + 2 : len(tokens) - 1]
        chosen = self._chosen(candidates, self._predictions[len(tokens)])
        positions = sorted(chosen)
        labels = [tokens[position] for position in positions]
        for position in chosen:
            if self._random() < 0.8:
                tokens[position] = wordpiece.mask_id
            elif self._random() >= 0.5:  # else it stays as it is
                tokens[position] = self._below(wordpiece.vocab_size)
        return Example(tokens, len(first) + 2, positions, labels, random_next)

    def _chosen(self, candidates: list[int], count: int) -> list[int]:
        """The first `count` of the candidates, shuffled by the draws of CPython's `Random.shuffle` without its calls.

        That shuffle (Fisher and Yates) settles the last place first. What settles beyond `count` is not kept.
        """
        getrandbits = self._getrandbits
        last = len(candidates) - 1
        while last > 0:
            bits = (last + 1).bit_length()
            lowest = max(1, (1 << (bits - 1)) - 1)  # place that still draws so many bits
            settled = min(last, max(count, lowest) - 1)
            for place in range(last, settled, -1):
                drawn = getrandbits(bits)
                while drawn > place:
                    drawn = getrandbits(bits)
                candidates[drawn] = candidates[place]
            for place in range(settled, lowest - 1, -1):
                drawn = getrandbits(bits)
                while drawn > place:
                    drawn = getrandbits(bits)
                candidates[place], candidates[drawn] = candidates[drawn], candidates[place]
            last = lowest - 1
        return candidates[:count]
