"""The three forms in which CIFAR-10 is published, read into arrays: binary records, Python pickles, TFRecords.

Every reader returns uint8 images [n, 32, 32, 3] and uint8 labels [n], and names the file and record of what it refuses.
"""

import io
import pickle
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np

from jax_mlperf.errors import UserError

CLASSES = 10
SIZE = 32
RECORD_BYTES = 1 + 3 * SIZE * SIZE  # a label, then the red, green and blue planes
RECORDS_PER_FILE = 10_000
_TFDS_NAME = r"cifar10-{split}\.tfrecord-\d{{5}}-of-(\d{{5}})"

Form = Literal["binary", "tfds", "python"]
Arrays = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Files:
    """The files of one form, there or not."""

    form: Form
    train: tuple[Path, ...]
    test: tuple[Path, ...]

    @property
    def missing(self) -> list[Path]:
        """Those that are not there."""
        return [path for path in (*self.train, *self.test) if not path.is_file()]


def find_files(folder: Path) -> Files:
    """The form of which `folder`, or the folders below, hold all files; else the one of which they hold most of its files.

    With nothing there: the binary files, which `data download` brings.
    """
    candidates = [
        _files("binary", folder, [f"data_batch_{number}.bin" for number in range(1, 6)], ["test_batch.bin"]),
        _files("tfds", folder, _shard_names(folder, "train"), _shard_names(folder, "test")),
        _files("python", folder, [f"data_batch_{number}" for number in range(1, 6)], ["test_batch"]),
    ]
    return min(candidates, key=lambda files: len(files.missing) / len((*files.train, *files.test)))


def _files(form: Form, folder: Path, train: list[str], test: list[str]) -> Files:
    return Files(form, tuple(_located(folder, name) for name in train), tuple(_located(folder, name) for name in test))


def _located(folder: Path, name: str) -> Path:
    path = folder / name
    if path.exists() or not folder.is_dir():
        return path
    return next(iter(sorted(folder.rglob(name))), path)


def _shard_names(folder: Path, split: str) -> list[str]:
    pattern = re.compile(_TFDS_NAME.format(split=split))
    found = sorted(filter(None, (pattern.fullmatch(path.name) for path in folder.rglob("cifar10-*"))), key=lambda m: m[0])
    total = int(found[0][1]) if found else 1
    return [f"cifar10-{split}.tfrecord-{number:05d}-of-{total:05d}" for number in range(total)]


def read(form: Form, path: Path, records: int = RECORDS_PER_FILE) -> Arrays:
    """The images and labels of one file, in its order.

    Args:
      form: of the file.
      path: the file.
      records: that a binary file or a pickle must hold; a TFRecord file has any number.

    Raises:
      UserError: the file or one of its records is damaged, or a label lies outside 0..9.
    """
    if form == "tfds":
        images, labels = _read_tfds(path)
    else:
        images, labels = (_read_binary if form == "binary" else _read_pickle)(path, records)
    wrong = np.flatnonzero((labels < 0) | (labels >= CLASSES))
    if len(wrong):
        raise UserError(f"{path}: record {wrong[0]} has label {labels[wrong[0]]}, must be 0 to {CLASSES - 1}: "
                        "this is no CIFAR-10 file, or it is damaged; get it again")
    return images, labels.astype(np.uint8)


def write_binary(path: Path, images: np.ndarray, labels: np.ndarray) -> None:
    """Writes uint8 [n, 32, 32, 3] and labels [n] as binary records (https://www.cs.toronto.edu/~kriz/cifar.html)."""
    planes = images.transpose(0, 3, 1, 2).reshape(len(images), -1)
    np.concatenate([labels.astype(np.uint8)[:, None], planes], axis=1).tofile(path)


def _channels_last(planes: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(planes.reshape(-1, 3, SIZE, SIZE).transpose(0, 2, 3, 1))


def _read_binary(path: Path, records: int) -> Arrays:
    size = path.stat().st_size
    if size != records * RECORD_BYTES:
        raise UserError(f"{path} has {size:,} bytes, should have {records * RECORD_BYTES:,} "
                        f"({records:,} records of {RECORD_BYTES:,}): remove it and download it again")
    content = np.fromfile(path, np.uint8).reshape(records, RECORD_BYTES)
    return _channels_last(content[:, 1:]), content[:, 0].astype(np.int64)


# What an array needs; "numpy.core" is what Python 2 wrote, "numpy._core" what NumPy 2 writes.
_ALLOWED_GLOBALS: dict[tuple[str, str], Any] = {
    **{(f"numpy.{core}.multiarray", "_reconstruct"): np.zeros(0).__reduce__()[0] for core in ("core", "_core")},
    ("numpy", "ndarray"): np.ndarray,
    ("numpy", "dtype"): np.dtype,
}


class _ArraysOnly(pickle.Unpickler):
    """Refuses every global but those of an array, so that a file can run no code."""

    def find_class(self, module_name: str, global_name: str) -> Any:
        """See pickle.Unpickler."""
        if (module_name, global_name) not in _ALLOWED_GLOBALS:
            raise pickle.UnpicklingError(f"it asks for {module_name}.{global_name}")
        return _ALLOWED_GLOBALS[module_name, global_name]


def _read_pickle(path: Path, records: int) -> Arrays:
    try:
        with open(path, "rb") as file:
            content = _ArraysOnly(file, encoding="latin1").load()
        # Files that Python 3 wrote have keys of bytes.
        named = {key.decode() if isinstance(key, bytes) else key: value for key, value in content.items()}
        planes, labels = np.asarray(named["data"]), np.asarray(named["labels"])
        if planes.dtype != np.uint8 or planes.shape != (records, RECORD_BYTES - 1) or labels.shape != (records,):
            raise ValueError(f"it holds {planes.dtype} {list(planes.shape)} and {labels.size} labels, "
                             f"not uint8 [{records}, {RECORD_BYTES - 1}] and as many labels")
        return _channels_last(planes), labels.astype(np.int64)
    except Exception as error:  # damaged pickles raise anything
        raise UserError(f"{path} is no CIFAR-10 pickle: {error or type(error).__name__}; get it again") from error


def _read_tfds(path: Path) -> Arrays:
    from jax_mlperf.data.tfrecord import parsed_records

    pairs = list(parsed_records(path, _image_and_label))
    images = np.array([image for image, _ in pairs], np.uint8).reshape(-1, SIZE, SIZE, 3)
    return images, np.array([label for _, label in pairs], np.int64)


def _image_and_label(record: memoryview) -> tuple[np.ndarray, int]:
    from jax_mlperf.data.example import bytes_and_int

    # `tensorflow/datasets:tensorflow_datasets/image_classification/cifar.py`
    encoded, label = bytes_and_int(record, b"image", b"label")
    return _decoded(encoded), label


def _decoded(encoded: bytes) -> np.ndarray:
    """A PNG (as TensorFlow Datasets has them) or JPEG of 32x32 pixels as uint8 [32, 32, 3]."""
    from PIL import Image

    with Image.open(io.BytesIO(encoded)) as image:
        if image.size != (SIZE, SIZE):
            raise ValueError(f"its image has {image.size[0]}x{image.size[1]} pixels, must have {SIZE}x{SIZE}")
        return np.asarray(image.convert("RGB"))
