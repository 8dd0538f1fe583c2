"""Text for BERT in its published layout, what is prepared from it, and the samples that it should give."""

import dataclasses
import random

import numpy as np

from jax_mlperf.data import bert
from jax_mlperf.data.bert import Settings
from jax_mlperf.data.pretraining_examples import Example, ExampleSettings, make_examples
from jax_mlperf.data.pretraining_store import Samples
from jax_mlperf.data.wordpiece import SPECIAL_WORDS, WordPiece, read_vocabulary

SETTINGS = Settings("mlperf_text", max_sequence_length=64, max_predictions=10, dupe_factor=2, eval_samples=7)
TEXT = dataclasses.replace(SETTINGS, source="text", vocab_target_size=60, eval_articles=4)
WORDS = [*("the", "quick", "brown", "fox", "number", "jumps", "over", "lazy", "dog", "."), *map(str, range(10))]
PARTS = [f"part-{number:05d}-of-00003" for number in range(3)]


def articles(first, count):
    """Articles of the spec's section 9."""
    return [[f"the quick brown fox number {d} jumps over the lazy dog {s} ." for s in range(6)] for d in range(first, first + count)]


def write_articles(path, texts):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join("".join(f"{line}\n" for line in article) + "\n" for article in texts))


def write_raw(raw):
    """The published layout with three parts."""
    for number, name in enumerate(PARTS):
        write_articles(raw / "results" / name, articles(5 * number, 5))
    write_articles(raw / "results" / "eval.txt", articles(50, 4))
    (raw / "vocab.txt").write_text("\n".join([*SPECIAL_WORDS, *WORDS, *(f"##{digit}" for digit in range(10))]) + "\n")


def stored(folder, split=bert.TRAIN):
    """All samples of a split, in order."""
    meta = bert.read_meta(folder)
    shards = meta.train_shards if split == bert.TRAIN else meta.eval_shards
    samples = Samples(folder / split, list(shards), list(shards.values()))
    entries, values = samples.fetch(np.arange(len(samples)))
    found = []
    for offset, length, first, predictions, random_next in entries.tolist():
        tokens, positions, labels = np.split(values[offset : offset + length + 2 * predictions], [length, length + predictions])
        found.append(Example(tokens.tolist(), first, positions.tolist(), labels.tolist(), bool(random_next)))
    return found


def made_of(texts, raw, settings=SETTINGS):
    wordpiece = WordPiece(read_vocabulary(raw / "vocab.txt"))
    rules = ExampleSettings(settings.max_sequence_length, settings.max_predictions, 0.15, settings.dupe_factor, 0.1)
    documents = [[wordpiece.encode(line) for line in article] for article in texts]
    return make_examples(documents, rules, wordpiece, random.Random(12_345))


def stamps(folder):
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
