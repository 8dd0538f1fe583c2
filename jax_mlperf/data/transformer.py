"""Parallel text for the Transformer benchmark: which files, and how they become a prepared folder.

A prepared folder holds `vocab.subwords`, the encoded pairs, the evaluation set with its references,
`meta.json`, and one sub-folder `packings/<name>` for each packing. Preparing again is a check of
fingerprints.
"""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jax_mlperf.data import download as fetch
from jax_mlperf.data import number_words, packing, records
from jax_mlperf.data.encoding import count_lines, encode_files, read_lines
from jax_mlperf.data.sources import TRANSFORMER, Source
from jax_mlperf.data.subtokenizer import Subtokenizer
from jax_mlperf.data.vocabulary import build_vocabulary, count_tokens
from jax_mlperf.errors import UserError

FORMAT = 2  # raise when what is written changes, so that older folders are made anew
PUBLISHED_VOCABULARY = "vocab.translate_ende_wmt32k.32768.subwords"
VOCABULARY = "vocab.subwords"
SOURCE_LANGUAGE, TARGET_LANGUAGE = "en", "de"
EVAL_SOURCES = "eval.sources.txt"
EVAL_REFERENCES = "eval.references.txt"


@dataclass(frozen=True)
class Settings:
    """Which text to train and evaluate on.

    Attributes:
      variant: "wmt" (the benchmark), "tiny" (generated), or a name for any other folder of parallel text.
      train_splits: the training text is `<split>.<language>` of each, in this order.
      eval_split: the text that BLEU is taken on.
      vocab_size: target size of the vocabulary to build from the training text; 0 takes the benchmark's
        published one.
      raw_dir: folder of the text files; "" is `<data_dir>/<variant>`.
    """

    variant: str
    train_splits: tuple[str, ...]
    eval_split: str
    vocab_size: int = 0
    raw_dir: str = ""


VARIANTS = {
    "wmt": Settings(
        "wmt",
        ("news-commentary-v12.de-en", "commoncrawl.de-en", "europarl-v7.de-en"),
        eval_split="newstest2014",
    ),
    "multi30k": Settings("multi30k", ("train",), eval_split="test_2016_flickr", vocab_size=8192),
    "tiny": Settings("tiny", ("train",), eval_split="test", vocab_size=400),
}


@dataclass(frozen=True)
class Meta:
    """What a prepared folder holds; lengths are in subtokens, EOS counted.

    Attributes:
      length_counts: how many training pairs have a longer side of 0, 1, 2, ... subtokens.
    """

    fingerprint: str
    vocab_size: int
    train_pairs: int
    length_counts: list[int]
    eval_sentences: int
    eval_max_source_length: int


@dataclass(frozen=True)
class PackingMeta:
    """What a packing holds: rows of source_length/target_length of pairs with no side above max_length."""

    fingerprint: str
    source_length: int
    target_length: int
    max_length: int
    rows: int
    pairs: int
    source_tokens: int
    target_tokens: int


def raw_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where the text files are."""
    return Path(settings.raw_dir or Path(data_dir) / settings.variant)


def prepared_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where `prepare` writes: one folder for each variant, vocabulary and raw_dir."""
    size = f"-{settings.vocab_size}" if settings.vocab_size else ""
    own = f"-{records.fingerprint(str(Path(settings.raw_dir).resolve()))[:8]}" if settings.raw_dir else ""
    return Path(data_dir) / "prepared" / f"transformer-{settings.variant}{size}{own}"


def packing_folder(folder: Path, source_length: int, target_length: int, max_length: int) -> Path:
    """Where a prepared folder keeps one packing."""
    return folder / "packings" / f"{source_length}x{target_length}-of-{max_length}"


def _text_file(raw: Path, name: str) -> Path:
    """`raw/name`, or the first file of that name in the folders below, or `raw/name` when there is none."""
    path = raw / name
    if path.exists() or not raw.is_dir():
        return path
    return next(iter(sorted(raw.rglob(name))), path)


def _files(
    data_dir: str | os.PathLike[str], settings: Settings, splits: Sequence[str], language: str
) -> list[Path]:
    raw = raw_folder(data_dir, settings)
    return [_text_file(raw, f"{split}.{language}") for split in splits]


def _input_files(data_dir: str | os.PathLike[str], settings: Settings) -> list[Path]:
    """All that the prepared folder depends on, there or not."""
    splits = (*settings.train_splits, settings.eval_split)
    paths = [
        path
        for language in (SOURCE_LANGUAGE, TARGET_LANGUAGE)
        for path in _files(data_dir, settings, splits, language)
    ]
    if not settings.vocab_size:
        paths.append(_text_file(raw_folder(data_dir, settings), PUBLISHED_VOCABULARY))
    return paths


def required_files(data_dir: str | os.PathLike[str], settings: Settings) -> list[tuple[Path, bool]]:
    """The text files that `prepare` reads, each with whether it is there; none for the generated variant."""
    if settings.variant == "tiny":
        return []
    return [(path, path.is_file()) for path in _input_files(data_dir, settings)]


def generate_tiny(data_dir: str | os.PathLike[str], settings: Settings) -> None:
    """Writes the generated corpus into the raw folder, unless this version of it is there already."""
    raw = raw_folder(data_dir, settings)
    meta = {"corpus": number_words.VERSION}
    if records.read_meta(raw) == meta:
        return
    with records.written_atomically(raw) as folder:
        for split, pairs in zip(
            (settings.train_splits[0], settings.eval_split), number_words.corpus(), strict=True
        ):
            for language, lines in zip(
                (SOURCE_LANGUAGE, TARGET_LANGUAGE), zip(*pairs, strict=True), strict=True
            ):
                (folder / f"{split}.{language}").write_text(
                    "".join(f"{line}\n" for line in lines), encoding="utf-8"
                )
        records.write_meta(folder, meta)


def prepare(
    data_dir: str | os.PathLike[str],
    settings: Settings,
    *,
    max_length: int,
    packed_lengths: tuple[int, int] | None = None,
    workers: int | None = None,
) -> Path:
    """Makes the prepared folder, with a packing where packed_lengths is given; what is current stays.

    Args:
      max_length: pairs with a longer side are left out of the packing (all pairs are encoded).
      packed_lengths: source and target slots of a packed row.
      workers: processes that encode; None is one for each core.

    Returns:
      the prepared folder.

    Raises:
      UserError: a text file is missing, or a source and its target differ in their number of lines.
    """
    if settings.variant == "tiny":
        generate_tiny(data_dir, settings)
    missing = [path for path, exists in required_files(data_dir, settings) if not exists]
    if missing:
        raise UserError(
            f"{len(missing)} text files are missing, {missing[0]} first: get them with "
            "`python -m jax_mlperf data download` and the same config and data_dir"
        )
    folder = prepared_folder(data_dir, settings)
    fingerprint = _fingerprint(data_dir, settings)
    meta = records.read_meta(folder)
    if meta is None or meta["fingerprint"] != fingerprint:
        with records.written_atomically(folder) as temporary:
            _write_pairs(temporary, data_dir, settings, fingerprint, workers or os.cpu_count() or 1)
    if packed_lengths:
        _write_packing(folder, fingerprint, *packed_lengths, max_length)
    return folder


def _fingerprint(data_dir: str | os.PathLike[str], settings: Settings) -> str:
    known = dataclasses.asdict(dataclasses.replace(settings, raw_dir=""))
    digests = [records.file_digest(path) for path in _input_files(data_dir, settings)]
    return records.fingerprint([FORMAT, known, digests])


def _write_pairs(
    folder: Path, data_dir: str | os.PathLike[str], settings: Settings, fingerprint: str, workers: int
) -> None:
    languages = (SOURCE_LANGUAGE, TARGET_LANGUAGE)
    train = [_files(data_dir, settings, settings.train_splits, language) for language in languages]
    evaluation = [_files(data_dir, settings, (settings.eval_split,), language) for language in languages]
    for source, target in zip(train[0] + evaluation[0], train[1] + evaluation[1], strict=True):
        if (lines := count_lines(source)) != (others := count_lines(target)):
            raise UserError(
                f"{source} has {lines} lines and {target} has {others}: "
                "line i of one must translate line i of the other"
            )
    _write_vocabulary(folder, data_dir, settings, [*train[0], *train[1]])
    subtokenizer = Subtokenizer.from_file(folder / VOCABULARY)
    sizes = {
        f"{name}.{side}": records.write_sequences(
            folder / f"{name}.{side}",
            encode_files(paths, folder / VOCABULARY, workers),
            subtokenizer.vocab_size,
        )
        for name, sides in (("train", train), ("eval", evaluation))
        for side, paths in zip(("source", "target"), sides, strict=True)
    }
    for name, paths in ((EVAL_SOURCES, evaluation[0]), (EVAL_REFERENCES, evaluation[1])):
        (folder / name).write_bytes("\n".join(line.strip() for line in read_lines(paths[0])).encode("utf-8"))
    source_lengths, target_lengths = sizes["train.source"], sizes["train.target"]
    records.write_meta(
        folder,
        dataclasses.asdict(
            Meta(
                fingerprint=fingerprint,
                vocab_size=subtokenizer.vocab_size,
                train_pairs=len(source_lengths),
                length_counts=np.bincount(np.maximum(source_lengths, target_lengths)).tolist(),
                eval_sentences=len(sizes["eval.source"]),
                eval_max_source_length=int(sizes["eval.source"].max(initial=0)),
            )
        ),
    )


def _write_vocabulary(
    folder: Path, data_dir: str | os.PathLike[str], settings: Settings, train: list[Path]
) -> None:
    if settings.vocab_size:
        entries = build_vocabulary(count_tokens(train), target_size=settings.vocab_size)
        Subtokenizer(entries).write(folder / VOCABULARY)
    else:
        published = _text_file(raw_folder(data_dir, settings), PUBLISHED_VOCABULARY)
        (folder / VOCABULARY).write_bytes(published.read_bytes())


def _write_packing(
    folder: Path, fingerprint: str, source_length: int, target_length: int, max_length: int
) -> None:
    place = packing_folder(folder, source_length, target_length, max_length)
    fingerprint = records.fingerprint([fingerprint, packing.ALGORITHM])
    meta = records.read_meta(place)
    if meta is not None and meta["fingerprint"] == fingerprint:
        return
    sides = [records.Sequences(folder / f"train.{side}").lengths() for side in ("source", "target")]
    kept = np.flatnonzero(
        (np.maximum(*sides) <= max_length) & (sides[0] <= source_length) & (sides[1] <= target_length)
    )
    source, target = sides[0][kept], sides[1][kept]
    packed = packing.balanced(source, target, source_length, target_length)
    with records.written_atomically(place) as temporary:
        np.save(temporary / "row_offsets.npy", packed.row_offsets)
        np.save(temporary / "pair_ids.npy", kept[packed.pair_ids].astype(np.int32))
        meta_of_packing = PackingMeta(
            fingerprint,
            source_length,
            target_length,
            max_length,
            packed.rows,
            len(kept),
            int(source.sum()),
            int(target.sum()),
        )
        records.write_meta(temporary, dataclasses.asdict(meta_of_packing))


def download(data_dir: str | os.PathLike[str], settings: Settings, mirror: str | None = None) -> None:
    """Fetches the variant's archives into its raw folder (the generated one is written there instead).

    Raises:
      UserError: the variant is no published one, or see `download.download`.
    """
    if settings.variant == "tiny":
        generate_tiny(data_dir, settings)
    else:
        fetch.download(_sources(settings), raw_folder(data_dir, settings), mirror=mirror)


def verify(data_dir: str | os.PathLike[str], settings: Settings) -> list[fetch.Check]:
    """Holds the variant's text files against known sizes, line counts and checksums (none when generated)."""
    return (
        [] if settings.variant == "tiny" else fetch.verify(_sources(settings), raw_folder(data_dir, settings))
    )


def _sources(settings: Settings) -> tuple[Source, ...]:
    if settings.variant not in TRANSFORMER:
        raise UserError(
            f"nothing is known to download for {settings.variant!r}: put the text files into its raw_dir; "
            f"published are {', '.join(TRANSFORMER)}"
        )
    return TRANSFORMER[settings.variant]
