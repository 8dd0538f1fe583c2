"""tf.train.Example in protobuf's wire format: the first value of named features read, records written.

`tensorflow/tensorflow:tensorflow/core/example/example.proto`, `feature.proto`: Example {1: Features}, Features {1: entries},
entry {1: name, 2: Feature}, Feature {1: BytesList, 2: FloatList, 3: Int64List}; field 1 of each list holds its values.
"""

from collections.abc import Iterator, Mapping

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5  # wire types
_BYTES_LIST, _INT64_LIST = 1, 3


def bytes_and_int(record: bytes | memoryview, bytes_name: bytes, int_name: bytes) -> tuple[bytes, int]:
    """The first value of a feature of bytes, and that of a feature of integers.

    Raises:
      ValueError: the record is no such Example; the message says what is wrong with it.
    """
    content: bytes | None = None
    number: int | None = None
    for entry in _entries(memoryview(record)):
        name, feature = b"", None
        for field, value in _fields(entry):
            if field == 1:
                name = bytes(_submessage(value))
            elif field == 2:
                feature = _submessage(value)
        if feature is not None and name == bytes_name:
            content = _first_bytes(feature)
        elif feature is not None and name == int_name:
            number = _first_int(feature)
    for found, wanted in ((content, bytes_name), (number, int_name)):
        if found is None:
            raise ValueError(f"it holds no feature {wanted.decode()!r}")
    assert content is not None and number is not None
    return content, number


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
