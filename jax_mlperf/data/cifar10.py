"""CIFAR-10: which files, and how they become a prepared folder of four arrays.

A prepared folder holds `train.images.npy` (uint8 [n, 32, 32, 3]), `train.labels.npy` (uint8 [n]), `test.images.npy`,
`test.labels.npy` and `meta.json`. Preparing again is a check of fingerprints.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_mlperf.data import download as fetch
from jax_mlperf.data import records
from jax_mlperf.data.cifar10_formats import RECORDS_PER_FILE, SIZE, Files, find_files, read, write_binary
from jax_mlperf.data.sources import CIFAR10, CIFAR10_PICKLES
from jax_mlperf.errors import UserError

FORMAT = 1  # raise when what is written changes, so that older folders are made anew
SPLITS = ("train", "test")
SAMPLES = {"train": 50_000, "test": 10_000}
TINY = "cifar10-tiny"  # the variant, and the folder of what is generated for it
TINY_FILES = {"train": "data_batch_1.bin", "test": "test_batch.bin"}


@dataclass(frozen=True)
class Settings:
    """Which images to train and evaluate on.

    Attributes:
      variant: "cifar10" (the benchmark) or TINY (generated gratings, written as CIFAR-10's binary records).
      raw_dir: folder of the published files; "" is `<data_dir>/<variant>`, where the generated ones always are.
      tiny_images: training and test images of the generated variant.
      tiny_noise: standard deviation of a pixel's noise, on the scale 0..1.
      tiny_contrast: largest amplitude of a colour channel's grating, on the same scale.
      tiny_seed: of the training images; the test images take the next one.
    """

    variant: str = "cifar10"
    raw_dir: str = ""
    tiny_images: tuple[int, int] = (2000, 1000)
    tiny_noise: float = 0.3
    tiny_contrast: float = 0.5
    tiny_seed: int = 0


@dataclass(frozen=True)
class Meta:
    """What a prepared folder holds; `form` is that of the files it was made from."""

    fingerprint: str
    form: str
    train_images: int
    test_images: int


class Split(NamedTuple):
    """uint8 images [n, 32, 32, 3] and uint8 labels [n]."""

    images: np.ndarray
    labels: np.ndarray


def raw_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where the published files are, or the generated ones."""
    if settings.raw_dir and settings.variant != TINY:  # generating replaces the folder: never one of the user's
        return Path(settings.raw_dir)
    return Path(data_dir) / settings.variant


def prepared_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where `prepare` writes: one folder for each variant and raw_dir."""
    raw = raw_folder(data_dir, settings)
    own = "" if raw == Path(data_dir) / settings.variant else f"-{records.fingerprint(str(raw.resolve()))[:8]}"
    return Path(data_dir) / "prepared" / f"{settings.variant}{own}"


def load(folder: Path, split: str) -> Split:
    """One split of a prepared folder, "train" or "test", read into memory."""
    return Split(np.load(folder / f"{split}.images.npy"), np.load(folder / f"{split}.labels.npy"))


def read_meta(folder: Path) -> Meta | None:
    """What the folder holds, or None when it was not prepared."""
    meta = records.read_meta(folder)
    return None if meta is None else Meta(**meta)


def required_files(data_dir: str | os.PathLike[str], settings: Settings) -> list[tuple[Path, bool]]:
    """The files that `prepare` reads, each with whether it is there; none for the generated variant."""
    if settings.variant == TINY:
        return []
    files = find_files(raw_folder(data_dir, settings))
    return [(path, path.is_file()) for path in (*files.train, *files.test)]


def generate_tiny(data_dir: str | os.PathLike[str], settings: Settings) -> None:
    """Writes the generated images into the raw folder, unless these very ones are there already."""
    from jax_mlperf.data.gratings import gratings

    raw = raw_folder(data_dir, settings)
    meta = {"format": FORMAT, "images": list(settings.tiny_images), "noise": settings.tiny_noise,
            "contrast": settings.tiny_contrast, "seed": settings.tiny_seed}
    if records.read_meta(raw) == meta:
        return
    with records.written_atomically(raw) as folder:
        for number, (split, count) in enumerate(zip(SPLITS, settings.tiny_images, strict=True)):
            images, labels = gratings(count, SIZE, noise=settings.tiny_noise, contrast=settings.tiny_contrast,
                                      seed=settings.tiny_seed + number)
            write_binary(folder / TINY_FILES[split], images, labels)
        records.write_meta(folder, meta)


def prepare(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Makes the prepared folder and returns it; what is current stays.

    Raises:
      UserError: a file is missing or damaged, a label lies outside 0..9, or a split has not its number of images.
    """
    if settings.variant == TINY:
        generate_tiny(data_dir, settings)
    files = _input_files(data_dir, settings)
    if missing := files.missing:
        raise UserError(
            f"{len(missing)} of {len((*files.train, *files.test))} CIFAR-10 files are missing, {missing[0]} first: get them "
            "with `python -m jax_mlperf data download` and the same config and data_dir, or put there the binary, the "
            "Python or the TensorFlow Datasets files")
    folder = prepared_folder(data_dir, settings)
    fingerprint = records.fingerprint(
        [FORMAT, files.form, [records.file_digest(path) for path in (*files.train, *files.test)]])
    meta = read_meta(folder)
    if meta is None or meta.fingerprint != fingerprint:
        with records.written_atomically(folder) as temporary:
            _write(temporary, files, settings, fingerprint)
    return folder


def _input_files(data_dir: str | os.PathLike[str], settings: Settings) -> Files:
    raw = raw_folder(data_dir, settings)
    if settings.variant == TINY:
        return Files("binary", (raw / TINY_FILES["train"],), (raw / TINY_FILES["test"],))
    return find_files(raw)


def _write(folder: Path, files: Files, settings: Settings, fingerprint: str) -> None:
    counts = dict(zip(SPLITS, settings.tiny_images, strict=True)) if settings.variant == TINY else SAMPLES
    for split, paths in zip(SPLITS, (files.train, files.test), strict=True):
        per_file = counts[split] if settings.variant == TINY else RECORDS_PER_FILE
        parts = [read(files.form, path, per_file) for path in paths]
        images, labels = (np.concatenate(arrays) for arrays in zip(*parts, strict=True))
        if len(images) != counts[split]:
            raise UserError(f"{paths[0].parent} holds {len(images):,} images of the split {split!r}, "
                            f"should hold {counts[split]:,}: copy its files again")
        np.save(folder / f"{split}.images.npy", images)
        np.save(folder / f"{split}.labels.npy", labels)
    records.write_meta(folder, dataclasses.asdict(Meta(fingerprint, files.form, counts["train"], counts["test"])))


def download(data_dir: str | os.PathLike[str], settings: Settings, mirror: str | None = None) -> None:
    """Fetches the binary files into the raw folder (the generated variant is written there instead).

    Raises:
      UserError: see `download.download`.
    """
    if settings.variant == TINY:
        generate_tiny(data_dir, settings)
    else:
        fetch.download(CIFAR10, raw_folder(data_dir, settings), mirror=mirror)


def verify(data_dir: str | os.PathLike[str], settings: Settings) -> list[fetch.Check]:
    """Holds the published files against what is known of them (none when generated).

    Binary: sizes, and all labels. Python: md5. TensorFlow Datasets: the CRCs, images and labels of all records.
    """
    if settings.variant == TINY:
        return []
    files = find_files(raw_folder(data_dir, settings))
    if files.form == "python":
        return fetch.verify([fetch.Source("", CIFAR10_PICKLES)], files.train[0].parent)
    return [_verify(path, files) for path in (*files.train, *files.test)]


def _verify(path: Path, files: Files) -> fetch.Check:
    if not path.is_file():
        return fetch.Check(path, "missing")
    try:
        read(files.form, path)
    except UserError as error:
        return fetch.Check(path, "damaged", str(error))
    return fetch.Check(path, "ok", "size and labels" if files.form == "binary" else "every record")
