"""BLEU against known values and against the reference's three regex passes, written again here."""

import math
from collections import Counter

import numpy as np
import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st
from sacrebleu.metrics import BLEU

from jax_mlperf.metrics.bleu import bleu_score, bleu_statistics, corpus_bleu

# (reference, hypothesis, BLEU of MLPerf's reference, its compute_bleu.py).
POINTS = [
    ("Das Haus ist groß.", "Das Haus ist klein.", 42.7287),
    ("The cat sat on the mat.", "the cat sat on mat", 47.3988),
    ("Er kam 2014.", "Er kam 2014 .", 31.9472),
    ("»Ja«, sagte er.", '"Ja", sagte er.', 43.4721),
    ("a b c d", "e f g h", 7.9868),
    ("a b c d e f g h", "a b c d", 36.7879),
    ("Hello World", "hello world", 100.0),
]


def tokenize(text: str) -> list[str]:
    text = regex.sub(r"([^\d])(\p{P})", r"\1 \2 ", text.lower())
    text = regex.sub(r"(\p{P})([^\d])", r" \1 \2", text)
    return regex.sub(r"(\p{S})", r" \1 ", text).split()


def reference_bleu(hypotheses: list[str], references: list[str]) -> float:
    matches, candidates, lengths = [0] * 4, [0] * 4, [0, 0]
    for hypothesis, reference in zip(map(tokenize, hypotheses), map(tokenize, references), strict=True):
        lengths[0] += len(hypothesis)
        lengths[1] += len(reference)
        for n in range(1, 5):
            own = Counter(tuple(hypothesis[i : i + n]) for i in range(len(hypothesis) - n + 1))
            theirs = Counter(tuple(reference[i : i + n]) for i in range(len(reference) - n + 1))
            matches[n - 1] += (own & theirs).total()
            candidates[n - 1] += own.total()
    if lengths[0] == 0:
        return 0.0
    smooth, logs = 1.0, 0.0
    for matched, total in zip(matches, candidates, strict=True):
        if total and matched:
            logs += math.log(matched / total)
        elif total:
            smooth *= 2
            logs += math.log(1 / (smooth * total))
    return 100 * math.exp(logs / 4) * math.exp(min(0.0, 1 - lengths[1] / lengths[0]))


@pytest.mark.parametrize(("reference", "hypothesis", "score"), POINTS)
def test_spec_points(reference, hypothesis, score):
    assert corpus_bleu([hypothesis], [reference]) == pytest.approx(score, abs=5e-5)
    assert reference_bleu([hypothesis], [reference]) == pytest.approx(score, abs=5e-5)


def test_three_line_corpus():
    references = ["food bar brown cow", "blee bloo dog sat", "or please take me out"]
    hypotheses = ["foo bar brown cow", "blee bloo dog sit", "please do take me out"]
    assert corpus_bleu(hypotheses, references) == pytest.approx(39.6538, abs=5e-5)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [
        ("»Das ist gut«, sagte er.", "» das ist gut « , sagte er ."),
        ("It cost 3,000.50 in 2014.", "it cost 3,000.50 in 2014."),
        ("Nr. 5: 3:2-Sieg", "nr . 5 : 3:2 - sieg"),
        ("10€", "10 €"),
    ],
)
def test_tokens(text, tokens):
    """The same text with spaces between the expected tokens counts as equal, token for token."""
    assert tokenize(text) == tokens.split()
    statistics = bleu_statistics([text], [text])
    assert statistics[-2] == len(tokens.split())


# Words that exercise the tokeniser. Known differences stay out: non-decimal numerals such as ½, and white
# space at the end of a line, which sacreBLEU strips, so that the full stop of "2014. " stays attached.
words = st.text(alphabet="aBäß12.,-:!»«\"'€+$%() ", min_size=1, max_size=6)
sentences = st.lists(words, min_size=1, max_size=12).map(lambda words: " ".join(words).rstrip())


@settings(max_examples=150, deadline=None)
@given(st.lists(st.tuples(sentences, sentences), min_size=1, max_size=4))
def test_random_text_equals_the_reference(pairs):
    hypotheses, references = map(list, zip(*pairs, strict=True))
    score = corpus_bleu(hypotheses, references)
    assert score == pytest.approx(reference_bleu(hypotheses, references), abs=1e-9)
    statistics = bleu_statistics(hypotheses, references)
    if statistics[3] and statistics[:4].any() and statistics[7]:  # not degenerate: every order has candidates
        official = BLEU(lowercase=True, tokenize="intl", force=True).corpus_score(hypotheses, [references])
        assert score == pytest.approx(official.score, abs=1e-9)


def test_known_difference_is_only_the_non_decimal_numeral():
    assert tokenize("ein ½.") == ["ein", "½", "."]
    assert bleu_statistics(["ein ½."], ["ein ½."])[-2] == 2  # sacreBLEU: "½." stays one token


def test_statistics_sum_over_hosts():
    hypotheses = ["the cat sat on the mat .", "a dog", "Das Haus ist groß.", "»Ja«, sagte er."]
    references = ["the cat sat on a mat .", "a dog ran", "Das Haus ist klein.", "»Nein«, sagte er."]
    parts = [bleu_statistics(hypotheses[i::3], references[i::3]) for i in range(3)]
    parts.append(bleu_statistics([], []))
    assert bleu_score(np.sum(parts, axis=0)) == corpus_bleu(hypotheses, references)


def test_empty_output_scores_zero():
    assert corpus_bleu([""], ["ein Haus"]) == 0.0


def test_unequal_numbers_are_refused():
    with pytest.raises(ValueError, match="1 hypotheses for 2 references"):
        bleu_statistics(["a"], ["a", "b"])


def test_newstest2014_against_itself_with_noise(shared_data):
    """Official scorer and ours on real text, and the known count of its tokens."""
    lines = (shared_data / "wmt" / "newstest2014.de").read_text("utf-8").split("\n")[:3003]
    noised = [" ".join(word for i, word in enumerate(line.split(" ")) if i % 9) for line in lines]
    official = BLEU(lowercase=True, tokenize="intl", force=True).corpus_score(noised, [lines])
    statistics = bleu_statistics(noised, lines)
    assert statistics[-1] == 64_676
    assert bleu_score(statistics) == pytest.approx(official.score, abs=1e-9)
