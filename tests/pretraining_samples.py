"""Samples of BERT's pre-training drawn at random, prepared folders of them, and the reference's records written by hand."""

import dataclasses
import json
import struct
from pathlib import Path

import numpy as np

from jax_mlperf.data import bert
from jax_mlperf.data import pretraining_store as store
from jax_mlperf.data.pretraining_examples import Example

# Shares of sequence lengths, spec section 2: (shortest, longest, per cent); the shortest sample has five tokens.
HISTOGRAM = ((5, 64, 17.6), (65, 128, 19.4), (129, 192, 11.4), (193, 256, 8.3), (257, 304, 5.0), (305, 384, 6.8), (385, 511, 8.2),
             (512, 512, 23.4))


def lengths_of_the_spec(count: int, seed: int = 0) -> np.ndarray:
    """Lengths int64 [count] drawn from the published histogram, uniform within its ranges."""
    rng = np.random.default_rng(seed)
    low, high, share = (np.array(column) for column in zip(*HISTOGRAM, strict=True))
    ranges = rng.choice(len(low), count, p=share / share.sum())
    return rng.integers(low[ranges], high[ranges] + 1)


def example(length: int, rng: np.random.Generator, vocab_size: int = 1000) -> Example:
    """A sample of this length; 15 % of its tokens are predicted, as Python rounds."""
    positions = np.sort(rng.choice(np.arange(1, length), max(1, round(0.15 * length)), replace=False))
    return Example(rng.integers(1, vocab_size, length).tolist(), int(rng.integers(2, length - 1)), positions.tolist(),
                   rng.integers(1, vocab_size, len(positions)).tolist(), bool(rng.integers(2)))


def prepared(folder: Path, shards: list[list[Example]], evaluation: list[Example], slots: int, vocab_size: int = 1000) -> Path:
    """A prepared folder of these training shards and evaluation samples."""
    made = {f"part-{i}": store.write_shard(folder / bert.TRAIN, f"part-{i}", shard, "") for i, shard in enumerate(shards)}
    store.write_index(folder / bert.TRAIN, list(made))
    store.write_shard(folder / bert.EVAL, bert.EVAL, evaluation, "")
    store.write_index(folder / bert.EVAL, [bert.EVAL])
    samples = [sample for shard in shards for sample in shard]
    lengths = [len(sample.tokens) for sample in samples]
    meta = bert.Meta("", vocab_size, slots, len(samples), sum(lengths), sum(len(s.positions) for s in samples),
                     sum(s.random_next for s in samples), np.bincount(lengths, minlength=slots + 1).tolist(), len(evaluation),
                     len(evaluation), sum(len(s.positions) for s in evaluation), max((len(s.tokens) for s in evaluation), default=0),
                     {name: shard.samples for name, shard in made.items()}, {bert.EVAL: len(evaluation)})
    (folder / "meta.json").write_text(json.dumps(dataclasses.asdict(meta)))
    return folder


def features(sample: Example, slots: int, predictions: int) -> dict[str, list]:
    """The reference's features of a sample, padded."""
    length, masked = len(sample.tokens), len(sample.positions)
    return {
        "input_ids": sample.tokens + [0] * (slots - length),
        "input_mask": [1] * length + [0] * (slots - length),
        "segment_ids": [0] * sample.first + [1] * (length - sample.first) + [0] * (slots - length),
        "masked_lm_positions": sample.positions + [0] * (predictions - masked),
        "masked_lm_ids": sample.labels + [0] * (predictions - masked),
        "masked_lm_weights": [1.0] * masked + [0.0] * (predictions - masked),
        "next_sentence_labels": [int(sample.random_next)],
    }


def record(values: dict[str, list]) -> bytes:
    """A tf.train.Example of lists of integers, or of floats where the first value is one."""
    entries = b""
    for name, numbers in values.items():
        if numbers and isinstance(numbers[0], float):
            feature = _message(2, _message(1, struct.pack(f"<{len(numbers)}f", *numbers)))
        else:
            feature = _message(3, _message(1, b"".join(map(_varint, numbers))))
        entries += _message(1, _message(1, name.encode()) + _message(2, feature))
    return _message(1, entries)


def _message(field: int, content: bytes) -> bytes:
    return bytes([field << 3 | 2]) + _varint(len(content)) + content


def _varint(number: int) -> bytes:
    number %= 1 << 64
    sevens = []
    while True:
        sevens.append(number % 128)
        number //= 128
        if not number:
            return bytes([*(seven + 128 for seven in sevens[:-1]), sevens[-1]])
