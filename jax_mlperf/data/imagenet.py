"""ImageNet for the image-classification benchmark: which files, and how they become an index of records.

The shards stay where they are, untouched. A prepared folder holds for each split the arrays `<split>.shard`,
`<split>.offset` and `<split>.length` (.npy), and `meta.json`; with them any record can be read at once.
"""

import dataclasses
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jax_mlperf.data import gratings, records, tfrecord
from jax_mlperf.data.download import Check
from jax_mlperf.data.imagenet_example import LAYOUTS
from jax_mlperf.data.imagenet_tars import TARS, tars_in, write_shards_of_tars
from jax_mlperf.data.sources import IMAGENET, IMAGENET_SAMPLES
from jax_mlperf.errors import UserError

FORMAT = 1  # raise when what is written changes, so that older folders are made anew
SPLITS = ("train", "validation")
ShardEntry = list  # [path below the folder, size in bytes, time of change in nanoseconds], as JSON holds it
TINY = "imagenet-tiny"  # the variant, and the folder of what is generated for it
WORKERS = 16  # threads that scan shards: waiting for storage, not computing


@dataclass(frozen=True)
class Settings:
    """Which images to train and evaluate on.

    Attributes:
      variant: "imagenet" (the benchmark) or TINY (generated gratings).
      raw_dir: folder of the shards or tars; "" is `<data_dir>/imagenet2012`. Not for the generated images.
      tiny_images: training and evaluation images of the generated variant.
      tiny_size: their height and width.
      tiny_noise: see `gratings.gratings`.
      tiny_seed: of the training images; the evaluation images take the next seed.
    """

    variant: str = "imagenet"
    raw_dir: str = ""
    tiny_images: tuple[int, int] = (2000, 1000)
    tiny_size: int = 64
    tiny_noise: float = 0.175
    tiny_seed: int = 0


@dataclass(frozen=True)
class Meta:
    """What a prepared folder was made from.

    Attributes:
      fingerprint: of the records: layout, shard names and sizes, lengths of all records.
      layout: a name in LAYOUTS.
      folder: where the shards are.
      shards: for each split, its shards in order.
      records: for each split, their number.
    """

    fingerprint: str
    format: int
    layout: str
    folder: str
    shards: dict[str, list[ShardEntry]]
    records: dict[str, int]


def raw_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where the shards or tars are."""
    return Path(settings.raw_dir or Path(data_dir) / (TINY if settings.variant == TINY else "imagenet2012"))


def prepared_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where `prepare` writes: one folder for each variant and raw_dir."""
    own = f"-{records.fingerprint(str(Path(settings.raw_dir).resolve()))[:8]}" if settings.raw_dir else ""
    if settings.variant == TINY:
        own += f"-{records.fingerprint(dataclasses.asdict(settings))[:8]}"
    return Path(data_dir) / "prepared" / f"{settings.variant}{own}"


def prepare(data_dir: str | os.PathLike[str], settings: Settings, *, workers: int = WORKERS) -> Path:
    """Indexes the shards, which are written first where they are generated or only the tars are there.

    An index whose shards still have their sizes and times stays as it is.

    Args:
      workers: threads.

    Returns:
      the prepared folder.

    Raises:
      UserError: shards are missing, damaged, or of two layouts.
    """
    folder = prepared_folder(data_dir, settings)
    raw = raw_folder(data_dir, settings)
    if settings.variant == TINY:
        raw = _generate_tiny(data_dir, settings)
    elif _candidates(raw) == [] and tars_in(raw):
        raw = write_shards_of_tars(raw, Path(data_dir) / "imagenet.tfrecord", workers=workers)
    layout, place, shards = find_shards(raw)
    meta = records.read_meta(folder) or {}
    if [meta.get(key) for key in ("format", "layout", "folder", "shards")] != [FORMAT, layout, str(place), shards]:
        _write_index(folder, layout, place, shards, workers)
    return folder


def read_index_meta(folder: Path) -> Meta:
    """The meta data of a prepared folder.

    Raises:
      UserError: the folder was not prepared, or by another version.
    """
    meta = records.read_meta(folder)
    if meta is None or meta.get("format") != FORMAT:
        state = "has no meta.json" if meta is None else "is of another version"
        raise UserError(f"ImageNet was not prepared ({folder} {state}): run `python -m jax_mlperf data prepare` with this config")
    return Meta(**meta)


def find_shards(raw: Path) -> tuple[str, Path, dict[str, list[ShardEntry]]]:
    """Finds both splits' shards in `raw` or its usual sub-folders.

    Returns:
      layout, the folder, and each split's shards in order.

    Raises:
      UserError: there are none, of two layouts, or not all of both splits.
    """
    found = _candidates(raw)
    if not found:
        raise UserError(
            f"no ImageNet TFRecord shards in {raw} (or its imagenet2012/5.1.0, train and validation): "
            f"needed are train-00000-of-01024 ... or imagenet2012-train.tfrecord-00000-of-01024 ..., or {' and '.join(TARS)}; "
            "mend --config.data.raw_dir or --data_dir"
        )
    layouts = sorted({layout for layout, _ in found})
    if len(layouts) > 1:
        places = " and ".join(f"{layout} in {place}" for layout, place in found)
        raise UserError(f"{raw} holds ImageNet shards of both layouts ({places}): keep one, or set "
                        "--config.data.raw_dir to the folder of one")
    layout, place = found[-1]  # the highest version
    return layout, place, {split: _split_shards(place, layout, split) for split in SPLITS}


def _candidates(raw: Path) -> list[tuple[str, Path]]:
    """(layout, folder) of each place that holds shards."""
    versions = sorted(
        path for parent in (raw, raw / "imagenet2012") if parent.is_dir() for path in parent.iterdir()
        if re.fullmatch(r"\d+\.\d+\.\d+", path.name) and path.is_dir()
    )  # fmt: skip
    return [
        (layout, place) for place in (raw, *versions) for layout in LAYOUTS if any(_files(place, layout, s) for s in SPLITS)
    ]


def _files(place: Path, layout: str, split: str) -> list[tuple[int, int, Path]]:
    """(number, total, path) of a split's files in the folder or its sub-folder of the split's name."""
    pattern = re.compile(LAYOUTS[layout].pattern)
    files = []
    for folder in (place, place / split):
        if folder.is_dir():
            for entry in os.scandir(folder):
                match = pattern.fullmatch(entry.name)
                if match and match[1] == split:
                    files.append((int(match[2]), int(match[3]), Path(entry.path)))
    return sorted(files)


def _split_shards(place: Path, layout: str, split: str) -> list[ShardEntry]:
    files = _files(place, layout, split)
    if not files:
        other = SPLITS[1 - SPLITS.index(split)]
        raise UserError(f"{place} holds {other} shards but none of {split}: put the {split} shards there too")
    totals = sorted({total for _, total, _ in files})
    if len(totals) > 1:
        raise UserError(f"{place}: {split} shards of sets of {totals[0]} and of {totals[1]}: keep one set")
    missing = sorted(set(range(totals[0])) - {number for number, _, _ in files})
    if missing or len(files) != totals[0]:
        problem = f"{missing[0]:05d} is missing ({len(missing)} are)" if missing else "is there twice"
        raise UserError(f"{place}: a {split} shard {problem}: all {totals[0]} are needed once")
    try:
        stats = [path.stat() for _, _, path in files]
    except OSError as error:  # a link to nowhere
        raise UserError(f"cannot read {error.filename}: {error.strerror}; put the shard there") from error
    return [
        [str(path.relative_to(place)), stat.st_size, stat.st_mtime_ns]
        for (_, _, path), stat in zip(files, stats, strict=True)
    ]


def _write_index(folder: Path, layout: str, place: Path, shards: dict[str, list[ShardEntry]], workers: int) -> None:
    lengths_digests, counts = [], {}
    with records.written_atomically(folder) as temporary, ThreadPoolExecutor(workers) as pool:
        for split in SPLITS:
            paths = [place / name for name, _, _ in shards[split]]
            offsets, lengths = zip(*pool.map(tfrecord.index_shard, paths), strict=True)
            arrays = {
                "shard": np.repeat(np.arange(len(paths), dtype=np.int32), [len(found) for found in offsets]),
                "offset": np.concatenate(offsets),
                "length": np.concatenate(lengths),
            }
            if not len(arrays["shard"]):
                raise UserError(f"the {split} shards of {place} hold no records: put the real ones there")
            for name, array in arrays.items():
                np.save(temporary / f"{split}.{name}.npy", array)
            counts[split] = len(arrays["shard"])
            lengths_digests.append(records.file_digest(temporary / f"{split}.length.npy"))
        names = {split: [entry[:2] for entry in shards[split]] for split in SPLITS}
        fingerprint = records.fingerprint([FORMAT, layout, names, lengths_digests])
        records.write_meta(
            temporary, dataclasses.asdict(Meta(fingerprint, FORMAT, layout, str(place), shards, counts))
        )


def verify(data_dir: str | os.PathLike[str], settings: Settings, *, workers: int = WORKERS) -> list[Check]:
    """Reads every record of every shard: CRCs, and the number of images of each split.

    Raises:
      UserError: see `find_shards`.
    """
    tiny = settings.variant == TINY
    raw = raw_folder(data_dir, settings)
    packed = not tiny and not _candidates(raw) and tars_in(raw)
    if packed:
        raw = Path(data_dir) / "imagenet.tfrecord"  # where prepare puts the tars' shards
    if (tiny or packed) and not _candidates(raw):
        raise UserError(f"{raw} holds no shards yet: run data prepare with this config, which writes them")
    _, place, shards = find_shards(raw)
    expected = dict(zip(SPLITS, settings.tiny_images, strict=True)) if tiny else IMAGENET_SAMPLES
    checks = []
    with ThreadPoolExecutor(workers) as pool:
        for split in SPLITS:
            paths = [place / name for name, _, _ in shards[split]]
            counted = list(pool.map(_check_shard, paths))
            checks += [check for check, _ in counted]
            total = sum(count for _, count in counted)
            detail = f"{total:,} {split} images"
            if total == expected[split]:
                checks.append(Check(place, "ok", detail))
            else:
                checks.append(Check(place, "damaged", f"{detail}, should be {expected[split]:,}"))
    return checks


def _check_shard(path: Path) -> tuple[Check, int]:
    try:
        count, corrupt = tfrecord.corrupt_records(path)
    except UserError as error:
        return Check(path, "damaged", str(error).removeprefix(f"{path}: ")), 0
    if corrupt:
        return Check(path, "damaged", f"the CRC of record {corrupt[0]} does not hold ({len(corrupt)} such)"), count
    return Check(path, "ok", f"{count:,} records and their CRCs"), count


def instructions(data_dir: str | os.PathLike[str], settings: Settings) -> str:
    """What to fetch by hand and where to put it: ImageNet needs an account."""
    files = "\n".join(
        f"  {source.name}  {f'{source.size:,} bytes  ' if source.size else ''}md5 {source.md5}" for source in IMAGENET
    )
    return (
        "ImageNet cannot be downloaded by a program: it needs an account at https://image-net.org and its terms accepted. "
        f"Put these files of ILSVRC2012 into {raw_folder(data_dir, settings)}:\n{files}\n"
        "or, in their place, TFRecord shards of them in one of two forms:\n"
        "  train-00000-of-01024 ... and validation-00000-of-00128 ... (also in sub-folders train and validation)\n"
        "  5.1.0/imagenet2012-train.tfrecord-00000-of-01024 ... and imagenet2012-validation.tfrecord-... "
        "(tensorflow-datasets)\n"
        "Then run data prepare: it writes shards of the tars (155 GB more) and indexes them."
    )


def _generate_tiny(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Writes the generated shards, 4 of training and 2 of evaluation images, unless they are there."""
    if settings.raw_dir:
        raise UserError(f"config.data.raw_dir is {settings.raw_dir!r}, but the images of this config are generated: "
                        "leave it empty")
    folder = raw_folder(data_dir, settings)
    fingerprint = records.fingerprint([FORMAT, dataclasses.asdict(settings)])
    if (records.read_meta(folder) or {}).get("fingerprint") != fingerprint:
        with records.written_atomically(folder) as temporary:
            for split, count, shards, seed in zip(SPLITS, settings.tiny_images, (4, 2), (0, 1), strict=True):
                images, labels = gratings.gratings(
                    count, settings.tiny_size, noise=settings.tiny_noise, seed=settings.tiny_seed + seed
                )
                gratings.write_shards(temporary, split, images, labels, shards)
            records.write_meta(temporary, {"fingerprint": fingerprint})
    return folder
