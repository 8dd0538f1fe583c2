"""The work of one process that prepares BERT's samples: a part of the input becomes a shard. Nothing heavy is imported here."""

import collections
import functools
import json
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from jax_mlperf.data import bert_tfrecord, held_out, records
from jax_mlperf.data.articles import read_articles
from jax_mlperf.data.bert_files import MLPERF_TEXT, MLPERF_TFRECORD, Part, Settings
from jax_mlperf.data.pretraining_examples import Document, Example, ExampleSettings, make_examples
from jax_mlperf.data.pretraining_store import ShardMeta, write_shard
from jax_mlperf.data.wordpiece import WordPiece, read_vocabulary, split_words
from jax_mlperf.errors import UserError
from jax_mlperf.whole_file import write_whole

TRAIN, EVAL, HELD_OUT = "train", "eval", "held_out"


@dataclass(frozen=True)
class Job:
    """One part to prepare.

    Attributes:
      folder: the prepared folder.
      fingerprint: of the shard.
      vocabulary_digest: of the file at `vocabulary`.
      files: of all parts together, when articles are held out of them; 0: none are.
    """

    part: Part
    folder: Path
    fingerprint: str
    settings: Settings
    vocabulary: Path
    vocabulary_digest: str
    files: int = 0

    @property
    def held_out(self) -> Path:
        """Where the part's held-out articles are written, as token ids."""
        return self.folder / HELD_OUT / f"{self.part.name}.{self.fingerprint[:8]}.json"


def count_words(part: Part, settings: Settings, files: int) -> collections.Counter[str]:
    """How often each word (as the tokenizer splits them) stands in the training articles of a part."""
    counts: collections.Counter[str] = collections.Counter()
    for training, _ in _split_files(part, settings, files):
        for article in training:
            for sentence in article:
                counts.update(split_words(sentence))
    return counts


def make_shard(job: Job) -> ShardMeta:
    """Writes the training shard of a part; before it, the held-out articles, where there are any.

    Raises:
      UserError: a file cannot be read or is damaged, or a published one holds no article.
    """
    if job.settings.source == MLPERF_TFRECORD:
        examples: Iterator[Example] | list[Example] = _records(job)
    else:
        documents, out = [], []
        wordpiece = _wordpiece(job.vocabulary, job.vocabulary_digest)
        for training, kept_out in _split_files(job.part, job.settings, job.files):
            documents += _encoded(training, wordpiece)
            out += _encoded(kept_out, wordpiece)
        if job.settings.source == MLPERF_TEXT and not documents:
            raise UserError(f"{job.part.files[0]} holds no article: get it again")
        if job.files:
            write_whole(job.held_out, json.dumps(out))
        examples = _examples(documents, job)
    return write_shard(job.folder / TRAIN, job.part.name, examples, job.fingerprint)


def make_evaluation(job: Job) -> tuple[ShardMeta, int]:
    """Writes the evaluation shard of a file, or of held-out articles; returns also how many samples it was picked from.

    Sample int(i n / k) of n is the i-th of k (`retired_benchmarks/bert/cleanup_scripts/pick_eval_samples.py`); all, if fewer.
    Records are taken as they are.

    Raises:
      UserError: the file, or what was held out, cannot be read.
    """
    if job.settings.source == MLPERF_TFRECORD:
        meta = write_shard(job.folder / EVAL, EVAL, _records(job), job.fingerprint)
        return meta, meta.samples
    if job.files:
        documents = [document for path in job.part.files for document in json.loads(path.read_text(encoding="utf-8"))]
    else:
        documents = _encoded(read_articles(job.part.files[0]), _wordpiece(job.vocabulary, job.vocabulary_digest))
    examples = _examples(documents, job)
    number, wanted = len(examples), job.settings.eval_samples
    picked = examples if number <= wanted else [examples[int(i * number / wanted)] for i in range(wanted)]
    return write_shard(job.folder / EVAL, EVAL, picked, job.fingerprint), number


def shard_fingerprint(settings: Settings, vocabulary: str, part: Part, digests: list[str], files: int, version: int) -> str:
    """What a shard's samples come of: settings, the vocabulary's digest, the files' digests, and how many files there are."""
    rules = [settings.source, settings.max_sequence_length, settings.max_predictions]
    if settings.source != MLPERF_TFRECORD:
        rules += [settings.masked_lm_prob, settings.dupe_factor, settings.short_seq_prob, settings.example_seed,
                  settings.eval_samples]
    if files:
        rules += [settings.eval_articles, part.first, files]
    return records.fingerprint([version, rules, vocabulary, part.name, digests])


def _split_files(part: Part, settings: Settings, files: int) -> Iterator[tuple[list[list[str]], list[list[str]]]]:
    """Training and held-out articles of each file."""
    for number, path in enumerate(part.files, part.first):
        articles = read_articles(path)
        places = held_out.held_out_places(number, files, len(articles), settings.eval_articles) if files else []
        yield held_out.split(articles, places)


def _encoded(articles: list[list[str]], wordpiece: WordPiece) -> list[Document]:
    return [[wordpiece.encode(sentence) for sentence in article] for article in articles]


def _examples(documents: list[Document], job: Job) -> list[Example]:
    settings = job.settings
    rules = ExampleSettings(settings.max_sequence_length, settings.max_predictions, settings.masked_lm_prob, settings.dupe_factor,
                            settings.short_seq_prob)
    wordpiece = _wordpiece(job.vocabulary, job.vocabulary_digest)
    return make_examples(documents, rules, wordpiece, random.Random(settings.example_seed))


def _records(job: Job) -> Iterator[Example]:
    return bert_tfrecord.read(job.part.files[0], job.settings.max_sequence_length, job.settings.max_predictions,
                              _wordpiece(job.vocabulary, job.vocabulary_digest).vocab_size)


@functools.lru_cache(maxsize=1)
def _wordpiece(vocabulary: Path, digest: str) -> WordPiece:
    """The tokenizer of a file; the digest tells another one in its place."""
    return WordPiece(read_vocabulary(vocabulary))
