"""Generated reviews whose sentiment needs word order: the tiny variant's data (sentiment.md of the specification, section 12)."""

from dataclasses import dataclass

import numpy as np

from jax_mlperf.data.imdb_formats import NEGATIVE, POSITIVE, Reviews

WORDS = 1000
NEGATOR = 5
SENTIMENT = {POSITIVE: range(100, 140), NEGATIVE: range(200, 240)}  # 40 words of each polarity
LOG_LENGTH = (3.7, 0.5)  # mean and standard deviation
LENGTHS = (12, 200)  # tokens, after clipping
EVENTS, EVENT_SHARE = 5, 0.15  # of sentiment: at least so many, and this share of the length
AGREEMENT = 0.8  # probability that an event is of the review's polarity
NEGATION = 0.35  # probability that it is written as the negator and a word of the opposite polarity
_SYLLABLES = [consonant + vowel for consonant in "bcdfghjklmnprstvwxyz" for vowel in "aeiou"]


@dataclass(frozen=True)
class Drawn:
    """Reviews as word ids (0..WORDS - 1), labels uint8 [n], and the effective polarities of each review's events."""

    ids: list[np.ndarray]
    labels: np.ndarray
    polarities: list[np.ndarray]


def spelling(word: int) -> bytes:
    """Four letters, another word for every id: no tokeniser cuts or changes it."""
    first, second = divmod(word, len(_SYLLABLES))
    return (_SYLLABLES[first] + _SYLLABLES[second]).encode()


def draw(count: int, seed: int) -> Drawn:
    """Draws reviews, half of them of each label: a pure function of the arguments.

    The background is Zipf(1) over all words but those that carry sentiment; events stand at random places in it.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = rng.permutation(np.arange(count) % 2).astype(np.uint8)
    lengths = np.clip(rng.lognormal(*LOG_LENGTH, count), *LENGTHS).astype(np.int64)
    background = np.setdiff1d(np.arange(WORDS), [NEGATOR, *SENTIMENT[POSITIVE], *SENTIMENT[NEGATIVE]])
    weights = 1 / (background + 1)
    filler = rng.choice(background, int(lengths.sum()), p=weights / weights.sum())
    starts = np.cumsum(lengths) - lengths
    drawn = [_review(rng, filler[start : start + length], int(label))
             for start, length, label in zip(starts, lengths, labels, strict=True)]
    return Drawn([ids for ids, _ in drawn], labels, [polarities for _, polarities in drawn])


def _review(rng: np.random.Generator, filler: np.ndarray, label: int) -> tuple[np.ndarray, np.ndarray]:
    """Puts events in the place of background tokens: the word ids, as many as filler, and the events' polarities."""
    events = max(EVENTS, int(EVENT_SHARE * len(filler)))
    polarities = np.where(rng.random(events) < AGREEMENT, label, 1 - label)
    negated = rng.random(events) < NEGATION
    surface = polarities ^ negated
    words = rng.integers(40, size=events) + np.where(surface == POSITIVE, SENTIMENT[POSITIVE][0], SENTIMENT[NEGATIVE][0])
    units = len(filler) - int(negated.sum())  # an event takes one place, with a negator two tokens
    places = np.sort(rng.choice(units, events, replace=False))
    ids = filler[:units].copy()
    ids[places] = words
    return np.insert(ids, places[negated], NEGATOR), polarities


def generate(count: int, seed: int) -> Reviews:
    """Generated reviews as text, words with blanks between them."""
    drawn = draw(count, seed)
    spellings = [spelling(word) for word in range(WORDS)]
    return Reviews([b" ".join([spellings[word] for word in ids.tolist()]) for ids in drawn.ids], drawn.labels)
