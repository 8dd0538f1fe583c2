"""The four professional 9x9 games whose moves MLPerf v0.5's minigo predicts: files, checks and a prepared folder.

A prepared folder holds `actions.npy` (int16 [181], the games one after another) and `meta.json`. These games are the test set:
nothing trains on them.
"""

import dataclasses
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from jax_mlperf.data import download as fetch
from jax_mlperf.data import prepared_files, records
from jax_mlperf.data.sources import PRO_GAMES
from jax_mlperf.errors import UserError
from jax_mlperf.go import coordinates, sgf
from jax_mlperf.go.stones import BLACK, WHITE, place

FORMAT = 1  # raise when what is written changes, so that older folders are made anew
SOURCES = ("pro_games", "none")
SIZE = 9
MOVES = (42, 62, 47, 30)  # of YKSH, IYMD, YSIY and IYHN, the order of PRO_GAMES
FOLDER = "go9x9_pro"


@dataclass(frozen=True)
class Settings:
    """Where the games are.

    Attributes:
      source: "pro_games", or "none" for a config that reads no files.
      raw_dir: folder of the four files; "" is `<data_dir>/go9x9_pro`.
    """

    source: str = "pro_games"
    raw_dir: str = ""


@dataclass(frozen=True)
class Meta:
    """What a prepared folder's meta.json holds."""

    fingerprint: str


class Games(NamedTuple):
    """The games in the reference's order: YKSH, IYMD, YSIY, IYHN; black moves first, the colours alternate, nobody passes.

    Attributes:
      actions: int16 [4, 62], row * 9 + column, -1 beyond a game's end.
      lengths: int32 [4].
    """

    actions: np.ndarray
    lengths: np.ndarray


def raw_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where the SGF files are."""
    return Path(settings.raw_dir) if settings.raw_dir else Path(data_dir) / FOLDER


def prepared_folder(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Where `prepare` writes: one folder for each raw_dir."""
    raw = raw_folder(data_dir, settings)
    own = [] if raw == Path(data_dir) / FOLDER else [records.fingerprint(str(raw.resolve()))[:8]]
    return Path(data_dir) / "prepared" / "-".join([FOLDER, *own])


def load(folder: Path) -> Games:
    """The games of a prepared folder.

    Raises:
      UserError: the folder was not prepared, or is damaged.
    """
    if read_meta(folder) is None:
        raise UserError(f"{folder} holds no prepared games: run `python -m jax_mlperf data prepare`")
    flat = prepared_files.read_array(folder / "actions.npy", np.int16, sum(MOVES), below=SIZE * SIZE, in_memory=True)
    actions = np.full((len(MOVES), max(MOVES)), -1, np.int16)
    for row, game in zip(actions, np.split(flat, np.cumsum(MOVES)[:-1]), strict=True):
        row[:len(game)] = game
    return Games(actions, np.array(MOVES, np.int32))


def read_meta(folder: Path) -> Meta | None:
    """What the folder holds, or None when it was not prepared.

    Raises:
      UserError: its meta.json is damaged.
    """
    return prepared_files.read_meta(folder, Meta)


def required_files(data_dir: str | os.PathLike[str], settings: Settings) -> list[tuple[Path, bool]]:
    """The files that `prepare` reads, each with whether it is there."""
    if settings.source == "none":
        return []
    raw = raw_folder(data_dir, settings)
    return [(raw / source.name, (raw / source.name).is_file()) for source in PRO_GAMES]


def prepare(data_dir: str | os.PathLike[str], settings: Settings) -> Path:
    """Makes the prepared folder and returns it; what is current stays.

    Raises:
      UserError: a file is missing or malformed, or does not hold the game that it should.
    """
    files = required_files(data_dir, settings)
    if missing := [path for path, present in files if not present]:
        raise UserError(
            f"{len(missing)} of {len(files)} professional games are missing, {missing[0]} first: get them with "
            "`python -m jax_mlperf data download` and the same config and data_dir")
    folder = prepared_folder(data_dir, settings)
    try:
        fingerprint = records.fingerprint([FORMAT, [records.file_digest(path) for path, _ in files]])
    except OSError as error:
        raise UserError(f"cannot read {error.filename}: {error.strerror}; remove it and get the games again") from error
    meta = read_meta(folder)
    if meta is None or meta.fingerprint != fingerprint:
        games = [_actions(path, moves) for (path, _), moves in zip(files, MOVES, strict=True)]
        with records.written_atomically(folder) as temporary:
            np.save(temporary / "actions.npy", np.concatenate(games).astype(np.int16))
            records.write_meta(temporary, dataclasses.asdict(Meta(fingerprint)))
    return folder


def _actions(path: Path, moves: int) -> list[int]:
    """The moves of one file, which must be that many on a 9x9 board."""
    game = sgf.read_file(path)
    if game.size != SIZE or len(game.moves) != moves:
        raise UserError(f"{path} holds {len(game.moves)} moves on a {game.size}x{game.size} board, should hold {moves} on "
                        f"{SIZE}x{SIZE}: get it again")
    _check_moves(path, game.moves)
    return [move.action for move in game.moves]


def _check_moves(path: Path, moves: Sequence[sgf.Move]) -> None:
    """Refuses passes, a colour out of turn, and moves on a stone or without a liberty."""
    stones = [0] * (SIZE * SIZE)
    for number, (colour, action, _) in enumerate(moves, 1):
        placed = place(stones, SIZE, action, colour) if action < SIZE * SIZE else None
        if placed is None or colour != (BLACK if number % 2 else WHITE):
            name = "black" if colour == BLACK else "white"
            raise UserError(f"{path} is damaged: its move {number}, {name} {coordinates.to_gtp(action, SIZE)}, is not possible "
                            "there in a game of alternating moves without passes; get it again")
        stones, _ = placed


def download(data_dir: str | os.PathLike[str], settings: Settings, mirror: str | None = None) -> None:
    """Fetches the four files into the raw folder.

    Raises:
      UserError: see `download.download`.
    """
    if settings.source != "none":
        fetch.download(PRO_GAMES, raw_folder(data_dir, settings), mirror=mirror)


def verify(data_dir: str | os.PathLike[str], settings: Settings) -> list[fetch.Check]:
    """Holds the files against their sizes and checksums; nothing for a config that reads none."""
    return [] if settings.source == "none" else fetch.verify(PRO_GAMES, raw_folder(data_dir, settings))
