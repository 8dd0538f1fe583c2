"""tf.train.Example, read and written without TensorFlow."""

import numpy as np
import pytest

from jax_mlperf.data.example import bytes_and_int, encode_example, floats, ints


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


def test_whole_lists():
    """Packed and single values, of one byte and of more; negative ones take ten bytes."""
    numbers = [0, 1, 127, 128, 300, 30_521, -1, -(1 << 63), (1 << 63) - 1]
    packed = bytes.fromhex("00 01 7f 8001 ac02 b9ee01" + "ff" * 9 + "01" + "80" * 9 + "01" + "ff" * 8 + "7f")
    assert ints(memoryview(_list(3, packed))).tolist() == numbers
    assert ints(memoryview(_list(3, bytes([1, 0, 5])))).tolist() == [1, 0, 5]
    single = bytes.fromhex("1a 05") + bytes.fromhex("08 07 08 ac 02")
    assert ints(memoryview(single)).tolist() == [7, 300]
    assert ints(memoryview(single + _list(3, packed))).tolist() == [7, 300, *numbers]
    values = np.array([0.5, -1.0, 3e30], np.float32)
    assert floats(memoryview(_list(2, values.tobytes()))).tolist() == values.tolist()
    alone = b"".join(b"\x0d" + value.tobytes() for value in values)
    assert floats(memoryview(b"\x12" + bytes([len(alone)]) + alone)).tolist() == values.tolist()
    assert len(ints(memoryview(_list(2, values.tobytes())))) == len(floats(memoryview(_list(3, packed)))) == 0
    for broken in (b"\x80", b"\x01\xff", bytes([0xFF] * 10 + [1])):
        with pytest.raises(ValueError, match="a number does not end"):
            ints(memoryview(_list(3, broken)))
    with pytest.raises(ValueError, match="floats are not of four bytes"):
        floats(memoryview(_list(2, b"abcde")))


def _list(kind, content):
    return bytes([kind << 3 | 2, len(content) + 2, 0x0A, len(content)]) + content
