"""Which files BERT's samples are made from, and how they are cut in parts that are prepared one by one."""

import itertools
import os
import re
from dataclasses import dataclass
from pathlib import Path

from jax_mlperf.data import records
from jax_mlperf.data.articles import article_files
from jax_mlperf.errors import UserError

MLPERF_TEXT, MLPERF_TFRECORD, TEXT, TINY = SOURCES = ("mlperf_text", "mlperf_tfrecord", "text", "tiny")
TINY_FOLDER = "bert-tiny"  # of what is generated
VOCABULARY = "vocab.txt"
PARTS = 500  # of the published text; other text is cut in as many at most
EVAL_PART = "eval"
_FOLDERS = {MLPERF_TEXT: "results", MLPERF_TFRECORD: "tfrecord"}
EVAL_10K = "eval_10k"
_EVALUATION = {MLPERF_TEXT: "eval.txt", MLPERF_TFRECORD: EVAL_10K}
_PART = re.compile(r"part-(\d{5})-of-(\d{5})")
_NO_ARTICLES = re.compile(r"vocab\.txt|bert_config\.json|readme.*|license.*|.*\.md", re.IGNORECASE)


@dataclass(frozen=True)
class Settings:
    """Which text or records, and how samples are made of them; the names are those of the configuration.

    Attributes:
      source: "mlperf_text" (the published text), "mlperf_tfrecord" (the reference's records of it), "text" (any text of
        articles) or "tiny" (generated articles).
      raw_dir: folder of the files; "" is `<data_dir>/bert`. Generated articles are always in `<data_dir>/bert-tiny`.
      vocab_target_size: of a vocabulary to build from the training text (text and tiny); 0: vocab.txt of the raw folder.
      max_sequence_length, max_predictions, masked_lm_prob, dupe_factor, short_seq_prob: `ExampleSettings`. Records are taken as
        they are: they must have these lengths.
      example_seed: of the random numbers of every part.
      eval_articles: that are held out of text.
      eval_samples: that are picked from those of the evaluation text.
      tiny_articles, tiny_seed: `generated_articles.generate`.
    """

    source: str = MLPERF_TEXT
    raw_dir: str = ""
    vocab_target_size: int = 0
    max_sequence_length: int = 512
    max_predictions: int = 76
    masked_lm_prob: float = 0.15
    dupe_factor: int = 10
    short_seq_prob: float = 0.1
    example_seed: int = 12_345
    eval_articles: int = 10_000
    eval_samples: int = 10_000
    tiny_articles: int = 4000
    tiny_seed: int = 0

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise UserError(f"config.data.source is {self.source!r}; there are: {', '.join(SOURCES)}")
        if self.source == TINY and self.raw_dir:
            raise UserError(f"config.data.raw_dir is {self.raw_dir!r}, but this config generates its articles: leave it empty")
        if self.source in _FOLDERS and self.vocab_target_size:
            raise UserError(f"config.data.vocab_target_size is {self.vocab_target_size}, but {self.source} has a {VOCABULARY}: "
                            "set it to 0")


@dataclass(frozen=True)
class Part:
    """Files that become one shard.

    Attributes:
      first: number of the first one among all files, which its held-out articles depend on.
    """

    name: str
    files: tuple[Path, ...]
    first: int = 0


@dataclass(frozen=True)
class Inputs:
    """All that `prepare` reads.

    Attributes:
      evaluation: the file of evaluation samples; None where articles are held out of the parts.
      vocabulary: None where it is built.
    """

    parts: tuple[Part, ...]
    evaluation: Path | None
    vocabulary: Path | None

    @property
    def files(self) -> list[Path]:
        """All of them, there or not."""
        extra = [path for path in (self.vocabulary, self.evaluation) if path]
        return [*extra, *(path for part in self.parts for path in part.files)]


def raw_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where the files are, or the generated ones."""
    if settings.source == TINY:  # generating replaces the folder: never one of the user's
        return Path(data_dir) / TINY_FOLDER
    return Path(settings.raw_dir or Path(data_dir) / "bert")


def find_inputs(data_dir: str | os.PathLike[str], settings: Settings) -> Inputs:
    """The files of a source, in order; where none of the published parts is there, all of them.

    Raises:
      UserError: there is no text, or parts of two sets.
    """
    raw = raw_folder(data_dir, settings)
    vocabulary = None if settings.vocab_target_size else raw / VOCABULARY
    if settings.source not in _FOLDERS:
        return Inputs(_grouped(_articles(raw, Path(data_dir) / "prepared")), None, vocabulary)
    folder = raw / _FOLDERS[settings.source]
    evaluation = folder / _EVALUATION[settings.source]
    if not evaluation.exists() and (raw / evaluation.name).exists():
        evaluation = raw / evaluation.name
    found = published_parts(folder) or [folder / f"part-{number:05d}-of-{PARTS:05d}" for number in range(PARTS)]
    return Inputs(tuple(Part(path.name, (path,)) for path in found), evaluation, vocabulary)


def published_parts(folder: Path) -> list[Path]:
    """The files part-NNNNN-of-NNNNN of a folder, in order.

    Raises:
      UserError: they are of two sets.
    """
    if not folder.is_dir():
        return []
    found = sorted(path for path in folder.iterdir() if _PART.fullmatch(path.name))
    totals = sorted({path.name[-5:] for path in found})
    if len(totals) > 1:
        raise UserError(f"{folder} holds parts of a set of {int(totals[0])} and of one of {int(totals[1])}: keep one set")
    return found


def left_out(parts: tuple[Part, ...]) -> str:
    """What to know of a choice of published parts: that some are not there, and a gap in their range; "" when all are there.

    Parts follow the order of the encyclopedia, whose early articles are longer: a few parts will do, but from the whole range.
    """
    matches = [match for part in parts if (match := _PART.fullmatch(part.name))]
    if not matches or len(matches) == int(matches[0][2]):
        return ""
    total, numbers = int(matches[0][2]), [int(match[1]) for match in matches]
    missing = next(number for number in range(total) if number not in numbers)
    which = f"{len(numbers)} of {total} parts are there (part-{missing:05d}-of-{total:05d} is not)"
    gap = max(b - a for a, b in zip([-1, *numbers], [*numbers, total], strict=True))
    if gap <= max(min(3 * total / len(numbers), total / 2), total / 10):
        return f"{which}: the closed division needs all"
    return (f"{which} and leave a gap of {gap - 1}: early parts hold longer articles, so take parts from the whole range (the "
            "closed division needs all)")


def digests_of(inputs: Inputs) -> dict[Path, str]:
    """A digest of every file.

    Raises:
      UserError: two files of articles or records are the same, or one is empty or cannot be read.
    """
    try:
        if empty := next((path for path in inputs.files if not path.stat().st_size), None):
            raise UserError(f"{empty} is empty: get it again")
        digests = {path: records.file_digest(path) for path in inputs.files}
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}; get it again") from error
    seen: dict[str, Path] = {}
    for path in inputs.files:
        if path != inputs.vocabulary and (other := seen.setdefault(digests[path], path)) != path:
            raise UserError(f"{path} has the same content as {other}: training on copies ends far below the target; get the real "
                            "file, or remove one")
    return digests


def _articles(raw: Path, prepared: Path) -> list[Path]:
    """The text files of a folder, but not what was prepared from them, where it lies in it."""
    if raw.is_file():
        raise UserError(f"{raw} is a file: give the folder that it lies in by --config.data.raw_dir")
    if not raw.is_dir():
        raise UserError(f"there is no folder {raw}: put text files of articles there, or set --config.data.raw_dir")
    made = prepared.resolve()
    files = [path for path in article_files(raw) if not _NO_ARTICLES.fullmatch(path.name) and path.name != records.META
             and not path.parent.resolve().is_relative_to(made)]
    if not files:
        raise UserError(f"{raw} holds no text of articles: put text files there, or set --config.data.raw_dir")
    return files


def _grouped(files: list[Path]) -> tuple[Part, ...]:
    """Neighbouring files together, up to PARTS parts of about the same size."""
    sizes = [path.stat().st_size for path in files]
    total = sum(sizes)
    middles = [end - size / 2 for end, size in zip(itertools.accumulate(sizes), sizes, strict=True)]
    groups = itertools.groupby(range(len(files)), lambda number: int(middles[number] * PARTS / total))
    numbers = [list(group) for _, group in groups]
    return tuple(Part(f"part-{i:05d}", tuple(files[number] for number in part), part[0]) for i, part in enumerate(numbers))
