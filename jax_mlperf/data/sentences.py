"""Cuts English paragraphs in sentences."""

import re

# A run of end marks with what closes after it, white space, and what opens the next sentence with its first word. The marks
# themselves are taken before: an ellipsis and "?!" are one end.
_BOUNDARY = re.compile(r"""([.!?…]+)(["'”’»)\]]*)\s+(?=["'“‘«(\[]*([^\W_]\S*))""")
_OPENING = "\"'“‘«(["
_CLOSING = "\"'”’»)],;:.!?…"
_DOTTED = re.compile(r"(?:[^\W\d_]\.)*[^\W\d_]")  # an initial, or "U.S" and the like before their last dot


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What follows these belongs to them.
_NEVER_LAST = _words("""
    mr mrs ms messrs dr prof st gen lt col sgt cpl capt cmdr adm maj brig rev hon gov sen rep pres amb fr msgr mt ft
    e.g i.e cf viz vs al
""")
_BEFORE_NUMBER = _words("no nos vol vols p pp fig figs ch sec art op ca approx")
# These may stand last in a sentence.
_SOMETIMES_LAST = _words("""
    etc inc ltd co corp bros jr sr ph.d jan feb mar apr jun jul aug sep sept oct nov dec dept univ ed eds est ave blvd rd
""")
# Words that, capitalised, hardly ever stand within a name or a date.
_OPENERS = _words("""
    a after all although an and as at because before but by despite during each for from he her his how however if in it its
    many more most no on one other she since so some such that the their there these they this those though thus to under
    until we what when where while who with you
""")


def split_sentences(paragraph: str) -> list[str]:
    """Cuts at ".", "!", "?" and "…" before a capital or a digit, quotes and brackets allowed for.

    No dot cuts after a title or the like ("Dr.", "e.g."), nor between "No." or its like and a number. After an initial, a
    dotted abbreviation or one of the others ("U.S.", "Inc.", "Jan.") it cuts only before a word that usually opens a sentence
    ("The", "However"). The reference uses punkt (nltk 3.4.5), which has learnt its abbreviations, openers and collocations from
    newspapers; these are fixed lists. Both cut most text alike, but not all of it.
    """
    sentences, start = [], 0
    for match in _BOUNDARY.finditer(paragraph):
        marks, closed, following = match.groups()
        if following[0].islower() or (marks == "." and not closed and not _ends(paragraph[start : match.start()], following)):
            continue
        sentences.append(paragraph[start : match.end()].strip())
        start = match.end()
    rest = paragraph[start:].strip()
    return [*sentences, rest] if rest else sentences


def _ends(before: str, following: str) -> bool:
    """Whether a single dot between the two texts ends a sentence."""
    last = before[before.rfind(" ") + 1 :].lstrip(_OPENING)
    word = last.lower()
    if word in _NEVER_LAST or (word in _BEFORE_NUMBER and following[0].isdigit()):
        return False
    if word in _SOMETIMES_LAST or _DOTTED.fullmatch(last):
        return following.rstrip(_CLOSING).lower() in _OPENERS
    return True
