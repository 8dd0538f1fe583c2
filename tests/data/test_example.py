"""tf.train.Example, read and written without TensorFlow."""

import pytest

from jax_mlperf.data.example import bytes_and_int, encode_example


def test_example_by_hand():
    """Field by field: Example.features(1).entry(1) {key(1) "label", value(2) {int64_list(3) {value(1): [300]}}}."""
    label = bytes.fromhex("0a 05") + b"label" + bytes.fromhex("12 06 1a 04 0a 02 ac 02")
    image = bytes.fromhex("0a 05") + b"image" + bytes.fromhex("12 06 0a 04 0a 02 ff d8")
    record = b"".join(bytes([0x0A, len(entry)]) + entry for entry in (label, image))
    record = bytes([0x0A, len(record)]) + record
    assert bytes_and_int(record, b"image", b"label") == (b"\xff\xd8", 300)
    assert encode_example({"label": 300, "image": b"\xff\xd8"}) == record
    unpacked = record.replace(bytes.fromhex("1a 04 0a 02 ac 02"), bytes.fromhex("1a 04 08 ac 82 00"))
    assert bytes_and_int(unpacked, b"image", b"label")[1] == 300  # the value may stand unpacked, and written long


@pytest.mark.parametrize("record", [b"\x0a\x05ab", b"\x08\x01\x0a\x80", b"\x0f", b"\x08"])
def test_what_is_no_example(record):
    with pytest.raises(ValueError, match="no tf.train.Example"):
        bytes_and_int(record, b"image", b"label")


def test_negative_labels_survive():
    record = encode_example({"label": -3, "image": b""})
    assert bytes_and_int(record, b"image", b"label") == (b"", -3)
