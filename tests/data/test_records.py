"""The on-disk store: random access, atomic folders, digests that notice changes."""

import numpy as np
import pytest

from jax_mlperf.data import records


def test_sequences_come_back(tmp_path):
    chunks = [
        (np.array([5, 6, 7]), np.array([2, 1])),
        (np.array([], int), np.array([0])),
        (np.array([9]), np.array([1])),
    ]
    lengths = records.write_sequences(tmp_path / "train.source", iter(chunks), vocab_size=300)
    sequences = records.Sequences(tmp_path / "train.source")
    assert lengths.tolist() == sequences.lengths().tolist() == [2, 1, 0, 1]
    assert [sequences[i].tolist() for i in range(len(sequences))] == [[5, 6], [7], [], [9]]
    assert sequences.tokens.dtype == np.uint16 and isinstance(sequences.tokens.base, np.memmap)
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "train.source.offsets.npy",
        "train.source.tokens.npy",
    ]


def test_large_vocabularies_take_wider_tokens(tmp_path):
    assert records.token_dtype(1 << 16) == np.uint16
    assert records.token_dtype((1 << 16) + 1) == np.uint32
    records.write_sequences(tmp_path / "x", [(np.array([70_000]), np.array([1]))], vocab_size=70_001)
    assert records.Sequences(tmp_path / "x")[0].tolist() == [70_000]


def test_no_sequences_at_all(tmp_path):
    records.write_sequences(tmp_path / "x", [], vocab_size=10)
    assert len(records.Sequences(tmp_path / "x")) == 0


def test_a_folder_appears_whole_or_not_at_all(tmp_path):
    folder = tmp_path / "prepared"
    with pytest.raises(RuntimeError), records.written_atomically(folder) as temporary:
        (temporary / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    for name in ("first", "second"):
        with records.written_atomically(folder) as temporary:
            records.write_meta(temporary, {"name": name})
            assert records.read_meta(folder) == (None if name == "first" else {"name": "first"})
        assert records.read_meta(folder) == {"name": name}
    assert [path.name for path in tmp_path.iterdir()] == ["prepared"]


@pytest.mark.parametrize("size", [10, 4 << 20])
def test_digest_notices_size_and_content(tmp_path, size):
    path = tmp_path / "file"
    digests = set()
    for content in (b"a" * size, b"a" * (size + 1), b"b" + b"a" * (size - 1), b"a" * (size - 1) + b"b"):
        path.write_bytes(content)
        digests.add(records.file_digest(path))
    assert len(digests) == 4


def test_fingerprint_depends_on_every_setting():
    assert records.fingerprint({"a": 1, "b": 2}) == records.fingerprint({"b": 2, "a": 1})
    assert records.fingerprint({"a": 1}) != records.fingerprint({"a": 2})
