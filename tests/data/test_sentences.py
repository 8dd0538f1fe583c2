"""Sentence ends, each case cut by hand."""

import pytest

from jax_mlperf.data.sentences import split_sentences


# A bar stands where a sentence ends.
@pytest.mark.parametrize("marked", [
    "He came. |She left! |Why? |Nobody knows.",
    "Dr. Smith met Mrs. Jones on St. Mary's Road. |They spoke.",
    "J. R. R. Tolkien wrote it. |C. S. Lewis read it.",
    "It was made in the U.S. Army's depot. |It works.",
    "He moved to the U.S. |However, she stayed in Washington D.C. |They wrote.",
    "Foods, e.g. Beans, are cheap (cf. Rice).",
    "It rose by 3.5 percent in 1999. |2000 was worse.",
    "See No. 5 and pp. 3. |He said no. |Nobody heard.",
    "On Jan. 5 it rained. |It ended in Jan. |The sun came.",
    'He said "I am here." |Then he left.',
    'She asked, "Who?" |"Me," he said. |(It was late.) |[Note that.]',
    "Apple Inc. Corporation is one. |Apple Inc. |The firm is old.",
    "Wait... what? |Yes?! |No… |Fine.",
    "version 2.0 is out. iPhones are not cut before a small letter.",
    "É. Zola died. |Élan is a word. |“Quoted.” |‘So.’ |Done",
    "Jones et al. (2001) found it.",
    "No mark at the end",
])
def test_ends(marked):
    sentences = [sentence.strip() for sentence in marked.split("|")]
    assert split_sentences(" ".join(sentences)) == sentences


def test_blanks():
    assert split_sentences("  One.   Two.\t") == ["One.", "Two."]
    assert split_sentences(" \n") == []
