"""ImageNet's own tar files written as classic TFRecord shards, in a seeded random order.

The pixels stay as they are but for what the reference's packing re-encodes as RGB JPEG of quality 100: one PNG
under a JPEG's name and 22 CMYK images (`tensorflow/tpu:tools/datasets/imagenet_to_gcs.py`).
"""

import io
import os
import re
import tarfile
import zlib
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path, PurePosixPath
from typing import NamedTuple

import numpy as np

from jax_mlperf.data import records, tfrecord
from jax_mlperf.data.imagenet_example import classic_example
from jax_mlperf.errors import UserError

TRAIN_TAR, VALIDATION_TAR, DEVKIT = TARS = (
    "ILSVRC2012_img_train.tar",
    "ILSVRC2012_img_val.tar",
    "ILSVRC2012_devkit_t12.tar.gz",
)
TRAIN_SHARDS, VALIDATION_SHARDS = 1024, 128
_ORDER_SEED = 0


class _Member(NamedTuple):
    """One image in a tar: where its bytes are, its name and its synset."""

    offset: int
    size: int
    name: str
    synset: str


def tars_in(raw: Path) -> bool:
    """Whether the folder holds any of the tars."""
    return any((raw / name).is_file() for name in TARS)


def write_shards_of_tars(
    raw: Path, folder: Path, *, workers: int, shards: tuple[int, int] = (TRAIN_SHARDS, VALIDATION_SHARDS)
) -> Path:
    """Writes train-... and validation-... shards of the three tars in `raw`; shards already written stay.

    A worker holds the images of one shard, 150 MB.

    Args:
      shards: numbers of training and validation shards.

    Returns:
      folder.

    Raises:
      UserError: a tar is missing or damaged, or they do not belong together.
    """
    for name in TARS:
        if not (raw / name).is_file():
            raise UserError(f"{raw} holds no {name}: put all of {', '.join(TARS)} there")
    stats = [(raw / name).stat() for name in TARS]
    key = records.fingerprint([[(stat.st_size, stat.st_mtime_ns) for stat in stats], shards, _ORDER_SEED])
    meta = records.read_meta(folder)
    if meta is not None and meta["tars"] != key:
        raise UserError(f"{folder} holds shards of other tars than those in {raw}: remove it")
    if _complete(folder, shards):
        return folder
    train = _train_members(raw / TRAIN_TAR)
    synsets = sorted({member.synset for member in train})
    validation = _validation_members(raw, synsets)
    folder.mkdir(parents=True, exist_ok=True)
    records.write_meta(folder, {"tars": key})  # once the tars are known to be whole: damaged ones are replaced
    for split, tar, members, count in (
        ("validation", raw / VALIDATION_TAR, validation, shards[1]), ("train", raw / TRAIN_TAR, train, shards[0]),
    ):  # fmt: skip
        _write_split(folder, split, tar, members, synsets, count, workers)
    return folder


def _complete(folder: Path, shards: tuple[int, int]) -> bool:
    return all(
        _shard_path(folder, split, number, count).is_file()
        for split, count in zip(("train", "validation"), shards, strict=True)
        for number in range(count)
    )


def _shard_path(folder: Path, split: str, number: int, count: int) -> Path:
    return folder / f"{split}-{number:05d}-of-{count:05d}"


def _train_members(path: Path) -> list[_Member]:
    """The images of the tar of tars, one for each synset (n01440764.tar)."""
    members = []
    try:
        with tarfile.open(path, "r:") as outer:
            for inner_file in outer:
                synset = PurePosixPath(inner_file.name).stem
                content = outer.extractfile(inner_file) if inner_file.name.endswith(".tar") else None
                if content is None:
                    continue
                with tarfile.open(fileobj=content, mode="r:") as inner:
                    for image in inner:
                        if image.isfile():
                            members.append(_Member(inner_file.offset_data + image.offset_data, image.size, image.name, synset))
    except tarfile.TarError as error:
        raise UserError(f"{path} is no whole tar of tars ({error}): download it again") from error
    if not members:
        raise UserError(f"{path} holds no images within tars named after synsets: download it again")
    return members


def _validation_members(raw: Path, synsets: Sequence[str]) -> list[_Member]:
    """The images of the validation tar with the devkit's labels; image i has the i-th label."""
    path = raw / VALIDATION_TAR
    try:
        with tarfile.open(path, "r:") as tar:
            images = sorted((member for member in tar if member.isfile()), key=lambda member: member.name)
    except tarfile.TarError as error:
        raise UserError(f"{path} is no whole tar ({error}): download it again") from error
    labels = validation_synsets(raw / DEVKIT)
    if len(labels) != len(images):
        raise UserError(f"{path} holds {len(images):,} images, {DEVKIT} {len(labels):,} labels: they do not belong together")
    unknown = sorted(set(labels) - set(synsets))
    if unknown:
        raise UserError(f"{DEVKIT} has synset {unknown[0]}, {TRAIN_TAR} has not: they do not belong together")
    return [
        _Member(image.offset_data, image.size, PurePosixPath(image.name).name, synset)
        for image, synset in zip(images, labels, strict=True)
    ]


def validation_synsets(devkit: Path) -> list[str]:
    """The synset of every validation image, in the order of their numbers.

    The ground truth gives identifiers 1, 2, ...; meta.mat lists the synsets in the order of their identifiers.
    """
    texts = {}
    try:
        with tarfile.open(devkit, "r:gz") as tar:
            for member in tar:
                name = PurePosixPath(member.name).name
                content = tar.extractfile(member)
                if name in ("ILSVRC2012_validation_ground_truth.txt", "meta.mat") and content is not None:
                    texts[name] = content.read()
        truth, meta = texts["ILSVRC2012_validation_ground_truth.txt"], texts["meta.mat"]
    except (tarfile.TarError, OSError, EOFError, KeyError) as error:
        raise UserError(
            f"{devkit} is not whole, or lacks ILSVRC2012_validation_ground_truth.txt or meta.mat ({error}): download it again"
        ) from error
    synsets = _synsets_of_meta(meta)
    identifiers = [int(line) for line in truth.split()]
    if not identifiers or max(identifiers) > len(synsets):
        raise UserError(f"{devkit}: meta.mat names {len(synsets)} synsets, the ground truth has {max(identifiers, default=0)}")
    return [synsets[identifier - 1] for identifier in identifiers]


def _synsets_of_meta(meta: bytes) -> list[str]:
    """The WNIDs of meta.mat as they come in it.

    A MAT file of level 5 is a header of 128 bytes and elements (type, bytes; type 15 is zlib-compressed). The
    records of the struct array follow each other, so scanning for WNIDs gives them in order. Characters are
    stored as bytes or as 16-bit numbers.
    """
    content, at = b"", 128
    while at + 8 <= len(meta):
        kind, size = np.frombuffer(meta, "<u4", 2, at).tolist()
        element = meta[at + 8 : at + 8 + size]
        content += zlib.decompress(element) if kind == 15 else element
        at += 8 + size
    text = content.replace(b"\0", b"")
    return [wnid.decode() for wnid in re.findall(rb"n\d{8}", text)]


def _write_split(
    folder: Path, split: str, tar: Path, members: list[_Member], synsets: list[str], count: int, workers: int
) -> None:
    order = np.random.Generator(np.random.PCG64(_ORDER_SEED)).permutation(len(members))
    labels = {synset: label for label, synset in enumerate(synsets)}

    def write(number: int, mine: np.ndarray) -> None:
        path = _shard_path(folder, split, number, count)
        if path.is_file():
            return
        images = _read_members(tar, [members[i] for i in mine.tolist()])
        tfrecord.write_shard(
            path,
            (
                _record(member, image, labels[member.synset])
                for member, image in zip((members[i] for i in mine.tolist()), images, strict=True)
            ),
        )

    with ThreadPoolExecutor(workers) as pool:
        for future in [pool.submit(write, *part) for part in enumerate(np.array_split(order, count))]:
            future.result()


def _read_members(tar: Path, members: Sequence[_Member]) -> list[bytes]:
    """The images' bytes, read in the order in which they lie in the tar."""
    images: list[bytes] = [b""] * len(members)
    with open(tar, "rb", buffering=0) as file:
        for i in sorted(range(len(members)), key=lambda i: members[i].offset):
            images[i] = os.pread(file.fileno(), members[i].size, members[i].offset)
            if len(images[i]) != members[i].size:
                raise UserError(f"{tar} ends within {members[i].name}: download it again")
    return images


def _record(member: _Member, image: bytes, label: int) -> bytes:
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(io.BytesIO(image)) as opened:  # reads the header only
            size = opened.height, opened.width
            if opened.format != "JPEG" or opened.mode == "CMYK":
                encoded = io.BytesIO()
                opened.convert("RGB").save(encoded, "JPEG", quality=100)
                image = encoded.getvalue()
    except (UnidentifiedImageError, OSError) as error:
        raise UserError(f"{member.name} in the tar of {member.synset} is no image ({error}): download the tar again") from error
    return classic_example(image, label, size, member.name, member.synset)
