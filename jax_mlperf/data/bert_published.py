"""BERT's published files: how they are got, fetched from a mirror, and held against what is known of them."""

import os
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from jax_mlperf.data import download as fetch
from jax_mlperf.data import tfrecord
from jax_mlperf.data.bert_files import EVAL_10K, MLPERF_TEXT, MLPERF_TFRECORD, PARTS, Settings, find_inputs, raw_folder
from jax_mlperf.data.download import Check
from jax_mlperf.data.sources import (
    BERT_ALL_RECORD_BYTES,
    BERT_CHECKPOINT,
    BERT_DOWNLOADER,
    BERT_EVALUATION,
    BERT_INPUTS,
    BERT_PARTS,
    BERT_RECORD_BYTES,
    BERT_TEXT,
    BERT_UNREAD,
    BERT_VOCABULARY,
    File,
    Source,
)
from jax_mlperf.errors import UserError


def missing_files(paths: Sequence[Path], data_dir: str | os.PathLike[str], settings: Settings) -> UserError:
    """The error that says which files are not there, and what to do."""
    which = f"{paths[0]} is missing" if len(paths) == 1 else f"{len(paths)} files are missing, {paths[0]} first"
    return UserError(f"{which}: {how_to_get(data_dir, settings)}")


def how_to_get(data_dir: str | os.PathLike[str], settings: Settings) -> str:
    """What to do about files that are missing or damaged, in one line."""
    raw = raw_folder(data_dir, settings)
    if settings.source == MLPERF_TEXT:
        return (f"get the published files with MLCommons' downloader, `bash <(curl -s {BERT_DOWNLOADER}) {BERT_INPUTS}` and the "
                f"same with {BERT_TEXT}, and put vocab.txt, tf1_ckpt/ and results/ into {raw}")
    if settings.source == MLPERF_TFRECORD:
        return (f"make the records by the reference's create_pretraining_data.py and pick_eval_samples.py, put vocab.txt, "
                f"tf1_ckpt/, tfrecord/part-NNNNN-of-{PARTS:05d} and tfrecord/{EVAL_10K} into {raw}, or prepare the published "
                f"text (--config.data.source={MLPERF_TEXT}), which gives the same samples")
    return f"put text files of articles, and vocab.txt where none is built (data.vocab_target_size), into {raw}"


def checkpoint_files(data_dir: str | os.PathLike[str], settings: Settings) -> list[Path]:
    """The files of the published starting point; none for other text, which has none."""
    published = BERT_CHECKPOINT if settings.source in (MLPERF_TEXT, MLPERF_TFRECORD) else ()
    return [raw_folder(data_dir, settings) / file.name for file in published]


def say(line: str) -> None:
    """A line for the user that stops nothing."""
    print(f"warning: {line}", file=sys.stderr, flush=True)


def fetch_from(mirror: str, data_dir: str | os.PathLike[str], settings: Settings) -> None:
    """Fetches vocabulary, checkpoint and text from an address that serves the raw folder as it lies here.

    Raises:
      UserError: the source is not the published text; or see `download.download`.
    """
    if settings.source != MLPERF_TEXT:
        raise UserError(f"--mirror serves {MLPERF_TEXT} only, not {settings.source}: {how_to_get(data_dir, settings)}")
    raw = raw_folder(data_dir, settings)
    for file in (BERT_VOCABULARY, *BERT_CHECKPOINT, BERT_EVALUATION, *map(_text_part, range(PARTS))):
        folder, name = os.path.split(file.name)
        address = "/".join(filter(None, (mirror.rstrip("/"), folder, name)))
        known = File(name, file.size, file.md5, file.lines)
        fetch.download([Source(address, (known,), file.size, file.md5)], raw / folder)


def _text_part(number: int) -> File:
    name = f"part-{number:05d}-of-{PARTS:05d}"
    known = BERT_PARTS.get(name, File(name))
    return File(f"results/{name}", known.size, known.md5)


def verify(data_dir: str | os.PathLike[str], settings: Settings) -> list[Check]:
    """Sizes and checksums of what was published; every record is read. Of other text, whether it can be."""
    raw = raw_folder(data_dir, settings)
    inputs = find_inputs(data_dir, settings)
    if settings.source not in (MLPERF_TEXT, MLPERF_TFRECORD):
        return [Check(path, "ok" if path.is_file() else "missing") for path in inputs.files]
    unread = [file for file in BERT_UNREAD if (raw / file.name).is_file()]
    checks = _checked(raw, [BERT_VOCABULARY, *BERT_CHECKPOINT, *unread])
    if settings.source == MLPERF_TFRECORD:
        return checks + list(_records([path for path in inputs.files if path != inputs.vocabulary]))
    parts = [File(path.name, *(BERT_PARTS[path.name].size, BERT_PARTS[path.name].md5) if path.name in BERT_PARTS else ())
             for part in inputs.parts for path in part.files]
    return checks + _checked(raw, [BERT_EVALUATION]) + _checked(inputs.parts[0].files[0].parent, parts)


def _checked(folder: Path, files: list[File]) -> list[Check]:
    return fetch.verify([Source("", tuple(files))], folder)


def _records(paths: list[Path]) -> Iterator[Check]:
    sizes = {}
    for path in paths:
        if not path.is_file():
            yield Check(path, "missing")
            continue
        sizes[path.name] = size = path.stat().st_size
        expected = BERT_RECORD_BYTES.get(path.name, size)
        try:
            count, corrupt = tfrecord.corrupt_records(path)
        except UserError as error:
            yield Check(path, "damaged", str(error).removeprefix(f"{path}: "))
            continue
        if not count:
            yield Check(path, "damaged", "no records")
        elif corrupt:
            yield Check(path, "damaged", f"the CRC of record {corrupt[0]} does not hold ({len(corrupt)} such)")
        elif size != expected:
            yield Check(path, "damaged", f"{size:,} bytes, should be {expected:,}")
        else:
            yield Check(path, "ok", f"{count:,} records and their CRCs")
    total = sum(size for name, size in sizes.items() if name != EVAL_10K)
    if len(sizes) == PARTS + 1 and total != BERT_ALL_RECORD_BYTES:
        yield Check(paths[-1].parent, "damaged", f"{total:,} bytes in all parts, should be {BERT_ALL_RECORD_BYTES:,}")
