"""Generated articles that a small BERT learns from within a minute or two: the tiny variant's text.

Each article is about one person. What it says of this person is drawn once and comes back in most sentences, so that a masked
word can be read off another sentence of the pair; the second segment of a true pair speaks of the same person as the first. The
rest is local: fixed phrases, verbs that agree with their number, words that belong together (a baker bakes bread).
"""

import random
import re
from collections.abc import Callable, Sequence
from typing import TypeVar

from jax_mlperf.data.wordpiece import SPECIAL_WORDS

_NAMES = {"he": ["adam", "boris", "carl", "david", "edgar", "felix", "george", "henry", "ivan", "jack", "karl", "leon"],
          "she": ["anna", "berta", "clara", "diana", "emma", "fiona", "greta", "helen", "irene", "julia", "karen", "laura"]}
_POSSESSIVES = {"he": "his", "she": "her"}
_TRADES = [("baker", "bakes", "bread"), ("farmer", "grows", "corn"), ("fisher", "catches", "trout"), ("potter", "shapes", "clay"),
           ("weaver", "spins", "wool"), ("miner", "digs", "coal"), ("brewer", "brews", "beer"), ("tailor", "sews", "coats"),
           ("doctor", "cures", "fever"), ("teacher", "explains", "sums"), ("writer", "prints", "novels"),
           ("gardener", "plants", "roses")]
_TOWNS = [("paris", "tower"), ("london", "bridge"), ("cairo", "pyramid"), ("rome", "arena"), ("oslo", "opera"),
          ("venice", "canal"), ("athens", "temple"), ("moscow", "palace"), ("delhi", "fort"), ("lima", "cathedral"),
          ("berlin", "gate"), ("prague", "castle")]
_PETS = [("cat", "cats", "purrs", "purr"), ("dog", "dogs", "barks", "bark"), ("horse", "horses", "neighs", "neigh"),
         ("duck", "ducks", "quacks", "quack"), ("frog", "frogs", "croaks", "croak"), ("lion", "lions", "roars", "roar"),
         ("goat", "goats", "bleats", "bleat"), ("snake", "snakes", "hisses", "hiss"), ("wolf", "wolves", "howls", "howl"),
         ("bee", "bees", "buzzes", "buzz")]
_AUXILIARIES = ("does", "do")
_COUNTS = ["one", "two", "three", "four", "five"]
_COLOURS = ["red", "blue", "green", "white", "black", "brown", "yellow", "purple"]
_ITEMS = ["truck", "boat", "coach", "wagon", "sledge", "bus", "tractor", "canoe", "van", "ferry"]
_DAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]

# Units of one or two sentences; the second one answers the first.
_UNITS = [unit.split(" / ") for unit in (
    "{name} the {trade} lives beside the {sight} in {town} .",
    "every {day} {pronoun} {makes} {goods} for buyers from {town} .",
    "{count} {pets} {voice} while {name} {makes} {goods} .",
    "on {day} {pronoun} drives {their} {colour} {item} through {town} .",
    "near this {sight} stands {their} {colour} {item} .",
    "{name} takes {count} {pets} along when {day} comes .",
    "people call {name} that {trade} with {count} {pets} .",
    "{their} {colour} {item} carries {goods} and {count} {pets} .",
    "does {name} own that {colour} {item} ? / yes , {pronoun} bought it last {day} in {town} .",
    "who {makes} {goods} behind the {sight} ? / it is {name} , our {trade} since {day} .",
    "where {do} {their} {pets} {call} ? / inside {their} {colour} {item} at {town} .",
)]
_SENTENCES = range(6, 11)  # of an article

Article = list[str]  # sentences
_Option = TypeVar("_Option")


def generate(count: int, seed: int) -> list[Article]:
    """Articles of 6 to 10 sentences of 6 to 10 words, the same for equal arguments on every version of Python.

    Sentences are lower-case words and marks with blanks between them.
    """
    draw = random.Random(seed).random  # the one drawing function whose numbers Python promises to keep
    return [_article(draw) for _ in range(count)]


def vocabulary() -> list[str]:
    """The special entries and all words and marks that articles are made of, in order."""
    lists = (_NAMES, *_NAMES.values(), _POSSESSIVES.values(), *_TRADES, *_TOWNS, *_PETS, _AUXILIARIES, _COUNTS, _COLOURS, _ITEMS,
             _DAYS)
    fixed = (re.sub("{.*?}", "", sentence).split() for unit in _UNITS for sentence in unit)
    return [*SPECIAL_WORDS, *sorted({word for words in (*lists, *fixed) for word in words})]


def _article(draw: Callable[[], float]) -> Article:
    facts = _person(draw)
    wanted = _one_of(_SENTENCES, draw)
    units = list(_UNITS)
    sentences: Article = []
    while len(sentences) < wanted:
        sentences += [sentence.format_map(facts) for sentence in units.pop(int(draw() * len(units)))]
    return sentences[:wanted]


def _person(draw: Callable[[], float]) -> dict[str, str]:
    """What an article's sentences say, by the names that stand for it in `_UNITS`."""
    pronoun, names = _one_of(list(_NAMES.items()), draw)
    trade, makes, goods = _one_of(_TRADES, draw)
    town, sight = _one_of(_TOWNS, draw)
    pet, pets, voice, call = _one_of(_PETS, draw)
    count = _one_of(_COUNTS, draw)
    single = count == "one"
    return {"name": _one_of(names, draw), "pronoun": pronoun, "their": _POSSESSIVES[pronoun],
            "trade": trade, "makes": makes, "goods": goods, "town": town, "sight": sight,
            "count": count, "pets": pet if single else pets, "voice": voice if single else call, "call": call,
            "do": _AUXILIARIES[0 if single else 1],
            "colour": _one_of(_COLOURS, draw), "item": _one_of(_ITEMS, draw), "day": _one_of(_DAYS, draw)}


def _one_of(options: Sequence[_Option], draw: Callable[[], float]) -> _Option:
    return options[int(draw() * len(options))]
