import struct

import numpy as np
import pytest

from jax_mlperf.data import tfrecord
from jax_mlperf.errors import UserError


def _file(tmp_path, payloads):
    path = tmp_path / "some-00000-of-00001"
    tfrecord.write_shard(path, payloads)
    return path


def test_crc_of_known_vector():
    # CRC-32C of "123456789" is e3069283 (RFC 3720's polynomial); masked by hand: rotate right 15, add a282ead8.
    assert tfrecord.masked_crc(b"123456789") == ((0xE3069283 >> 15 | 0xE3069283 << 17) + 0xA282EAD8) % 2**32


def test_written_records_are_indexed_and_read(tmp_path):
    payloads = [b"one", b"", b"three" * 1000]
    path = _file(tmp_path, payloads)
    offsets, lengths = tfrecord.index_shard(path)
    assert lengths.tolist() == [3, 0, 5000] and offsets.tolist() == [12, 31, 47]
    shards = tfrecord.Shards([path], [path.stat().st_size])
    assert [shards.read(0, int(o), int(n)) for o, n in zip(offsets, lengths, strict=True)] == payloads
    assert all(shards.is_intact(0, int(o), int(n)) for o, n in zip(offsets, lengths, strict=True))
    shards.close()
    assert tfrecord.corrupt_records(path) == (3, [])


def test_flipped_bit_of_a_payload_is_found(tmp_path):
    path = _file(tmp_path, [b"aaaa", b"bbbb"])
    data = bytearray(path.read_bytes())
    data[20 + 12] ^= 1
    path.write_bytes(data)
    assert tfrecord.corrupt_records(path) == (2, [1])


def test_damaged_header_and_truncation_name_the_record(tmp_path):
    path = _file(tmp_path, [b"aaaa", b"bbbb"])
    whole = path.read_bytes()
    path.write_bytes(whole[:20] + struct.pack("<Q", 5) + whole[28:])
    with pytest.raises(UserError, match=r"some-00000-of-00001: record 1 .* corrupt: the CRC of its length"):
        tfrecord.index_shard(path)
    for end in (25, 35, 39):
        path.write_bytes(whole[:end])
        with pytest.raises(UserError, match=r"some-00000-of-00001: the file ends within record 1"):
            tfrecord.index_shard(path)


def test_file_that_changed_since_indexing(tmp_path):
    path = _file(tmp_path, [b"aaaa"])
    shards = tfrecord.Shards([path, tmp_path / "gone"], [path.stat().st_size - 1, 5])
    with pytest.raises(UserError, match="has 20 bytes, had 19 .* run data prepare again"):
        shards.read(0, 12, 4)
    with pytest.raises(UserError, match="cannot read .*gone: No such file"):
        shards.read(1, 12, 4)


def test_more_files_than_may_be_open(tmp_path, monkeypatch):
    monkeypatch.setattr(tfrecord, "_raised_file_limit", lambda wanted: 4)
    paths = []
    for number in range(5):
        paths.append(tmp_path / str(number))
        tfrecord.write_shard(paths[-1], [bytes([number] * 10)])
    shards = tfrecord.Shards(paths, [26] * 5)
    for _ in range(2):
        assert [shards.read(number, 12, 10)[0] for number in range(5)] == list(range(5))
    assert len(shards._open) == 2
    shards.close()


def test_failed_write_leaves_nothing(tmp_path):
    def payloads():
        yield b"one"
        raise ValueError("stop")

    with pytest.raises(ValueError, match="stop"):
        _file(tmp_path, payloads())
    assert list(tmp_path.iterdir()) == []


def test_index_of_real_shard(shared_data):
    path = shared_data / "tfds/imagenet2012/5.1.0/imagenet2012-train.tfrecord-00000-of-00001"
    offsets, lengths = tfrecord.index_shard(path)
    assert len(offsets) == 50 and offsets[0] == 12
    assert np.all(np.diff(offsets) == lengths[:-1] + 16)
    assert tfrecord.corrupt_records(path) == (50, [])
