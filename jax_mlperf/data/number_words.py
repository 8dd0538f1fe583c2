"""A generated English-German corpus: numbers, dates and clock times in words, within a few carrier sentences.

It is small enough to learn in a minute on two CPU cores, and still needs what a translator needs: reordering
(`five and twenty`, verbs at the end), agreement (`der vierzehnte`, `am vierzehnten`), and counting on (`half
past three` is `halb vier`).
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np


def _words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


_EN_SMALL = _words(
    """
    zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen
    sixteen seventeen eighteen nineteen
    """
)
_EN_TENS = _words("- ten twenty thirty forty fifty sixty seventy eighty ninety")
_EN_ORDINALS = {
    "one": "first",
    "two": "second",
    "three": "third",
    "five": "fifth",
    "eight": "eighth",
    "nine": "ninth",
    "twelve": "twelfth",
}
_DE_SMALL = _words(
    """
    null ein zwei drei vier fünf sechs sieben acht neun zehn elf zwölf dreizehn vierzehn fünfzehn
    sechzehn siebzehn achtzehn neunzehn
    """
)
_DE_TENS = _words("- zehn zwanzig dreißig vierzig fünfzig sechzig siebzig achtzig neunzig")
_DE_ORDINALS = {1: "erst", 3: "dritt", 7: "siebt", 8: "acht"}
_EN_MONTHS = _words(
    """
    January February March April May June July August September October November December
    """
)
_DE_MONTHS = _words(
    """
    Januar Februar März April Mai Juni Juli August September Oktober November Dezember
    """
)
_DAYS_IN_MONTH = (31, 29, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)

VERSION = (
    1  # raise when `corpus` gives other sentences for the same arguments: stored ones are then made anew
)


class Phrase(NamedTuple):
    """One thing said in both languages."""

    english: str
    german: str


def english_number(n: int) -> str:
    """British English cardinal of 0 <= n < 1,000,000: 325 -> "three hundred and twenty-five"."""
    if n < 20:
        return _EN_SMALL[n]
    if n < 100:
        return _EN_TENS[n // 10] + (f"-{_EN_SMALL[n % 10]}" if n % 10 else "")
    if n < 1000:
        return f"{_EN_SMALL[n // 100]} hundred" + (f" and {english_number(n % 100)}" if n % 100 else "")
    rest = n % 1000
    joint = " and " if 0 < rest < 100 else " "
    return f"{english_number(n // 1000)} thousand" + (joint + english_number(rest) if rest else "")


def _german_stem(n: int) -> str:
    """German cardinal without the final -s of eins: 1 -> "ein", 201 -> "zweihundertein"."""
    if n < 20:
        return _DE_SMALL[n]
    if n < 100:
        return (f"{_DE_SMALL[n % 10]}und" if n % 10 else "") + _DE_TENS[n // 10]
    if n < 1000:
        return (
            ("" if n < 200 else _DE_SMALL[n // 100]) + "hundert" + (_german_stem(n % 100) if n % 100 else "")
        )
    rest = n % 1000
    # Within a larger number the hundred is counted: 1100 is tausendeinhundert, although 100 alone is hundert.
    below = "" if not rest else "ein" + _german_stem(rest) if 100 <= rest < 200 else _german_stem(rest)
    return ("" if n < 2000 else _german_stem(n // 1000)) + "tausend" + below


def german_number(n: int) -> str:
    """German cardinal of 0 <= n < 1,000,000, counting: 1 -> "eins", 325 -> "dreihundertfünfundzwanzig"."""
    return _german_stem(n) + ("s" if n % 100 == 1 else "")


def english_ordinal(n: int) -> str:
    """English ordinal of 1 <= n < 100: 14 -> "fourteenth", 21 -> "twenty-first"."""
    if n > 20 and n % 10:
        return f"{_EN_TENS[n // 10]}-{english_ordinal(n % 10)}"
    word = english_number(n)
    return _EN_ORDINALS.get(word) or (word[:-1] + "ieth" if word.endswith("y") else word + "th")


def german_ordinal(n: int, ending: str = "e") -> str:
    """German ordinal of 1 <= n < 100 with its ending: 14 -> "vierzehnte", with "en" -> "vierzehnten"."""
    return (_DE_ORDINALS.get(n) or _german_stem(n) + ("t" if n < 20 else "st")) + ending


def english_year(year: int) -> str:
    """A year as one says it: 1905 -> "nineteen oh five"; a cardinal from 2000 on."""
    century, rest = divmod(year, 100)
    if year >= 2000:
        return english_number(year)
    if rest == 0:
        return f"{english_number(century)} hundred"
    return f"{english_number(century)} {'oh ' if rest < 10 else ''}{english_number(rest)}"


def german_year(year: int) -> str:
    """A year as one says it: 1994 -> "neunzehnhundertvierundneunzig", 2024 -> "zweitausendvierundzwanzig"."""
    if year >= 2000:
        return german_number(year)
    return f"{_german_stem(year // 100)}hundert" + (german_number(year % 100) if year % 100 else "")


def clock_time(hour: int, minute: int) -> Phrase:
    """The time of day in everyday speech: hour 1..12, minute 0..55 in steps of five; 3:30 is `halb vier`."""
    after = hour % 12 + 1
    if minute == 0:
        return Phrase(f"{english_number(hour)} o'clock", f"{_german_stem(hour)} Uhr")
    if minute == 30:
        return Phrase(f"half past {english_number(hour)}", f"halb {german_number(after)}")
    if minute in (15, 45):
        english, german = "a quarter", "Viertel"
    else:
        minutes = min(minute, 60 - minute)
        english, german = english_number(minutes), german_number(minutes)
    if minute == 25:
        return Phrase(f"{english} past {english_number(hour)}", f"fünf vor halb {german_number(after)}")
    if minute == 35:
        return Phrase(f"{english} to {english_number(after)}", f"fünf nach halb {german_number(after)}")
    if minute < 30:
        return Phrase(f"{english} past {english_number(hour)}", f"{german} nach {german_number(hour)}")
    return Phrase(f"{english} to {english_number(after)}", f"{german} vor {german_number(after)}")


_COUNTED = (  # what a number stands before: never a number ending in one, which would be inflected
    ("The book costs {} euros.", "Das Buch kostet {} Euro."),
    ("There are {} birds in the garden.", "Im Garten sind {} Vögel."),
    ("We have walked {} metres.", "Wir sind {} Meter gelaufen."),
    ("He has bought {} apples.", "Er hat {} Äpfel gekauft."),
)
_AGE = (
    ("She is {} years old.", "Sie ist {} Jahre alt."),
    ("He will be {} years old tomorrow.", "Er wird morgen {} Jahre alt."),
    ("My house is {} years old.", "Mein Haus ist {} Jahre alt."),
)
_NUMBER = (
    ("The number is {}.", "Die Zahl ist {}."),
    ("My room has the number {}.", "Mein Zimmer hat die Nummer {}."),
    ("She counts to {}.", "Sie zählt bis {}."),
)
_TIME = (
    ("It is {}.", "Es ist {}."),
    ("The train leaves at {}.", "Der Zug fährt um {} ab."),
    ("We want to meet at {}.", "Wir wollen uns um {} treffen."),
    ("I got up at {} today.", "Ich bin heute um {} aufgestanden."),
    ("The shop closes at {}.", "Der Laden schließt um {}."),
)
_DATE = (  # on which day: the German ordinal is in the dative
    ("She was born on {}.", "Sie wurde am {} geboren."),
    ("The letter came on {}.", "Der Brief kam am {} an."),
    ("They got married on {}.", "Sie haben am {} geheiratet."),
)
_TODAY = (("Today is {}.", "Heute ist {}."),)


def _number(rng: np.random.Generator) -> int:
    """Half of the numbers below 100, the rest spread over three and four digits."""
    return int(rng.integers(*((2, 100), (2, 100), (100, 1000), (1000, 10_000))[rng.integers(4)]))


def _plain_number(rng: np.random.Generator) -> Phrase:
    n = _number(rng)
    return Phrase(english_number(n), german_number(n))


def _counted_number(rng: np.random.Generator) -> Phrase:
    n = _number(rng)
    n += n % 100 == 1
    return Phrase(english_number(n), german_number(n))


def _age(rng: np.random.Generator) -> Phrase:
    n = int(rng.integers(2, 100))
    return Phrase(english_number(n), german_number(n))


def _time(rng: np.random.Generator) -> Phrase:
    return clock_time(int(rng.integers(1, 13)), 5 * int(rng.integers(12)))


def _date(ending: str, article: str) -> Callable[[np.random.Generator], Phrase]:
    def date(rng: np.random.Generator) -> Phrase:
        month = int(rng.integers(12))
        day = int(rng.integers(1, _DAYS_IN_MONTH[month] + 1))
        english = f"the {english_ordinal(day)} of {_EN_MONTHS[month]}"
        german = f"{article}{german_ordinal(day, ending)} {_DE_MONTHS[month]}"
        if rng.integers(2):
            year = int(rng.integers(1900, 2030))
            if not (month == 1 and day == 29):  # keep clear of years without a 29th of February
                return Phrase(f"{english} {english_year(year)}", f"{german} {german_year(year)}")
        return Phrase(english, german)

    return date


_SUBJECTS = (  # what is said and the sentences around it, as often as it shall be drawn
    *[(_plain_number, _NUMBER)] * 3,
    *[(_counted_number, _COUNTED)] * 4,
    (_age, _AGE),
    *[(_time, _TIME)] * 3,
    *[(_date("en", ""), _DATE)] * 4,
    *[(_date("e", "der "), _TODAY)] * 2,
)


def _sentences(rng: np.random.Generator) -> Iterator[Phrase]:
    """Endless sentence pairs, repeats among them."""
    while True:
        say, carriers = _SUBJECTS[rng.integers(len(_SUBJECTS))]
        english, german = carriers[rng.integers(len(carriers))]
        phrase = say(rng)
        yield Phrase(english.format(phrase.english), german.format(phrase.german))


def corpus(
    train_pairs: int = 12_000, test_pairs: int = 256, seed: int = 1
) -> tuple[list[Phrase], list[Phrase]]:
    """Distinct sentence pairs for training and a held-out test, a function of the arguments alone.

    No English and no German sentence occurs twice, neither within a part nor across the two.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    english: set[str] = set()
    german: set[str] = set()
    pairs: list[Phrase] = []
    for pair in _sentences(rng):
        if pair.english in english or pair.german in german:
            continue
        english.add(pair.english)
        german.add(pair.german)
        pairs.append(pair)
        if len(pairs) == train_pairs + test_pairs:
            break
    # Rare sentences come last when repeats are left out, so the test is drawn from everywhere.
    order = rng.permutation(len(pairs))
    return [pairs[i] for i in order[test_pairs:]], [pairs[i] for i in order[:test_pairs]]
