"""MovieLens: which files, and how they become a prepared folder of each user's training items and test item.

A prepared folder holds `offsets.npy` (int64 [users + 1]), `items.npy` (int32 [training ratings]), `test_items.npy` (int32
[users]) and `meta.json`. Preparing again is a check of fingerprints.
"""

import dataclasses
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from jax_mlperf.data import download as fetch
from jax_mlperf.data import prepared_files, records
from jax_mlperf.data.latent_ratings import generate as generate_latent
from jax_mlperf.data.leave_one_out import Ratings, split
from jax_mlperf.data.movielens_files import FORMS, Events, read
from jax_mlperf.data.prepared_files import check_offsets, read_array
from jax_mlperf.data.sources import MOVIELENS
from jax_mlperf.errors import UserError

FORMAT = 1  # raise when what is written changes, so that older folders are made anew
TINY = "tiny"
TINY_FOLDER = "movielens-tiny"
FRACTAL = "fractal"
FILES = (*FORMS, TINY)  # the sources that are files of ratings
SOURCES = (*FILES, FRACTAL)


@dataclass(frozen=True)
class Settings:
    """Which ratings to train and evaluate on.

    Attributes:
      source: a published set ("ml-20m", "ml-1m", "ml-100k"), TINY (generated) or FRACTAL (an expansion of one of them).
      raw_dir: folder of the published file; "" is `<data_dir>/<source>`. Generated ratings are always in `<data_dir>`.
      min_ratings: users with fewer are dropped.
      ties: which of several ratings of a user's last second is the test item: "random" or "stable" (`leave_one_out.split`).
      ties_seed: of the random choices.
      tiny_users, tiny_items, tiny_positives, tiny_seed: `latent_ratings.latent_positives`.
      fractal_base: the source that is expanded.
      user_factor, item_factor, fractal_seed: `fractal.expand`; its input rule replaces min_ratings and ties.
    """

    source: str = "ml-20m"
    raw_dir: str = ""
    min_ratings: int = 20
    ties: str = "random"
    ties_seed: int = 0
    tiny_users: int = 2048
    tiny_items: int = 1024
    tiny_positives: int = 32
    tiny_seed: int = 1234
    fractal_base: str = "ml-20m"
    user_factor: int = 16
    item_factor: int = 32
    fractal_seed: int = 0

    @property
    def file_source(self) -> str:
        """The source whose file is read: the expansion's base, else `source` itself."""
        return self.fractal_base if self.source == FRACTAL else self.source


@dataclass(frozen=True)
class Meta:
    """What a prepared folder holds.

    Attributes:
      users, items: how many; items counts those of test ratings too.
      train_ratings: what was left after one rating of each user was held out.
      file_ratings: lines of the file it was made from.
      dropped_users: those with too few ratings; of an expansion, those without a training or a test item.
      duplicates: ratings of an item that the user rated again later, left out.
      tied_users: those whose test item was chosen among several of the same second.
    """

    fingerprint: str
    users: int
    items: int
    train_ratings: int
    file_ratings: int
    dropped_users: int
    duplicates: int
    tied_users: int


def raw_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where the published file is, or the generated one."""
    source = settings.file_source
    if source == TINY:  # generating replaces the folder: never one of the user's
        return Path(data_dir) / TINY_FOLDER
    return Path(settings.raw_dir) if settings.raw_dir else Path(data_dir) / source


def prepared_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where `prepare` writes: one folder for each raw file and rule."""
    source = settings.file_source
    if settings.source == FRACTAL:
        rule = f"{FRACTAL}-{settings.user_factor}x{settings.item_factor}-seed{settings.fractal_seed}"
    else:
        seed = settings.ties_seed if settings.ties == "random" else ""
        rule = f"min{settings.min_ratings}-{settings.ties}{seed}"
    raw = raw_folder(data_dir, settings)
    usual = raw in (Path(data_dir) / source, Path(data_dir) / TINY_FOLDER)
    own = "" if usual else f"-{records.fingerprint(str(raw.resolve()))[:8]}"
    return Path(data_dir) / "prepared" / f"{TINY_FOLDER if source == TINY else source}-{rule}{own}"


def load(folder: Path) -> Ratings:
    """The ratings of a prepared folder, memory-mapped.

    Raises:
      UserError: the folder was not prepared, or is damaged.
    """
    meta = read_meta(folder)
    if meta is None:
        raise UserError(f"{folder} holds no prepared ratings: run `python -m jax_mlperf data prepare`")
    offsets = read_array(folder / "offsets.npy", np.int64, meta.users + 1)
    check_offsets(folder / "offsets.npy", offsets, meta.train_ratings)
    items = read_array(folder / "items.npy", np.int32, meta.train_ratings, below=meta.items)
    return Ratings(offsets, items, read_array(folder / "test_items.npy", np.int32, meta.users, below=meta.items))


def read_meta(folder: Path) -> Meta | None:
    """What the folder holds, or None when it was not prepared.

    Raises:
      UserError: its meta.json is damaged.
    """
    return prepared_files.read_meta(folder, Meta)


def ratings_file(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """The file that `prepare` reads: in the raw folder, or in one of the archive's name below it."""
    source = settings.file_source
    form = FORMS["ml-20m" if source == TINY else source]
    raw = raw_folder(data_dir, settings)
    below = raw / source / form.name
    return below if below.is_file() and not (raw / form.name).is_file() else raw / form.name


def required_files(data_dir: str | os.PathLike[str], settings: Settings) -> list[tuple[Path, bool]]:
    """The file that `prepare` reads, with whether it is there; none when it is generated."""
    if settings.file_source == TINY:
        return []
    path = ratings_file(data_dir, settings)
    return [(path, path.is_file())]


def generate_tiny(data_dir: str | os.PathLike[str], settings: Settings) -> None:
    """Writes the generated ratings into their raw folder, unless these very ones are there already."""
    raw = Path(data_dir) / TINY_FOLDER
    meta = {"format": FORMAT, "users": settings.tiny_users, "items": settings.tiny_items,
            "positives": settings.tiny_positives, "seed": settings.tiny_seed}
    name = FORMS["ml-20m"].name
    if prepared_files.generated(raw, meta, [name]):
        return
    with records.written_atomically(raw) as folder:
        generate_latent(folder / name, settings.tiny_users, settings.tiny_items, settings.tiny_positives,
                        settings.tiny_seed)
        records.write_meta(folder, meta)


def prepare(data_dir: str | os.PathLike[str], settings: Settings, workers: int = 1) -> Path:
    """Makes the prepared folder and returns it; what is current stays.

    Args:
      workers: threads that read the file.

    Raises:
      UserError: the file is missing or malformed, no user has enough ratings, or an expansion would be too large.
    """
    if settings.file_source == TINY:
        generate_tiny(data_dir, settings)
    path = ratings_file(data_dir, settings)
    if not path.is_file():
        raise UserError(f"{path} is missing: get it with `python -m jax_mlperf data download` and the same config and data_dir, "
                        f"or copy it there")
    folder = prepared_folder(data_dir, settings)
    fingerprint = records.fingerprint([FORMAT, folder.name, records.file_digest(path)])
    meta = read_meta(folder)
    if meta is None or meta.fingerprint != fingerprint:
        events = read(path, FORMS["ml-20m" if settings.file_source == TINY else settings.file_source], workers)
        with records.written_atomically(folder) as temporary:
            write = _write_expansion if settings.source == FRACTAL else _write_split
            records.write_meta(temporary, dataclasses.asdict(write(temporary, events, settings, fingerprint)))
    return folder


def _write_split(folder: Path, events: Events, settings: Settings, fingerprint: str) -> Meta:
    result = split(events, min_ratings=settings.min_ratings, ties=settings.ties, ties_seed=settings.ties_seed)
    ratings = result.ratings
    users = len(ratings.test_items)
    if not users:
        raise UserError(f"none of the {result.dropped_users:,} users has {settings.min_ratings} ratings "
                        "(config.data.min_ratings): lower it, or take a larger file")
    for name, array in ratings._asdict().items():
        np.save(folder / f"{name}.npy", array)
    return Meta(fingerprint, users, result.items, len(ratings.items), len(events.users), result.dropped_users,
                result.duplicates, result.tied_users)


def _write_expansion(folder: Path, events: Events, settings: Settings, fingerprint: str) -> Meta:
    from jax_mlperf.data.fractal import write_expansion

    written = write_expansion(folder, events, settings.user_factor, settings.item_factor, settings.fractal_seed)
    return Meta(fingerprint, written.users, written.items, written.train_ratings, len(events.users), written.dropped_users, 0, 0)


def download(data_dir: str | os.PathLike[str], settings: Settings, mirror: str | None = None) -> None:
    """Fetches the published file into the raw folder (generated ratings are written there instead).

    Raises:
      UserError: see `download.download`.
    """
    if settings.file_source == TINY:
        generate_tiny(data_dir, settings)
    elif any(check.state != "ok" for check in verify(data_dir, settings)):
        fetch.download([MOVIELENS[settings.file_source]], raw_folder(data_dir, settings), mirror=mirror)


def verify(data_dir: str | os.PathLike[str], settings: Settings) -> list[fetch.Check]:
    """Holds the published file against what is known of it (none when generated)."""
    source = settings.file_source
    if source == TINY:
        return []
    return fetch.verify([MOVIELENS[source]], ratings_file(data_dir, settings).parent)
