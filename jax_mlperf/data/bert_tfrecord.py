"""The reference's TFRecords of BERT's samples, read and checked.

Features, their kinds and paddings: `mlcommons/training:retired_benchmarks/bert/cleanup_scripts/create_pretraining_data.py`.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from jax_mlperf.data.example import features_of, floats, ints
from jax_mlperf.data.pretraining_examples import Example
from jax_mlperf.data.tfrecord import parsed_records

_TOKENS = (b"input_ids", b"input_mask", b"segment_ids")
_PREDICTIONS = (b"masked_lm_positions", b"masked_lm_ids", b"masked_lm_weights")
_LABEL = b"next_sentence_labels"


def read(path: Path, max_sequence_length: int, max_predictions: int, vocab_size: int) -> Iterator[Example]:
    """The samples of a file, in its order.

    Raises:
      UserError: the file cannot be read; or a record is damaged or no such sample: it names the record and the feature.
    """
    return parsed_records(path, lambda record: parse(record, max_sequence_length, max_predictions, vocab_size))


def parse(record: bytes | memoryview, max_sequence_length: int, max_predictions: int, vocab_size: int) -> Example:
    """One sample.

    Raises:
      ValueError: a feature is missing, of another length, or holds what no such sample has; the message names it.
    """
    features = features_of(record)
    lengths = {_LABEL: 1} | dict.fromkeys(_TOKENS, max_sequence_length) | dict.fromkeys(_PREDICTIONS, max_predictions)
    values = {}
    for name, length in lengths.items():
        if name not in features:
            raise ValueError(f"it holds no feature {name.decode()!r}")
        values[name] = found = (floats if name == b"masked_lm_weights" else ints)(features[name])
        if len(found) != length:
            kind = "floats" if found.dtype == np.float32 else "integers"
            raise ValueError(f"its {name.decode()} are {len(found)} {kind}, should be {length} (data.max_sequence_length "
                             f"{max_sequence_length}, data.max_predictions {max_predictions}: those of the records?)")
    ids, mask, segments = (values[name] for name in _TOKENS)
    positions, labels, weights = (values[name] for name in _PREDICTIONS)
    length, predictions = _ones(mask, "input_mask"), _ones(weights, "masked_lm_weights")
    if not length or segments[0]:
        raise ValueError("its input_mask is empty" if not length else "its segment_ids do not begin with 0")
    first = length - _ones(segments[:length][::-1], "segment_ids")
    for word, array, used, below in (
        ("input_ids", ids, length, vocab_size), ("segment_ids", segments, length, 2),
        ("masked_lm_positions", positions, predictions, length), ("masked_lm_ids", labels, predictions, vocab_size),
        ("next_sentence_labels", values[_LABEL], 1, 2),
    ):  # fmt: skip
        # As unsigned integers, negative ones are large.
        if int(array.view(np.uint64).max()) >= below:
            raise ValueError(f"its {word} hold {int(array[array.view(np.uint64).argmax()])}, should hold 0 to {below - 1}")
        if array[used:].any():
            raise ValueError(f"its {word} do not end with zeros, as the mask says")
    return Example(ids[:length].tolist(), first, positions[:predictions].tolist(), labels[:predictions].tolist(),
                   bool(values[_LABEL][0]))


def _ones(array: np.ndarray, name: str) -> int:
    """Number of ones that the array begins with, where zeros follow to its end."""
    count = int(np.count_nonzero(array))
    if not (array[:count] == 1).all():
        raise ValueError(f"its {name} are not ones and then zeros")
    return count
