"""The two layouts of ImageNet's records."""

import pytest

from jax_mlperf.data.example import encode_example
from jax_mlperf.data.imagenet_example import LAYOUTS, classic_example, image_and_label


def test_records_of_unknown_features_are_read_over():
    record = encode_example({"other": b"x", "image": b"jpeg", "more": 5, "label": 999})
    assert image_and_label(record, LAYOUTS["tfds"]) == (b"jpeg", 999)


def test_classic_example_counts_labels_from_one():
    record = classic_example(b"x" * 200, 0, (3, 4), "a.JPEG", "n01440764")
    assert image_and_label(record, LAYOUTS["classic"]) == (b"x" * 200, 1)
    with pytest.raises(ValueError, match="no feature 'image'"):
        image_and_label(record, LAYOUTS["tfds"])
