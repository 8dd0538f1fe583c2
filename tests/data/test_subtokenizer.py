"""The subtokenizer against the published vocabulary's test points, and round trips over all of Unicode."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from jax_mlperf.data.encoding import read_lines
from jax_mlperf.data.subtokenizer import EOS_ID, Subtokenizer, escape, join, split, split_lines, unescape
from jax_mlperf.errors import UserError

ANY_TEXT = st.text(
    st.characters(exclude_categories=())
)  # lone surrogates and unassigned code points included
SMALL = Subtokenizer(
    ["<pad>_", "<EOS>_", *"\\_u;0123456789abcdefghpt .,<>EOS", "ab", "abc_", "._", "the_", "cd", ", _", "12"]
)


@pytest.fixture(scope="module")
def published(shared_data):
    return Subtokenizer.from_file(shared_data / "wmt" / "vocab.translate_ende_wmt32k.32768.subwords")


def test_published_vocabulary_is_loaded_as_it_is(published):
    assert published.vocab_size == 33_708
    assert published.entries[:14] == [
        "<pad>_",
        "<EOS>_",
        ", _",
        "._",
        "the_",
        "_",
        "in_",
        "of_",
        "and_",
        "to_",
        "die_",
        "der_",
        "und_",
        "a_",
    ]
    assert published.entries[25371] == "Weltgesundheitsorganisation_"
    assert len(published.alphabet) == 423
    assert sum(len(entry) == 1 for entry in published.entries) == 423


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("Hello world!", "26228 145 178 207"),
        (
            "The quick brown fox jumps over the lazy dog.",
            "29 5241 30598 22 4165 521 13654 3599 244 4 4835 22451 20725 3",
        ),
        ("Ein Hund läuft über die Straße.", "402 32402 5 3729 100 10 4519 3"),
        ("3,000 dollars ($5.50)", "195 218 466 4471 26887 199 3 616 1438"),
        ("a_b \\ c", "13 805 772 1042 33590 33590 850 422"),
        ("double  space", "1758 22325 1625"),
        (" leading space", "850 1218 1625"),
        ("tab\there", "19482 33590 4091 1269 430"),
        ("🙂 ok", "33590 5704 3088 26829 3088 114 3984"),
        ("Gutach: Increased safety for pedestrians", "7548 4343 63 32363 1258 19 13503 8958 3867"),
    ],
)
def test_published_ids(published, text, ids):
    assert published.encode(text) == [int(i) for i in ids.split()]
    assert published.decode(published.encode(text)) == text


def test_newstest2014(published, shared_data):
    for language, total in (("en", 84_078), ("de", 88_538)):
        lines = read_lines(shared_data / "wmt" / f"newstest2014.{language}")
        assert len(lines) == 3_003
        ids, lengths = published.encode_lines(lines)
        assert (len(ids), lengths.sum(), lengths.max()) == (total, total, 97)
        for line, sentence in zip(lines, np.split(ids, np.cumsum(lengths)[:-1]), strict=True):
            assert published.decode(sentence.tolist()) == line.strip()
    assert published.encode(read_lines(shared_data / "wmt" / "newstest2014.de")[0]) == [
        7548,
        4343,
        63,
        9157,
        196,
        687,
        26,
        10766,
        17631,
        5,
    ]


@settings(deadline=None, max_examples=500)
@given(ANY_TEXT)
def test_any_text_comes_back(text):
    assert SMALL.decode(SMALL.encode(text)) == text


@settings(deadline=None)
@given(st.text(st.sampled_from("ab _\\u;0123456789 \n<EOS>é🙂")))
def test_text_of_special_characters_comes_back(text):
    assert SMALL.decode(SMALL.encode(text)) == text
    assert join(split(text)) == text


@settings(deadline=None)
@given(st.lists(ANY_TEXT.map(lambda text: text.replace("\n", "").strip()), max_size=5))
def test_many_lines_encode_as_each_alone(lines):
    ids, lengths = SMALL.encode_lines(lines)
    expected = [SMALL.encode(line, add_eos=True) for line in lines]
    assert lengths.tolist() == [len(line) for line in expected]
    assert ids.tolist() == [i for line in expected for i in line]


def test_split_keeps_a_lone_space_only_at_the_ends():
    assert split("ab cd") == ["ab", "cd"]
    assert split(" ab  cd ") == [" ", "ab", "  ", "cd", " "]
    assert split(" ") == [" "]
    assert split("") == []
    assert split("x, y") == ["x", ", ", "y"]
    assert split("𝒜b ½") == ["𝒜b", "½"]  # beyond the basic plane; ½ is of category No
    assert split_lines(["a b", "", "c!"]) == ["a", "b", "\n", "\n", "c", "!", "\n"]


def test_escape_and_unescape():
    alphabet = set("abc\\_u;0123456789")
    assert escape("a_b\\é\n", alphabet) == "a\\ub\\\\\\233;\\10;_"
    assert unescape("a\\ub\\\\\\233;\\10;") == "a_b\\é\n"
    assert unescape("\\1114112;\\99999999999999999999;") == "\u3013\u3013"  # no such code points


def test_decode_stops_at_the_first_end_of_sentence():
    ids = SMALL.encode("ab cd")
    assert SMALL.decode([*ids, EOS_ID, *ids, EOS_ID]) == "ab cd"
    assert SMALL.decode([EOS_ID]) == ""
    assert SMALL.decode(np.array(ids, np.int32)) == "ab cd"


def test_greedy_longest_match():
    assert [SMALL.entries[i] for i in SMALL.encode("abcdc.")] == ["ab", "cd", "c", "_", "._"]


def test_empty_lines_are_one_end_of_sentence():
    ids, lengths = SMALL.encode_lines(["", "  "])
    assert ids.tolist() == [EOS_ID, EOS_ID] and lengths.tolist() == [1, 1]
    ids, lengths = SMALL.encode_lines([])
    assert len(ids) == len(lengths) == 0


def test_file_round_trip(tmp_path):
    SMALL.write(tmp_path / "vocab")
    assert Subtokenizer.from_file(tmp_path / "vocab").entries == SMALL.entries


def test_bad_vocabularies(tmp_path):
    (tmp_path / "vocab").write_text("'a_'\nb_\n")
    with pytest.raises(UserError, match="line 2: 'b_' is not a vocabulary entry"):
        Subtokenizer.from_file(tmp_path / "vocab")
    with pytest.raises(UserError, match="cannot read the vocabulary"):
        Subtokenizer.from_file(tmp_path / "none")
    with pytest.raises(UserError, match="repeats 1 of its 3 entries"):
        Subtokenizer(["a", "b", "a"])
    with pytest.raises(UserError, match="cannot write 'a'"):
        Subtokenizer(["<pad>_", "<EOS>_", "_", "ab"]).encode("a")
