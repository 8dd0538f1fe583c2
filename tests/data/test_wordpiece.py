"""The uncased BERT tokenizer against the specification's test points and the reference's rules."""

import unicodedata

import pytest

from jax_mlperf.data.wordpiece import SPECIAL_WORDS, WordPiece, read_vocabulary, split_words
from jax_mlperf.errors import UserError


@pytest.fixture(scope="module")
def bert_wordpiece(shared_data):
    path = shared_data / "bert_wiki" / "vocab.txt"
    if not path.exists():
        pytest.skip(f"no {path}")
    return WordPiece(read_vocabulary(path))


def test_bert_vocabulary(bert_wordpiece):
    assert bert_wordpiece.vocab_size == 30_522
    ids = (bert_wordpiece.pad_id, bert_wordpiece.unk_id, bert_wordpiece.cls_id, bert_wordpiece.sep_id, bert_wordpiece.mask_id)
    assert ids == (0, 100, 101, 102, 103)
    assert [bert_wordpiece.words[i] for i in (99, 104, 998, 999, 1010, 1996)] == ["[unused98]", "[unused99]", "[unused993]", "!", ",", "the"]


# Section 9 of the specification.
@pytest.mark.parametrize(("text", "ids"), [
    ("The État's naïve café cost $3.50 (1999–2001).",
     [1996, 17997, 1005, 1055, 15743, 7668, 3465, 1002, 1017, 1012, 2753, 1006, 2639, 1516, 2541, 1007, 1012]),
    ("unaffable", [14477, 20961, 3468]),
    ("東京 is Tokyo", [1879, 1755, 2003, 5522]),
    ("a\u200bb\tc", [11113, 1039]),
    ("x" * 201, [100]),
    ("MLPerf masked-LM accuracy 0.720", [19875, 4842, 2546, 16520, 1011, 1048, 2213, 10640, 1014, 1012, 22857]),
])
def test_encode_points_of_the_specification(bert_wordpiece, text, ids):
    assert bert_wordpiece.encode(text) == ids
    assert bert_wordpiece.encode(text) == ids  # from the tables


def _reference_split(text):
    """The reference's rules written character by character, in its order of steps."""
    cleaned = []
    for character in text:
        if character in "\t\n\r" or unicodedata.category(character) == "Zs":
            cleaned.append(" ")
        elif character in "\0\ufffd" or unicodedata.category(character) in ("Cc", "Cf"):
            continue
        elif any(first <= ord(character) <= last for first, last in (
                (0x4E00, 0x9FFF), (0x3400, 0x4DBF), (0x20000, 0x2A6DF), (0x2A700, 0x2B73F), (0x2B740, 0x2B81F), (0x2B820, 0x2CEAF),
                (0xF900, 0xFAFF), (0x2F800, 0x2FA1F))):
            cleaned += [" ", character, " "]
        else:
            cleaned.append(character)
    tokens = []
    for word in "".join(cleaned).split():
        spaced = ""
        for character in unicodedata.normalize("NFD", word.lower()):
            category = unicodedata.category(character)
            ascii_mark = character.isascii() and not character.isalnum()
            if category != "Mn":
                spaced += f" {character} " if category[0] == "P" or ascii_mark else character
        tokens += spaced.split()
    return tokens


def test_characters_of_all_kinds_as_the_reference_splits_them():
    # All up to the CJK symbols, a sample of the others but surrogates, and the edges of the ideographs' blocks.
    points = [*range(0x3100), *range(0x3100, 0xD800, 61), *range(0xE000, 0x20000, 61), 0x1FFFF, 0x20000, 0x2A6DF, 0x2A6E0, 0x2A700, 0x2CEAF,
              0x2CEB0, 0x2F800, 0x2FA1F, 0x2FA20, 0x33FF, 0x3400, 0x4DBF, 0x4DC0, 0x4DFF, 0x4E00, 0x9FFF, 0xA000, 0xF8FF, 0xF900, 0xFAFF, 0xFB00]
    text = "".join(f"a{chr(point)}B " for point in points)
    assert split_words(text) == _reference_split(text)


def test_control_characters_join_rather_than_cut():
    wordpiece = WordPiece([*SPECIAL_WORDS, "ab", "a", "b"])
    assert wordpiece.encode("a\x1cb a\x85b a\x0bb a\u2028b") == [5, 5, 5, 6, 7]


def test_longest_match_and_unknown_words():
    wordpiece = WordPiece([*SPECIAL_WORDS, "un", "una", "##ffable", "##aff", "##able", "u"])
    assert wordpiece.encode("unaffable unx U") == [6, 7, 1, 10]
    assert wordpiece.encode("") == wordpiece.encode(" \n") == []


def test_special_words_in_text_are_cut_like_any_other(bert_wordpiece):
    assert bert_wordpiece.encode("[SEP]") == [1031, 19802, 1033]  # "[", "sep", "]"


def test_vocabulary_errors(tmp_path):
    with pytest.raises(UserError, match=r"^the vocabulary lacks \[CLS\], \[MASK\]: BERT needs"):
        WordPiece(["[PAD]", "[UNK]", "[SEP]", "a"])
    with pytest.raises(UserError, match="^the vocabulary holds 'a' more than once"):
        WordPiece([*SPECIAL_WORDS, "a", "b", "a"])
    path = tmp_path / "vocab.txt"
    with pytest.raises(UserError, match=r"^cannot read the vocabulary .*vocab.txt: No such file"):
        read_vocabulary(path)
    path.write_bytes(b"[PAD]\n\xff\n")
    with pytest.raises(UserError, match=r"vocab.txt is not UTF-8 text: byte 6 cannot be read"):
        read_vocabulary(path)
    path.write_text("[PAD]\n\na\n")
    with pytest.raises(UserError, match=r"vocab.txt, line 2, is empty"):
        read_vocabulary(path)
    path.write_text("[PAD]\r\nb\n")
    assert read_vocabulary(path) == ["[PAD]", "b"]
