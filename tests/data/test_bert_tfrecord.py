"""The reference's records: read as they were written, and what is wrong with one said by its feature."""

import itertools

import numpy as np
import pytest
from pretraining_samples import example, features, record

from jax_mlperf.data import bert_tfrecord
from jax_mlperf.data.pretraining_examples import Example
from jax_mlperf.data.tfrecord import write_shard
from jax_mlperf.errors import UserError

SLOTS, PREDICTIONS, VOCABULARY = 64, 10, 30_522
SAMPLE = Example([101, 2009, 103, 102, 29_999, 102], 4, [2, 4], [2003, 1037], True)


def parse(**changes):
    return bert_tfrecord.parse(record(features(SAMPLE, SLOTS, PREDICTIONS) | changes), SLOTS, PREDICTIONS, VOCABULARY)


def test_records_come_back(tmp_path):
    rng = np.random.default_rng(0)
    samples = [example(int(length), rng, VOCABULARY) for length in (5, 64, *rng.integers(5, 65, 10))]
    write_shard(tmp_path / "part", (record(features(sample, SLOTS, PREDICTIONS)) for sample in samples))
    assert list(bert_tfrecord.read(tmp_path / "part", SLOTS, PREDICTIONS, VOCABULARY)) == samples
    assert parse() == SAMPLE and parse(further=[7]) == SAMPLE


def altered(name, changes, length=SLOTS):
    values = features(SAMPLE, SLOTS, PREDICTIONS)[name][:length]
    for place, value in changes.items():
        values[place] = value
    return {name: values}


@pytest.mark.parametrize(("changes", "message"), [
    ({"input_ids": [1] * 32}, r"its input_ids are 32 integers, should be 64 \(data.max_sequence_length 64, data.max_predictions 10: "
                              r"those of the records\?\)"),
    ({"masked_lm_weights": [1.0] * 20}, "its masked_lm_weights are 20 floats, should be 10"),
    ({"next_sentence_labels": [0, 1]}, "its next_sentence_labels are 2 integers, should be 1"),
    ({"masked_lm_weights": [1] * 10}, "its masked_lm_weights are 0 floats, should be 10"),  # integers in their place
    (altered("input_mask", {3: 0}), "its input_mask are not ones and then zeros"),
    (altered("input_mask", {0: 2}), "its input_mask are not ones and then zeros"),
    (altered("input_mask", dict.fromkeys(range(6), 0)), "its input_mask is empty"),
    (altered("masked_lm_weights", {1: 0.5}), "its masked_lm_weights are not ones and then zeros"),
    (altered("segment_ids", {4: 0, 3: 1}), "its segment_ids are not ones and then zeros"),
    (altered("segment_ids", {0: 1}), "its segment_ids do not begin with 0"),
    (altered("segment_ids", {9: 1}), "its segment_ids do not end with zeros"),
    (altered("input_ids", {4: 30_522}), "its input_ids hold 30522, should hold 0 to 30521"),
    (altered("input_ids", {4: -5}), "its input_ids hold -5, should"),
    (altered("input_ids", {6: 1}), "its input_ids do not end with zeros"),
    (altered("masked_lm_ids", {1: 1 << 40}), "its masked_lm_ids hold 1099511627776"),
    (altered("masked_lm_positions", {1: 6}), "its masked_lm_positions hold 6, should hold 0 to 5"),
    ({"next_sentence_labels": [2]}, "its next_sentence_labels hold 2, should hold 0 to 1"),
])  # fmt: skip
def test_what_is_no_such_sample(changes, message):
    with pytest.raises(ValueError, match=message):
        parse(**changes)


@pytest.mark.parametrize("name", sorted(features(SAMPLE, SLOTS, PREDICTIONS)))
def test_missing_features_are_named(name, tmp_path):
    values = features(SAMPLE, SLOTS, PREDICTIONS)
    whole = record(values)
    del values[name]
    write_shard(tmp_path / "part", [whole, record(values)])
    found = bert_tfrecord.read(tmp_path / "part", SLOTS, PREDICTIONS, VOCABULARY)
    assert next(found) == SAMPLE
    with pytest.raises(UserError, match=rf"part: record 1 is corrupt: it holds no feature '{name}'; copy the file again"):
        next(found)


@pytest.mark.slow  # imports TensorFlow
def test_records_of_tensorflow(tmp_path):
    """Written by the library that writes the reference's."""
    import tensorflow as tf

    rng = np.random.default_rng(1)
    samples = [example(int(length), rng, VOCABULARY) for length in rng.integers(5, 513, 5)]
    with tf.io.TFRecordWriter(str(tmp_path / "part")) as writer:
        for sample in samples:
            lists = {name: tf.train.Feature(float_list=tf.train.FloatList(value=values)) if name == "masked_lm_weights" else
                     tf.train.Feature(int64_list=tf.train.Int64List(value=values))
                     for name, values in features(sample, 512, 77).items()}
            writer.write(tf.train.Example(features=tf.train.Features(feature=lists)).SerializeToString())
    assert list(bert_tfrecord.read(tmp_path / "part", 512, 77, VOCABULARY)) == samples


def test_no_prefix_is_a_sample():
    """A record that was cut anywhere is refused, never read as another sample."""
    whole = record(features(SAMPLE, SLOTS, PREDICTIONS))
    for end in itertools.chain(range(0, len(whole), 7), [len(whole) - 1]):
        with pytest.raises(ValueError, match=r"no tf.train.Example|holds no feature|are not|should be"):
            bert_tfrecord.parse(whole[:end], SLOTS, PREDICTIONS, VOCABULARY)
