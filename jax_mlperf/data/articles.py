"""Reads articles as lists of sentences, in the forms in which text for BERT is published."""

import os
import re
from collections.abc import Iterable
from pathlib import Path

from jax_mlperf.data.sentences import split_sentences
from jax_mlperf.errors import UserError

Article = list[str]  # sentences

_CATEGORY = re.compile(r"\[\[Category:[^][]*\]\]")
_NO_TEXT_LINK = re.compile(r"\[\[:?(?:file|image|media):[^][]*\]\]", re.IGNORECASE)
_LINK = re.compile(r"\[\[(?:[^][|]*\|)?([^][|]*)\]\]")
_BRACKETS = re.compile(r"\[([^][|]*)\]")
_NO_TEXT_ELEMENT = re.compile(r"<(ref|includeonly|graph)\b[^<>]*(?<!/)>[^<]*</\1>", re.IGNORECASE)
_TAG = re.compile(r"</?(?:br|chem|del|div|doc|gallery|graph|hr|includeonly|ins|mapframe|math|meta|noinclude|nowiki|onlyinclude|"
                  r"poem|ref|references|section|small|span|sub|sup)\b[^<>]*>", re.IGNORECASE)

_HEADING = re.compile(r" ?(=(?: =)*) [^=].* \1")  # " = Title = ", " = = Section = = "
_SPLIT_MARK = re.compile(r" @([-.,])@ ")
_QUOTED = re.compile(r'(?<!\S)" ([^"]*) "(?!\S)')
_BEFORE_CLOSING = re.compile(r''' (?=[.,;:!?)\]]"?(?:\s|$))''')
_AFTER_OPENING = re.compile(r"(?<=[(\[]) ")


def article_files(folder: Path) -> list[Path]:
    """The text files of a folder and the folders below it, in the order of their paths: all but hidden and empty ones.

    Raises:
      UserError: there are none.
    """
    files = []
    for parent, folders, names in os.walk(folder, followlinks=True):  # data sets are often linked to
        folders[:] = [name for name in folders if not name.startswith(".") and not _leads_back(parent, name)]
        paths = [Path(parent) / name for name in names if not name.startswith(".")]
        files += [path for path in paths if path.is_file() and path.stat().st_size]
    if not files:
        raise UserError(f"{folder} holds no text: put files of articles there (WikiExtractor's, WikiText's, or one sentence "
                        "a line with a blank line between articles)")
    return sorted(files)


def _leads_back(parent: str, name: str) -> bool:
    """Whether a folder in `parent` is a link to it or to one above it."""
    path = Path(parent, name)
    return path.is_symlink() and Path(parent).resolve().is_relative_to(path.resolve())


def read_articles(path: Path) -> list[Article]:
    """The articles of a file that have text, each a list of sentences.

    The form is told by the first line that is not blank:
      `<doc ...>`: WikiExtractor's. The line after it is the title and no text; the rest is cleaned, then cut in sentences.
      ` = Title = `: WikiText's. Headings are no text; "@-@" and the like are joined with their neighbours; `<unk>` is dropped: it
        is no word that a text would hold, and as frequent as it is, guessing it would count for accuracy.
      anything else: one sentence a line, blank lines between articles, as MLPerf's published text (taken as it is).

    Raises:
      UserError: the file cannot be read or is not UTF-8 text.
    """
    lines = _read_lines(path)
    opening = next((line for line in lines if line.strip()), "")
    if opening.startswith("<doc "):
        articles = _extracted(lines)
    elif _heading_level(opening) == 1:
        articles = _wikitext(lines)
    else:
        articles = _split_already(lines)
    return [article for article in articles if article]


def _read_lines(path: Path) -> list[str]:
    try:
        return path.read_bytes().decode("utf-8-sig").split("\n")
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise UserError(f"{path} is not UTF-8 text: byte {error.start} cannot be read; convert it, or take it away") from error


def _split_already(lines: Iterable[str]) -> list[Article]:
    articles: list[Article] = [[]]
    for line in map(str.strip, lines):
        if line:
            articles[-1].append(line)
        else:
            articles.append([])
    return articles


def _extracted(lines: Iterable[str]) -> list[Article]:
    """WikiExtractor's form, by the steps of the reference (`bert/cleanup_scripts`: cleanup_file.py, clean.sh)."""
    articles: list[Article] = []
    title_follows = False
    for line in lines:
        if line.startswith("<doc "):
            articles.append([])
            title_follows = True
        elif title_follows:
            title_follows = False
        elif articles:
            articles[-1] += split_sentences(clean(line))
    return articles


def clean(line: str) -> str:
    """Takes leftover wiki and HTML mark-up out of a line: links become their text, tags and references go.

    Close to the reference's clean.sh, not the same: it keeps, for one, the name of a file whose link has no bar.
    """
    if "[" in line:
        if _CATEGORY.search(line):
            return ""
        line = _NO_TEXT_LINK.sub("", _LINK.sub(r"\1", _NO_TEXT_LINK.sub("", line)))
        line = _BRACKETS.sub(r"\1", line)
    if "<" in line:
        line = _TAG.sub("", _NO_TEXT_ELEMENT.sub("", line))
    return line


def _wikitext(lines: Iterable[str]) -> list[Article]:
    articles: list[Article] = []
    for line in lines:
        level = _heading_level(line)
        if level == 1:
            articles.append([])
        elif articles and not level:
            articles[-1] += split_sentences(_detokenized(line))
    return articles


def _heading_level(line: str) -> int:
    """1 for an article's title, more for its sections, 0 for text."""
    match = _HEADING.fullmatch(line.rstrip())
    return match[1].count("=") if match else 0


def _detokenized(line: str) -> str:
    """Joins what WikiText's tokenizer has put apart, as far as the ends of sentences depend on it; drops <unk>."""
    line = _SPLIT_MARK.sub(r"\1", line.replace("<unk>", ""))
    line = _QUOTED.sub(r'"\1"', line)
    return " ".join(_AFTER_OPENING.sub("", _BEFORE_CLOSING.sub("", line)).split())
