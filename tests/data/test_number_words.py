"""German and English number words against hand-checked expectations, and the corpus against its promises."""

import hashlib

import pytest

from jax_mlperf.data import number_words as words


@pytest.mark.parametrize(("n", "english", "german"), [
    (0, "zero", "null"), (1, "one", "eins"), (7, "seven", "sieben"), (12, "twelve", "zwölf"),
    (16, "sixteen", "sechzehn"), (17, "seventeen", "siebzehn"), (20, "twenty", "zwanzig"),
    (21, "twenty-one", "einundzwanzig"), (30, "thirty", "dreißig"), (66, "sixty-six", "sechsundsechzig"),
    (77, "seventy-seven", "siebenundsiebzig"), (100, "one hundred", "hundert"),
    (101, "one hundred and one", "hunderteins"),
    (325, "three hundred and twenty-five", "dreihundertfünfundzwanzig"),
    (1000, "one thousand", "tausend"), (1001, "one thousand and one", "tausendeins"),
    (1100, "one thousand one hundred", "tausendeinhundert"),
    (1042, "one thousand and forty-two", "tausendzweiundvierzig"),
    (2116, "two thousand one hundred and sixteen", "zweitausendeinhundertsechzehn"),
    (21_000, "twenty-one thousand", "einundzwanzigtausend"),
    (101_030, "one hundred and one thousand and thirty", "hunderteintausenddreißig"),
])  # fmt: skip
def test_cardinals(n, english, german):
    assert words.english_number(n) == english
    assert words.german_number(n) == german


@pytest.mark.parametrize(("n", "english", "german"), [
    (1, "first", "erste"), (2, "second", "zweite"), (3, "third", "dritte"), (5, "fifth", "fünfte"),
    (7, "seventh", "siebte"), (8, "eighth", "achte"), (9, "ninth", "neunte"), (12, "twelfth", "zwölfte"),
    (14, "fourteenth", "vierzehnte"), (17, "seventeenth", "siebzehnte"), (19, "nineteenth", "neunzehnte"),
    (20, "twentieth", "zwanzigste"), (21, "twenty-first", "einundzwanzigste"),
    (23, "twenty-third", "dreiundzwanzigste"), (30, "thirtieth", "dreißigste"),
])  # fmt: skip
def test_ordinals(n, english, german):
    assert words.english_ordinal(n) == english
    assert words.german_ordinal(n) == german
    assert words.german_ordinal(n, "en") == german + "n"


@pytest.mark.parametrize(("year", "english", "german"), [
    (1994, "nineteen ninety-four", "neunzehnhundertvierundneunzig"),
    (1905, "nineteen oh five", "neunzehnhundertfünf"),
    (1900, "nineteen hundred", "neunzehnhundert"),
    (1901, "nineteen oh one", "neunzehnhunderteins"),
    (2000, "two thousand", "zweitausend"),
    (2024, "two thousand and twenty-four", "zweitausendvierundzwanzig"),
])  # fmt: skip
def test_years(year, english, german):
    assert words.english_year(year) == english
    assert words.german_year(year) == german


@pytest.mark.parametrize(("hour", "minute", "english", "german"), [
    (7, 15, "a quarter past seven", "Viertel nach sieben"), (3, 30, "half past three", "halb vier"),
    (12, 30, "half past twelve", "halb eins"), (1, 0, "one o'clock", "ein Uhr"),
    (1, 10, "ten past one", "zehn nach eins"), (12, 45, "a quarter to one", "Viertel vor eins"),
    (4, 40, "twenty to five", "zwanzig vor fünf"), (2, 25, "twenty-five past two", "fünf vor halb drei"),
    (11, 35, "twenty-five to twelve", "fünf nach halb zwölf"),
])  # fmt: skip
def test_clock_times(hour, minute, english, german):
    assert words.clock_time(hour, minute) == (english, german)


def test_corpus_is_distinct_and_held_out():
    train, test = words.corpus(3000, 200, seed=5)
    assert (len(train), len(test)) == (3000, 200)
    for side in (0, 1):
        assert len({pair[side] for pair in train + test}) == 3200
    assert words.corpus(3000, 200, seed=5) == (train, test)
    assert words.corpus(3000, 200, seed=6) != (train, test)


def test_corpus_sentences():
    train, test = words.corpus(3000, 200)
    pairs = dict(train + test)
    assert all(english.endswith(".") and german.endswith(".") for english, german in pairs.items())
    # Verb and prefix at the end, dative ordinal, nominative ordinal with its article.
    assert any(
        german.startswith("Der Zug fährt um ") and german.endswith(" ab.") for german in pairs.values()
    )
    for english, german in pairs.items():
        if english.startswith("She was born on the fourteenth of March"):
            assert german.startswith("Sie wurde am vierzehnten März") and german.endswith(" geboren.")
        if english.startswith("Today is the third of"):
            assert german.startswith("Heute ist der dritte ")
        if german.endswith((" Euro.", " Vögel.", " Jahre alt.")):
            assert "eins " not in german


def test_the_default_corpus_is_the_version_that_it_says():
    """A changed corpus needs a new VERSION, or prepared folders keep the old one."""
    text = "\n".join("\t".join(pair) for part in words.corpus() for pair in part)
    assert (words.VERSION, hashlib.md5(text.encode()).hexdigest()) == (1, "ddd415e7dda996f4e7bba99924372660")
