"""BERT's uncased tokenizer: text to the ids of WordPiece entries.

Rules of `retired_benchmarks/bert/cleanup_scripts/tokenization.py` of the MLPerf Training reference (do_lower_case).
"""

import re
import unicodedata
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path

from jax_mlperf.errors import UserError

PAD, UNK, CLS, SEP, MASK = SPECIAL_WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
CONTINUATION = "##"  # opens an entry that goes on within a word
_LONGEST_WORD = 200  # characters; a longer one is unknown
_CACHED_WORDS = 1_000_000  # about 200 MB

_ASCII_TOKEN = re.compile(r"[!-/:-@[-`{-~]|[^!-/:-@[-`{-~]+")
# Control characters at which str.split would cut, and which the reference takes out before it cuts.
_JOINING = re.compile("[\x0b\x0c\x1c-\x1f\x85]")
_REMOVED = ("Cc", "Cf")
_IDEOGRAPH = re.compile(
    "([\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\U00020000-\U0002a6df\U0002a700-\U0002ceaf\U0002f800-\U0002fa1f])")


class _Table(dict[str, list[int]]):
    """Computes the ids of what it does not hold yet, and forgets everything when it has grown too large."""

    def __init__(self, compute: Callable[[str], list[int]]):
        super().__init__()
        self._compute = compute

    def __missing__(self, word: str) -> list[int]:
        if len(self) >= _CACHED_WORDS:
            self.clear()
        ids = self[word] = self._compute(word)
        return ids


class WordPiece:
    """Encodes with one vocabulary.

    Args:
      words: the vocabulary; an entry's place is its id. Entries that open with "##" go on within a word.
      name: what messages call it.

    Raises:
      UserError: one of [PAD], [UNK], [CLS], [SEP], [MASK] is missing, or an entry repeats.
    """

    def __init__(self, words: Sequence[str], name: str = "the vocabulary"):
        self.words = list(words)
        self._ids = {word: i for i, word in enumerate(self.words)}
        if len(self._ids) != len(self.words):
            repeated = next(word for i, word in enumerate(self.words) if self._ids[word] != i)
            raise UserError(f"{name} holds {repeated!r} more than once: each entry may stand in it once")
        missing = [word for word in SPECIAL_WORDS if word not in self._ids]
        if missing:
            raise UserError(f"{name} lacks {', '.join(missing)}: BERT needs {', '.join(SPECIAL_WORDS)}; "
                            "take the vocab.txt of an uncased BERT")
        self.pad_id, self.unk_id, self.cls_id, self.sep_id, self.mask_id = (self._ids[word] for word in SPECIAL_WORDS)
        self._longest = max(map(len, self.words))
        self._of_token = _Table(self._encode_token)
        self._of_word = _Table(self._encode_word)

    @property
    def vocab_size(self) -> int:
        """Entries, special and unused ones included."""
        return len(self.words)

    def encode(self, text: str) -> list[int]:
        """Ids of a text's WordPiece entries, without [CLS] and [SEP]."""
        if not text.isprintable():
            text = _JOINING.sub("", text)
        return list(chain.from_iterable(map(self._of_word.__getitem__, text.split())))

    def _encode_word(self, word: str) -> list[int]:
        return list(chain.from_iterable(map(self._of_token.__getitem__, split_word(word))))

    def _encode_token(self, token: str) -> list[int]:
        """Greedy longest match from the left; [UNK] when any part matches nothing."""
        if len(token) > _LONGEST_WORD:
            return [self.unk_id]
        ids: list[int] = []
        start, mark = 0, ""
        while start < len(token):
            for end in range(min(len(token), start + self._longest), start, -1):
                found = self._ids.get(mark + token[start:end])
                if found is not None:
                    break
            else:
                return [self.unk_id]
            ids.append(found)
            start, mark = end, CONTINUATION
        return ids


def split_words(text: str) -> list[str]:
    """The lower-cased tokens of a text that WordPiece then cuts: words and single punctuation marks."""
    return [token for word in _JOINING.sub("", text).split() for token in split_word(word)]


def split_word(word: str) -> list[str]:
    """The lower-cased tokens of text without white space: accents go, ideographs and punctuation stand alone."""
    if word.isascii() and word.isprintable():
        return _ASCII_TOKEN.findall(word.lower())
    clean = "".join(c for c in word if c not in "\0\ufffd" and unicodedata.category(c) not in _REMOVED)
    pieces = _IDEOGRAPH.sub(r" \1 ", clean).split()
    return [token for piece in pieces for token in _split_punctuation(_without_accents(piece.lower()))]


def _without_accents(text: str) -> str:
    return "".join(c for c in unicodedata.normalize("NFD", text) if unicodedata.category(c) != "Mn")


def _split_punctuation(text: str) -> list[str]:
    if text.isascii():
        return _ASCII_TOKEN.findall(text)
    return "".join(f" {c} " if _is_punctuation(c) else c for c in text).split()


def _is_punctuation(character: str) -> bool:
    """Of category P*, or an ASCII mark that Unicode counts among symbols ("$", "+", "<", "^", "`", "|", "~")."""
    return unicodedata.category(character)[0] == "P" or character in "$+<=>^`|~"


def read_vocabulary(path: Path) -> list[str]:
    """Entries of a vocabulary file: UTF-8, one a line.

    Raises:
      UserError: the file cannot be read, is not UTF-8 text, is empty, or has an empty line.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"the vocabulary {path} is not UTF-8 text: byte {error.start} cannot be read; "
                        "get the file again") from error
    words = [line.strip() for line in text.removesuffix("\n").split("\n")]
    for number, word in enumerate(words, 1):
        if not word:
            raise UserError(f"the vocabulary {path}, line {number}, is empty: each line holds one entry")
    return words
