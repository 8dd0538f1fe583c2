"""Samples of BERT's pre-training: which files, and how they become a prepared folder.

A prepared folder holds `vocab.txt`, the splits `train` and `eval` (`pretraining_store`) and `meta.json`, which is written last.
Shards are made one by one, each from one part of the input: when a preparation is started again, those that are finished stay.
"""

import collections
import dataclasses
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jax_mlperf.data import bert_files, bert_published, generated_articles, prepared_files, records
from jax_mlperf.data import pretraining_store as store
from jax_mlperf.data.bert_files import EVAL_PART, SOURCES, TINY, VOCABULARY, Inputs, Part, Settings, find_inputs, raw_folder
from jax_mlperf.data.bert_parts import EVAL, HELD_OUT, TRAIN, Job, count_words, make_evaluation, make_shard, shard_fingerprint
from jax_mlperf.data.bert_workers import in_processes
from jax_mlperf.data.download import Check
from jax_mlperf.data.wordpiece import WordPiece, read_vocabulary
from jax_mlperf.data.wordpiece_vocabulary import build_vocabulary
from jax_mlperf.errors import UserError
from jax_mlperf.whole_file import write_whole

__all__ = ["EVAL", "SOURCES", "TRAIN", "Meta", "Settings", "download", "how_to_get", "prepare", "prepared_folder", "raw_folder",
           "read_meta", "required_files", "verify"]

FORMAT = 1  # raise when what is written changes, so that older folders are made anew
_ARTICLES = "articles.txt"  # generated
_VOCABULARY_RECORD = "vocabulary.json"  # what a built vocabulary came of


@dataclass(frozen=True)
class Meta:
    """What a prepared folder holds.

    Attributes:
      vocab_size: entries of vocab.txt.
      train_tokens, train_predictions, train_random_next: sums over the training samples.
      length_counts: how many training samples have 0, 1, 2, ... tokens, up to max_sequence_length.
      eval_available: samples that the evaluation samples were picked from: all of them where it is no more than eval_samples.
      eval_predictions: masked tokens of the evaluation samples.
      longest_eval: tokens of the longest evaluation sample.
      train_shards, eval_shards: samples of each shard, in order.
    """

    fingerprint: str
    vocab_size: int
    max_sequence_length: int
    train_samples: int
    train_tokens: int
    train_predictions: int
    train_random_next: int
    length_counts: list[int]
    eval_samples: int
    eval_available: int
    eval_predictions: int
    longest_eval: int
    train_shards: dict[str, int]
    eval_shards: dict[str, int]


def prepared_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where `prepare` writes: one folder for each raw folder and rule."""
    raw = str(raw_folder(data_dir, settings).resolve()) if settings.raw_dir else ""
    rules = records.fingerprint([raw, dataclasses.asdict(dataclasses.replace(settings, raw_dir=""))])[:8]
    return Path(data_dir) / "prepared" / f"bert-{settings.source}-{settings.max_sequence_length}-{rules}"


def read_meta(folder: Path) -> Meta | None:
    """What the folder holds, or None when it was not prepared.

    Raises:
      UserError: its meta.json is damaged.
    """
    return prepared_files.read_meta(folder, Meta)


def required_files(data_dir: str | os.PathLike[str], settings: Settings) -> list[tuple[Path, bool]]:
    """The files that `prepare` reads, each with whether it is there; none for generated articles."""
    if settings.source == TINY:
        return []
    try:
        paths = find_inputs(data_dir, settings).files
    except UserError:  # no text
        paths = [raw_folder(data_dir, settings)]
        return [(path, False) for path in paths]
    return [(path, path.is_file()) for path in paths]


def prepare(data_dir: str | os.PathLike[str], settings: Settings, workers: int = 1) -> Path:
    """Makes the prepared folder and returns it; what is current stays, finished shards too.

    Args:
      workers: processes. Each holds the samples of one part, 1 to 2 GB for a published one.

    Raises:
      UserError: files are missing, damaged or the same, there is nothing to train or evaluate on, or the folder cannot be
        written.
    """
    if settings.source == TINY:
        generate_tiny(data_dir, settings)
    inputs = find_inputs(data_dir, settings)
    missing = [path for path in inputs.files if not path.is_file()]
    if missing:
        raise bert_published.missing_files(missing, data_dir, settings)
    if warning := bert_files.left_out(inputs.parts):
        bert_published.say(warning)
    digests = bert_files.digests_of(inputs)
    folder = prepared_folder(data_dir, settings)
    known = dataclasses.asdict(dataclasses.replace(settings, raw_dir=""))
    fingerprint = records.fingerprint([FORMAT, known, [(path.name, digests[path]) for path in inputs.files]])
    if _is_current(folder, fingerprint):
        return folder
    try:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / records.META).unlink(missing_ok=True)
        vocab_size = _write_vocabulary(folder, inputs, settings, fingerprint, workers)
        meta = _write_samples(folder, inputs, settings, digests, fingerprint, vocab_size, workers)
        write_whole(folder / records.META, json.dumps(dataclasses.asdict(meta)) + "\n")
    except OSError as error:  # a full disk, most likely: the samples of the published text take about 107 GB
        raise UserError(f"cannot write {error.filename or folder}: {error.strerror}; make room there or give another --data_dir, "
                        "then run again: finished parts stay") from error
    return folder


def generate_tiny(data_dir: str | os.PathLike[str], settings: Settings) -> None:
    """Writes the generated articles and their vocabulary into their raw folder, unless these very ones are there already."""
    raw = raw_folder(data_dir, settings)
    meta = {"format": FORMAT, "articles": settings.tiny_articles, "seed": settings.tiny_seed}
    if not prepared_files.generated(raw, meta, [_ARTICLES, VOCABULARY]):
        articles = generated_articles.generate(settings.tiny_articles, settings.tiny_seed)
        with records.written_atomically(raw) as folder:
            (folder / _ARTICLES).write_text("\n\n".join(map("\n".join, articles)) + "\n", encoding="utf-8")
            (folder / VOCABULARY).write_text("".join(f"{word}\n" for word in generated_articles.vocabulary()), encoding="utf-8")
            records.write_meta(folder, meta)


def _is_current(folder: Path, fingerprint: str) -> bool:
    """Whether the folder was made of this, and its shards and indices are still there with their sizes."""
    try:
        meta = read_meta(folder)
        if meta is None or meta.fingerprint != fingerprint or not (folder / VOCABULARY).is_file():
            return False
        for split, shards in ((TRAIN, meta.train_shards), (EVAL, meta.eval_shards)):
            store.Samples(folder / split, list(shards), list(shards.values()))
            if not all(store.is_whole(folder / split / name) for name in shards):
                return False
    except UserError:  # damaged: made anew
        return False
    return True


def _write_vocabulary(folder: Path, inputs: Inputs, settings: Settings, fingerprint: str, workers: int) -> int:
    """Copies the vocabulary, or builds it from the training text; returns its size."""
    path, record = folder / VOCABULARY, folder / _VOCABULARY_RECORD
    if inputs.vocabulary:
        words = read_vocabulary(inputs.vocabulary)
    elif path.is_file() and record.is_file() and record.read_text(encoding="utf-8") == fingerprint:
        words = read_vocabulary(path)
    else:
        counts: collections.Counter[str] = collections.Counter()
        jobs = [(part, settings, _files(inputs)) for part in inputs.parts]
        for counted in in_processes(count_words, jobs, workers, "words of {} of {} parts counted"):
            counts.update(counted)
        words = build_vocabulary(counts, settings.vocab_target_size)
        record.unlink(missing_ok=True)
    WordPiece(words, f"the vocabulary {inputs.vocabulary or path}")  # raises what is wrong with it
    if len(words) > store.MAX_VOCABULARY:
        raise UserError(f"{inputs.vocabulary or 'the built vocabulary'} has {len(words):,} entries, samples can hold "
                        f"{store.MAX_VOCABULARY:,}: take a smaller one")
    write_whole(path, "".join(f"{word}\n" for word in words))
    if not inputs.vocabulary:
        write_whole(record, fingerprint)
    return len(words)


def _files(inputs: Inputs) -> int:
    """Of all parts, where articles are held out of them; else 0."""
    return 0 if inputs.evaluation else sum(len(part.files) for part in inputs.parts)


def _write_samples(folder: Path, inputs: Inputs, settings: Settings, digests: dict[Path, str], fingerprint: str, vocab_size: int,
                   workers: int) -> Meta:
    vocabulary, files = folder / VOCABULARY, _files(inputs)
    vocabulary_digest = records.file_digest(vocabulary)

    def job(part: Part) -> Job:
        of_shard = shard_fingerprint(settings, vocabulary_digest, part, [digests[path] for path in part.files], files, FORMAT)
        return Job(part, folder, of_shard, settings, vocabulary, vocabulary_digest, files)

    (folder / HELD_OUT).mkdir(exist_ok=True)
    jobs = [job(part) for part in inputs.parts]
    train = _made(jobs, workers)
    evaluated = (inputs.evaluation,) if inputs.evaluation else tuple(job.held_out for job in jobs)
    for outdated in {*(folder / HELD_OUT).iterdir()}.difference(evaluated):
        outdated.unlink()
    evaluation, available = make_evaluation(
        Job(Part(EVAL_PART, evaluated), folder, fingerprint, settings, vocabulary, vocabulary_digest, files))
    names = [part.name for part in inputs.parts]
    store.write_index(folder / TRAIN, names)
    store.write_index(folder / EVAL, [EVAL])
    counts = np.zeros(settings.max_sequence_length + 1, np.int64)
    for shard in train:
        counts[: len(shard.length_counts)] += np.array(shard.length_counts, np.int64)
    samples = sum(shard.samples for shard in train)
    if inputs.evaluation and not evaluation.samples:
        raise UserError(f"{inputs.evaluation} gives no evaluation samples: get it again")
    if not samples or not evaluation.samples:
        raise UserError(f"{raw_name(inputs)} gives {samples:,} training and {evaluation.samples:,} evaluation samples: "
                        f"bring more of it, or hold out fewer articles (data.eval_articles, now {settings.eval_articles:,})")
    return Meta(
        fingerprint, vocab_size, settings.max_sequence_length, samples, int(counts @ np.arange(len(counts))),
        sum(shard.predictions for shard in train), sum(shard.random_next for shard in train),
        counts.tolist(), evaluation.samples, available, evaluation.predictions, len(evaluation.length_counts) - 1,
        dict(zip(names, (shard.samples for shard in train), strict=True)), {EVAL: evaluation.samples},
    )  # fmt: skip


def raw_name(inputs: Inputs) -> Path:
    """The folder of the first part."""
    return inputs.parts[0].files[0].parent


def _made(jobs: list[Job], workers: int) -> list[store.ShardMeta]:
    """The training shards of all jobs, made where they are not there yet."""
    todo = [job for job in jobs if not _is_made(job)]
    made = dict(zip((job.part.name for job in todo),
                    in_processes(make_shard, [(job,) for job in todo], workers, "{} of {} parts prepared"), strict=True))
    return [made.get(job.part.name) or _found(job.folder / TRAIN / job.part.name) for job in jobs]


def _found(shard: Path) -> store.ShardMeta:
    meta = store.read_shard_meta(shard)
    assert meta is not None
    return meta


def _is_made(job: Job) -> bool:
    shard = job.folder / TRAIN / job.part.name
    try:
        meta = store.read_shard_meta(shard)
    except UserError:
        return False
    held_out = not job.files or job.held_out.is_file()
    return meta is not None and meta.fingerprint == job.fingerprint and store.is_whole(shard) and held_out


def download(data_dir: str | os.PathLike[str], settings: Settings, mirror: str | None = None) -> None:
    """Fetches the published files from a mirror; without one, says how they are got. Generated articles are written.

    Raises:
      UserError: files, the checkpoint among them, are missing and there is no mirror; or see `download.download`.
    """
    if settings.source == TINY:
        generate_tiny(data_dir, settings)
        return
    missing = [path for path, exists in required_files(data_dir, settings) if not exists]
    missing += [path for path in bert_published.checkpoint_files(data_dir, settings) if not path.is_file()]
    if missing:
        if mirror is None:
            raise bert_published.missing_files(missing, data_dir, settings)
        bert_published.fetch_from(mirror, data_dir, settings)


def verify(data_dir: str | os.PathLike[str], settings: Settings) -> Sequence[Check]:
    """Holds the published files against what is known of them; records are read whole (none for generated articles)."""
    return [] if settings.source == TINY else bert_published.verify(data_dir, settings)


def how_to_get(data_dir: str | os.PathLike[str], settings: Settings) -> str:
    """What to do about files that `verify` finds missing or damaged, in one line."""
    return bert_published.how_to_get(data_dir, settings)
