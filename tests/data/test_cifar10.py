"""CIFAR-10's three published forms, the generated images, the prepared folder, and what is refused."""

import io
import pickle
import struct

import numpy as np
import pytest
from PIL import Image

from jax_mlperf.data import cifar10, cifar10_formats, records
from jax_mlperf.data.cifar10 import Settings
from jax_mlperf.data.cifar10_formats import read, write_binary
from jax_mlperf.data.example import encode_example
from jax_mlperf.data.tfrecord import write_shard
from jax_mlperf.errors import UserError

COUNT = 12


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (COUNT, 32, 32, 3), dtype=np.uint8)


LABELS = np.arange(COUNT) % 10


def planes(images) -> np.ndarray:
    return images.transpose(0, 3, 1, 2).reshape(len(images), -1)


def encoded(image, form="PNG") -> bytes:
    file = io.BytesIO()
    Image.fromarray(image).save(file, form)
    return file.getvalue()


def write_tfds(path, images, labels=LABELS) -> None:
    write_shard(path, [encode_example({"id": b"x", "image": encoded(image), "label": int(label)})
                       for image, label in zip(images, labels, strict=True)])


def python2_pickle(images, labels) -> bytes:
    """What Python 2 with NumPy 1 wrote at protocol 2: strings of bytes, and the array from numpy.core.multiarray."""

    def string(value: bytes) -> bytes:
        return b"T" + struct.pack("<i", len(value)) + value

    def tuple_of(*values: bytes) -> bytes:
        return b"(" + b"".join(values) + b"t"

    def number(value: int) -> bytes:
        return b"J" + struct.pack("<i", value)

    dtype = b"cnumpy\ndtype\n" + tuple_of(string(b"u1"), number(0), number(1)) + b"R"
    dtype += tuple_of(number(3), string(b"|"), b"N", b"N", b"N", number(-1), number(-1), number(0)) + b"b"
    empty = b"cnumpy.core.multiarray\n_reconstruct\n" + tuple_of(b"cnumpy\nndarray\n", tuple_of(number(0)), string(b"b")) + b"R"
    shape = tuple_of(number(len(images)), number(3072))
    array = empty + tuple_of(number(1), shape, dtype, b"I00\n", string(planes(images).tobytes())) + b"b"
    listed = b"](" + b"".join(number(int(label)) for label in labels) + b"e"
    return b"\x80\x02}(" + string(b"data") + array + string(b"labels") + listed + b"u."


@pytest.fixture
def small(monkeypatch):
    """The benchmark with files of 12 records, 60 + 12 images in all."""
    monkeypatch.setattr(cifar10, "RECORDS_PER_FILE", COUNT)
    monkeypatch.setattr(cifar10, "SAMPLES", {"train": 5 * COUNT, "test": COUNT})


def raw_binary(folder, images):
    folder.mkdir(parents=True)
    for name in cifar10_formats.find_files(folder).missing:
        write_binary(name, images, LABELS)
    return Settings(raw_dir=str(folder))


def test_all_forms_hold_the_same(tmp_path, images):
    write_binary(tmp_path / "a.bin", images, LABELS)
    assert (tmp_path / "a.bin").read_bytes()[:4] == bytes([0, *images[0, 0, :3, 0]])  # label, then red along the row
    assert (tmp_path / "a.bin").read_bytes()[1025] == images[0, 0, 0, 1]
    (tmp_path / "python2").write_bytes(python2_pickle(images, LABELS))
    (tmp_path / "python3").write_bytes(pickle.dumps({b"data": planes(images), b"labels": LABELS.tolist()}, protocol=4))
    write_tfds(tmp_path / "a.tfrecord", images)
    for form, name in (("binary", "a.bin"), ("python", "python2"), ("python", "python3"), ("tfds", "a.tfrecord")):
        found, labels = read(form, tmp_path / name, COUNT)
        assert found.dtype == labels.dtype == np.uint8
        np.testing.assert_array_equal(found, images, err_msg=name)
        np.testing.assert_array_equal(labels, LABELS)


def test_prepare_once(tmp_path, images, small):
    settings = raw_binary(tmp_path / "raw" / "cifar-10-batches-bin", images)
    folder = cifar10.prepare(tmp_path, settings)
    train, test = (cifar10.load(folder, split) for split in cifar10.SPLITS)
    np.testing.assert_array_equal(train.images, np.tile(images, (5, 1, 1, 1)))
    np.testing.assert_array_equal(test.labels, LABELS)
    meta = cifar10.read_meta(folder)
    assert (meta.form, meta.train_images, meta.test_images) == ("binary", 60, 12)
    before = (folder / "train.images.npy").stat().st_mtime_ns
    cifar10.prepare(tmp_path, settings)
    assert (folder / "train.images.npy").stat().st_mtime_ns == before
    write_binary(tmp_path / "raw" / "cifar-10-batches-bin" / "test_batch.bin", images, LABELS[::-1])
    np.testing.assert_array_equal(cifar10.load(cifar10.prepare(tmp_path, settings), "test").labels, LABELS[::-1])
    assert cifar10.read_meta(folder).fingerprint != meta.fingerprint


def test_tfds_shards_in_a_folder_below(tmp_path, images, monkeypatch):
    monkeypatch.setattr(cifar10, "SAMPLES", {"train": COUNT, "test": COUNT})
    folder = tmp_path / "cifar10" / "3.0.2"
    folder.mkdir(parents=True)
    for number, part in enumerate((slice(0, 5), slice(5, COUNT))):
        write_tfds(folder / f"cifar10-train.tfrecord-{number:05d}-of-00002", images[part], LABELS[part])
    with pytest.raises(UserError, match=r"1 of 3 .*missing, .*cifar10-test\.tfrecord-00000-of-00001"):
        cifar10.prepare(tmp_path, Settings())
    write_tfds(folder / "cifar10-test.tfrecord-00000-of-00001", images)
    np.testing.assert_array_equal(cifar10.load(cifar10.prepare(tmp_path, Settings()), "train").images, images)
    assert [check.state for check in cifar10.verify(tmp_path, Settings())] == ["ok"] * 3
    monkeypatch.setattr(cifar10, "SAMPLES", {"train": COUNT + 1, "test": COUNT})
    (tmp_path / "prepared" / "cifar10" / records.META).unlink()
    with pytest.raises(UserError, match="holds 12 images of the split 'train', should hold 13"):
        cifar10.prepare(tmp_path, Settings())


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"6 of 6 .*data_batch_1\.bin.*data download"):
        cifar10.prepare(tmp_path, Settings())
    assert [present for _, present in cifar10.required_files(tmp_path, Settings())] == [False] * 6
    assert cifar10.required_files(tmp_path, Settings("cifar10-tiny")) == []
    assert [check.state for check in cifar10.verify(tmp_path, Settings())] == ["missing"] * 6


def test_damaged_files_name_file_and_record(tmp_path, images):
    path = tmp_path / "data_batch_1.bin"
    write_binary(path, images, LABELS)
    with pytest.raises(UserError, match=r"data_batch_1\.bin has 36,876 bytes, should have 39,949"):
        read("binary", path, COUNT + 1)
    write_binary(path, images, np.where(np.arange(COUNT) == 7, 11, LABELS))
    with pytest.raises(UserError, match=r"data_batch_1\.bin: record 7 has label 11, must be 0 to 9"):
        read("binary", path, COUNT)
    path = tmp_path / "cifar10-train.tfrecord"
    for third, problem in ((encoded(images[0])[:-900], "truncated"), (b"no image", "cannot identify"),
                           (encoded(images[0, :16]), "32x16 pixels")):
        write_shard(path, [encode_example({"image": content, "label": 1})
                           for content in (encoded(images[0]), encoded(images[1], "JPEG"), third)])
        with pytest.raises(UserError, match=rf"cifar10-train\.tfrecord: record 2 is corrupt: .*{problem}"):
            read("tfds", path)
    write_tfds(path, images)
    content = bytearray(path.read_bytes())
    content[-100] ^= 1
    path.write_bytes(content)
    with pytest.raises(UserError, match=rf"record {COUNT - 1} is corrupt: the CRC"):
        read("tfds", path)
    write_shard(path, [encode_example({"image": encoded(images[0])})])
    with pytest.raises(UserError, match="record 0 is corrupt: it holds no feature 'label'"):
        read("tfds", path)


class _Malicious:
    def __reduce__(self):
        return print, ("executed",)


def test_pickles_run_no_code(tmp_path, capsys):
    path = tmp_path / "data_batch_1"
    for content, problem in ((_Malicious(), "asks for builtins.print"), ({"data": np.zeros((3, 3072), np.uint8), "labels": [1]},
                             r"uint8 \[3, 3072\] and 1 labels"), ({"labels": []}, "'data'")):
        path.write_bytes(pickle.dumps(content, protocol=4))
        with pytest.raises(UserError, match=rf"data_batch_1 is no CIFAR-10 pickle: .*{problem}"):
            read("python", path, COUNT)
    path.write_bytes(b"nonsense")
    with pytest.raises(UserError, match="data_batch_1 is no CIFAR-10 pickle"):
        read("python", path, COUNT)
    assert capsys.readouterr().out == ""


def test_verify(tmp_path, images, small, monkeypatch):
    settings = raw_binary(tmp_path / "raw", images)
    assert {check.state for check in cifar10.verify(tmp_path, settings)} == {"damaged"}  # files of 12 records, not 10,000
    for path in (tmp_path / "raw").iterdir():
        path.rename(path.with_suffix(""))
    checks = cifar10.verify(tmp_path, settings)
    assert len(checks) == 6 and all("md5" in check.detail and check.state == "damaged" for check in checks)


def test_tiny_is_written_as_binary_records(tmp_path):
    settings = Settings("cifar10-tiny", tiny_images=(50, 20))
    folder = cifar10.prepare(tmp_path, settings)
    assert (tmp_path / "cifar10-tiny" / "data_batch_1.bin").stat().st_size == 50 * 3073
    train, test = (cifar10.load(folder, split) for split in cifar10.SPLITS)
    assert np.bincount(train.labels).tolist() == [5] * 10 and np.bincount(test.labels).tolist() == [2] * 10
    assert not (train.images[:20] == test.images).all(axis=(1, 2, 3)).any()
    other = cifar10.prepare(tmp_path, Settings("cifar10-tiny", tiny_images=(50, 20), tiny_seed=5))
    assert (cifar10.load(other, "train").images != train.images).any()


def test_generating_leaves_the_folder_of_published_files_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("kept")
    settings = Settings("cifar10-tiny", raw_dir=str(tmp_path / "mine"), tiny_images=(20, 10))
    assert cifar10.prepare(tmp_path, settings) == tmp_path / "prepared" / "cifar10-tiny"
    assert (tmp_path / "mine" / "notes").read_text() == "kept"


@pytest.mark.slow
def test_real_images(tmp_path, shared_data):
    folder = cifar10.prepare(tmp_path, Settings(raw_dir=str(shared_data / "tfds" / "cifar10")))
    train, test = (cifar10.load(folder, split) for split in cifar10.SPLITS)
    assert np.bincount(train.labels).tolist() == [5000] * 10 and np.bincount(test.labels).tolist() == [1000] * 10
    np.testing.assert_allclose(train.images.mean(axis=(0, 1, 2)) / 255, [0.4914, 0.4822, 0.4465], atol=1e-3)
