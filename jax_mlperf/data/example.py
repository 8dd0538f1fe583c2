"""tf.train.Example in protobuf's wire format: named features read, their first value or all of them; records written.

`tensorflow/tensorflow:tensorflow/core/example/example.proto`, `feature.proto`: Example {1: Features}, Features {1: entries},
entry {1: name, 2: Feature}, Feature {1: BytesList, 2: FloatList, 3: Int64List}; field 1 of each list holds its values.
"""

from collections.abc import Iterator, Mapping

import numpy as np

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_BYTES_LIST, _FLOAT_LIST, _INT64_LIST = 1, 2, 3


def bytes_and_int(record: bytes | memoryview, bytes_name: bytes, int_name: bytes) -> tuple[bytes, int]:
    """The first value of a feature of bytes, and that of a feature of integers.

    Raises:
      ValueError: the record is no such Example; the message says what is wrong with it.
    """
    content: bytes | None = None
    number: int | None = None
    features = features_of(record)
    if bytes_name in features:
        content = _first_bytes(features[bytes_name])
    if int_name in features:
        number = _first_int(features[int_name])
    for found, wanted in ((content, bytes_name), (number, int_name)):
        if found is None:
            raise ValueError(f"it holds no feature {wanted.decode()!r}")
    assert content is not None and number is not None
    return content, number


def features_of(record: bytes | memoryview) -> dict[bytes, memoryview]:
    """The features by name, as they are stored: `ints` and `floats` read them.

    Raises:
      ValueError: the record is no such Example; the message says what is wrong with it.
    """
    features = {}
    for entry in _entries(memoryview(record)):
        name, feature = b"", None
        for field, value in _fields(entry):
            if field == 1:
                name = bytes(_submessage(value))
            elif field == 2:
                feature = _submessage(value)
        if feature is not None:
            features[name] = feature
    return features


def ints(feature: memoryview) -> np.ndarray:
    """All values of a feature of integers, int64 [n]; none when it is of another kind.

    Raises:
      ValueError: they are malformed.
    """
    lists: list[np.ndarray] = []
    for kind, values in _fields(feature):
        if kind == _INT64_LIST:
            for field, value in _fields(_submessage(values)):
                if field == 1:  # packed (a message of varints) or a single varint
                    alone = isinstance(value, int)
                    lists.append(np.array([value], np.uint64).view(np.int64) if alone else _varints(_submessage(value)))
    return lists[0] if len(lists) == 1 else np.concatenate([np.zeros(0, np.int64), *lists])


def floats(feature: memoryview) -> np.ndarray:
    """All values of a feature of floats, float32 [n]; none when it is of another kind.

    Raises:
      ValueError: they are malformed.
    """
    pieces: list[memoryview] = []
    for kind, values in _fields(feature):
        if kind == _FLOAT_LIST:  # packed or single: four bytes each, either way
            pieces += [_submessage(value) for field, value in _fields(_submessage(values)) if field == 1]
    content = b"".join(pieces)
    if len(content) % 4:
        raise ValueError("it is no tf.train.Example: floats are not of four bytes each")
    return np.frombuffer(content, "<f4")


def _varints(content: memoryview) -> np.ndarray:
    """Varints one behind the other, int64 [n]; of each, ten bytes at most, the last one below 128."""
    data = np.frombuffer(content, np.uint8)
    ends = (data < 0x80).nonzero()[0]
    if len(ends) == len(data):
        return data.astype(np.int64)
    starts = np.zeros(len(ends), np.int64)
    starts[1:] = ends[:-1] + 1
    further = ends - starts  # bytes of each after its first
    if not len(ends) or ends[-1] + 1 != len(data) or further.max() > 9:
        raise ValueError("it is no tf.train.Example: a number does not end")
    sevens = (data & 0x7F).astype(np.int64)
    numbers = sevens[starts]
    for byte in range(1, int(further.max()) + 1):
        longer = (further >= byte).nonzero()[0]
        numbers[longer] |= sevens[starts[longer] + byte] << 7 * byte
    return numbers


def encode_example(features: Mapping[str, bytes | int]) -> bytes:
    """A record of the given features, one value each."""
    entries = b""
    for name, value in features.items():
        if isinstance(value, bytes):
            feature = _message(_BYTES_LIST, _message(1, value))
        else:
            feature = _message(_INT64_LIST, _message(1, _varint(value)))
        entries += _message(1, _message(1, name.encode()) + _message(2, feature))
    return _message(1, entries)


def _entries(record: memoryview) -> Iterator[memoryview]:
    for field, features in _fields(record):
        if field == 1:
            for inner, entry in _fields(_submessage(features)):
                if inner == 1:
                    yield _submessage(entry)


def _first_bytes(feature: memoryview) -> bytes | None:
    for kind, values in _fields(feature):
        if kind == _BYTES_LIST:
            for field, value in _fields(_submessage(values)):
                if field == 1:
                    return bytes(_submessage(value))
    return None


def _first_int(feature: memoryview) -> int | None:
    for kind, values in _fields(feature):
        if kind == _INT64_LIST:
            for field, value in _fields(_submessage(values)):
                if field == 1:  # packed (a message of varints) or a single varint
                    number = value if isinstance(value, int) else _read_varint(value, 0)[0]
                    return number - (1 << 64) if number >> 63 else number
    return None


def _submessage(value: memoryview | int) -> memoryview:
    if isinstance(value, int):
        raise ValueError("it is no tf.train.Example: a number stands where a message should")
    return value


def _fields(data: memoryview) -> Iterator[tuple[int, memoryview | int]]:
    """(number, value) of each field of a message; fixed-size values come as their bytes."""
    at, end = 0, len(data)
    while at < end:
        key, at = _read_varint(data, at)
        wire = key & 7
        if wire == _VARINT:
            number, at = _read_varint(data, at)
            yield key >> 3, number
            continue
        if wire == _BYTES:
            length, at = _read_varint(data, at)
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise ValueError(f"it is no tf.train.Example: unknown wire type {wire}")
        if at + length > end:
            raise ValueError("it is no tf.train.Example: a field is longer than its message")
        yield key >> 3, data[at : at + length]
        at += length


def _read_varint(data: memoryview, at: int) -> tuple[int, int]:
    """A number and the place behind it."""
    number = shift = 0
    while at < len(data) and shift < 70:
        byte = data[at]
        number |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return number, at
        shift += 7
    raise ValueError("it is no tf.train.Example: a number does not end")


def _varint(number: int) -> bytes:
    number &= (1 << 64) - 1
    encoded = bytearray()
    while number > 0x7F:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


def _message(field: int, content: bytes) -> bytes:
    return _varint(field << 3 | _BYTES) + _varint(len(content)) + content
