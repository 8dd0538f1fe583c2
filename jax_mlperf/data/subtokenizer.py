"""The benchmark's subtokenizer: text <-> ids of greedy longest-match subtokens.

Rules of `transformer/utils/tokenizer.py` of the MLPerf Training reference. Every text comes back exactly,
lone surrogates included (they are escaped like any character outside the alphabet, although no UTF-8 file can
hold them).
"""

import functools
import os
import re
import sys
import unicodedata
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np

from jax_mlperf.errors import UserError

PAD_ID = 0
EOS_ID = 1
RESERVED = ("<pad>_", "<EOS>_")
ESCAPE_CHARACTERS = frozenset("\\_u;0123456789")

_UNESCAPE = re.compile(r"\\u|\\\\|\\([0-9]+);")
_UNDEFINED = "\u3013"  # what the reference puts in place of a code point that does not exist
_CACHED_TOKENS = 1_000_000  # about 300 MB at most; WMT17 has about 3 million distinct tokens


def _class_of_alphanumerics(first: int, last: int) -> str:
    """The code points first..last of Unicode categories L* and N* as the inside of a character class."""
    runs: list[tuple[int, int]] = []
    for point in range(first, last + 1):
        if unicodedata.category(chr(point))[0] in "LN":
            if runs and runs[-1][1] == point - 1:
                runs[-1] = (runs[-1][0], point)
            else:
                runs.append((point, point))
    return "".join(f"\\U{a:08x}-\\U{b:08x}" for a, b in runs)


@functools.cache
def _run_pattern(astral: bool) -> re.Pattern[str]:
    """Matches the runs that become tokens; a lone space between two runs matches nothing and so is dropped.

    The newline is a token by itself wherever it stands alone between lines (`encode_lines`); `split` never
    lets that happen. CPython compiles a class within the basic plane to a bitmap, and one beyond it to a list
    that it walks: hence two patterns.
    """
    inside = _class_of_alphanumerics(0, sys.maxunicode if astral else 0xFFFF)
    return re.compile(rf"[{inside}]+|[^{inside} ][^{inside}]*| [^{inside}]+|\A | \Z")


@functools.cache
def _line_pattern(astral: bool) -> re.Pattern[str]:
    """As `_run_pattern`, for stripped lines joined by newlines: each newline is a token of its own."""
    inside = _class_of_alphanumerics(0, sys.maxunicode if astral else 0xFFFF)
    return re.compile(rf"[{inside}]+|\n|[^{inside} \n][^{inside}\n]*| [^{inside}\n]+")


def _is_astral(text: str) -> bool:
    return not text.isascii() and max(text) > "\uffff"


def is_alphanumeric(character: str) -> bool:
    """Whether the character's Unicode category is a letter (L*) or a number (N*)."""
    return unicodedata.category(character)[0] in "LN"


def split(text: str) -> list[str]:
    """Cuts text at every change between alphanumeric and other characters.

    A run of exactly one space is dropped, except at the very start or the very end of the text.
    """
    return _run_pattern(_is_astral(text)).findall(text)


def split_lines(lines: Sequence[str]) -> list[str]:
    """The tokens of stripped lines in order, with one `"\\n"` after each line's last token.

    Args:
      lines: stripped lines without a newline in them.
    """
    text = "\n".join(lines) + "\n" if lines else ""
    return _line_pattern(_is_astral(text)).findall(text)


def join(tokens: Sequence[str]) -> str:
    """Undoes `split`: one space goes between two tokens that both start with an alphanumeric character."""
    pieces: list[str] = []
    after_word = False
    for token in tokens:
        word = is_alphanumeric(token[0])
        if after_word and word:
            pieces.append(" ")
        pieces.append(token)
        after_word = word
    return "".join(pieces)


def escape(token: str, alphabet: frozenset[str] | set[str]) -> str:
    """Writes a token in characters of the alphabet only, without `_`, and appends `_` as the end mark."""
    token = token.replace("\\", "\\\\").replace("_", "\\u")
    if "\n" in token or not alphabet.issuperset(token):
        token = "".join(c if c in alphabet and c != "\n" else f"\\{ord(c)};" for c in token)
    return token + "_"


def unescape(token: str) -> str:
    """Undoes `escape` (the end mark already removed); a code point that does not exist becomes U+3013."""

    def original(match: re.Match[str]) -> str:
        if match[1] is None:
            return "_" if match[0] == "\\u" else "\\"
        try:
            return chr(int(match[1]))
        except (ValueError, OverflowError):
            return _UNDEFINED

    return _UNESCAPE.sub(original, token)


class _TokenTable(dict[str, int]):
    """Token -> number, filled on demand; `ids[number]` are its subtokens. Number 0 is the end of a line."""

    def __init__(self, segment: Callable[[str], list[int]]):
        super().__init__({"\n": 0})
        self.ids: list[list[int]] = [[EOS_ID]]
        self._segment = segment

    def __missing__(self, token: str) -> int:
        ids = self._segment(token)
        number = self[token] = len(self.ids)
        self.ids.append(ids)
        return number


class Subtokenizer:
    """Encodes and decodes with one vocabulary.

    Args:
      entries: the vocabulary; an entry's place is its id. Entries 0 and 1 stand for padding and end of
        sentence whatever they read, and are loaded as they are: nothing is put in front (the published file
        already holds both).
    """

    def __init__(self, entries: Sequence[str]):
        self.entries = list(entries)
        self._ids = {entry: i for i, entry in enumerate(self.entries)}
        if len(self._ids) != len(self.entries):
            repeated = len(self.entries) - len(self._ids)
            raise UserError(
                f"the vocabulary repeats {repeated} of its {len(self.entries)} entries: "
                "each may stand in it once"
            )
        self.alphabet = frozenset("".join(self.entries)) | ESCAPE_CHARACTERS
        self._longest = max(map(len, self.entries), default=0)
        self._table = _TokenTable(self._segment_token)

    @classmethod
    def from_file(cls, path: str | os.PathLike[str]) -> "Subtokenizer":
        """Reads a vocabulary: UTF-8, one entry a line within quotes, of which exactly one pair is taken off.

        Raises:
          UserError: the file is missing or a line is not quoted.
        """
        try:
            lines = Path(path).read_bytes().decode("utf-8").split("\n")
        except OSError as error:
            raise UserError(f"cannot read the vocabulary {path}: {error.strerror}") from error
        entries = [line.strip() for line in lines if line.strip()]
        for number, entry in enumerate(entries, 1):
            if len(entry) < 3 or entry[0] not in "'\"" or entry[-1] != entry[0]:
                raise UserError(
                    f"{path}, line {number}: {entry!r} is not a vocabulary entry; "
                    "each stands in single quotes"
                )
        return cls([entry[1:-1] for entry in entries])

    def write(self, path: str | os.PathLike[str]) -> None:
        """Writes the vocabulary in the format that `from_file` reads."""
        Path(path).write_bytes("".join(f"'{entry}'\n" for entry in self.entries).encode("utf-8"))

    @property
    def vocab_size(self) -> int:
        """Number of entries."""
        return len(self.entries)

    def encode(self, text: str, add_eos: bool = False) -> list[int]:
        """The subtoken ids of text, each token segmented by greedy longest match from the left."""
        table = self._bounded_table()
        ids: list[int] = []
        for token in split(text):
            ids += table.ids[table[token]] if token != "\n" else self._segment_token(token)
        if add_eos:
            ids.append(EOS_ID)
        return ids

    def encode_lines(self, lines: Sequence[str]) -> tuple[np.ndarray, np.ndarray]:
        """Encodes many lines at once, each stripped of whitespace at its ends and ended by EOS.

        Returns:
          ids, int32 [sum of lengths], the lines one after another; lengths, int64 [len(lines)], EOS counted.
        """
        table = self._bounded_table()
        tokens = split_lines([line.strip() for line in lines])
        numbers = np.fromiter(map(table.__getitem__, tokens), np.int64, len(tokens))
        present, compact = np.unique(numbers, return_inverse=True)
        chosen = [table.ids[number] for number in present.tolist()]
        sizes = np.array([len(ids) for ids in chosen], np.int64)
        flat = np.array([i for ids in chosen for i in ids], np.int32)
        starts = np.cumsum(sizes) - sizes
        size_of = sizes[compact]
        ends = np.cumsum(size_of)
        total = int(ends[-1]) if len(ends) else 0
        where = np.repeat(starts[compact] - (ends - size_of), size_of) + np.arange(total)
        return flat[where], np.diff(ends[numbers == 0], prepend=0)

    def decode(self, ids: Iterable[int]) -> str:
        """The text of ids up to the first EOS (all of them when there is none)."""
        pieces: list[str] = []
        for i in ids:
            if i == EOS_ID:
                break
            pieces.append(self.entries[i])
        return join([unescape(token) for token in "".join(pieces).split("_") if token])

    def _bounded_table(self) -> _TokenTable:
        if len(self._table) > _CACHED_TOKENS:
            self._table = _TokenTable(self._segment_token)
        return self._table

    def _segment_token(self, token: str) -> list[int]:
        escaped = escape(token, self.alphabet)
        ids: list[int] = []
        start = 0
        while start < len(escaped):
            for end in range(min(len(escaped), start + self._longest), start, -1):
                found = self._ids.get(escaped[start:end])
                if found is not None:
                    ids.append(found)
                    start = end
                    break
            else:
                raise UserError(
                    f"the vocabulary cannot write {escaped[start]!r} (of {token!r}): it needs every "
                    "character of its alphabet, and \\ _ u ; 0-9, as entries of their own"
                )
        return ids
