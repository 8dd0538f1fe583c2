"""The four professional games: the spec's figures, the prepared folder, verification, and what is refused."""

import shutil

import numpy as np
import pytest

from jax_mlperf.data import pro_games
from jax_mlperf.data.pro_games import MOVES, Settings
from jax_mlperf.data.sources import PRO_GAMES
from jax_mlperf.errors import UserError

NONE = Settings("none")


@pytest.fixture
def data_dir(tmp_path, shared_data):
    """A folder of the user's with copies of the published files."""
    (tmp_path / pro_games.FOLDER).mkdir()
    for source in PRO_GAMES:
        shutil.copy(shared_data / pro_games.FOLDER / source.name, tmp_path / pro_games.FOLDER)
    return tmp_path


def sgf(*moves: str, size: int = 9) -> str:
    return f"(;SZ[{size}]" + "".join(f";{'BW'[i % 2]}[{move}]" for i, move in enumerate(moves)) + ")"


def test_the_table_of_sources():
    assert [source.name for source in PRO_GAMES] == [f"9x9_pro_{name}.sgf" for name in ("YKSH", "IYMD", "YSIY", "IYHN")]
    assert [source.sha256[:16] for source in PRO_GAMES] == [
        "5cb52058e21284b7", "654fd67a1cfc0ed7", "80077ea05c80f8f2", "486a6c67885354df"]
    assert [source.size for source in PRO_GAMES] == [378, 498, 408, 306]


def test_the_figures_of_the_spec(data_dir):
    games = pro_games.load(pro_games.prepare(data_dir, Settings()))
    assert games.actions.dtype == np.int16 and games.actions.shape == (4, 62)
    assert games.lengths.dtype == np.int32 and games.lengths.tolist() == [42, 62, 47, 30]
    assert games.actions[:, :5].tolist() == [
        [32, 39, 49, 48, 57], [32, 47, 58, 30, 21], [40, 38, 47, 48, 39], [23, 49, 60, 30, 41]]
    played = [row[:length] for row, length in zip(*games, strict=True)]
    assert [int(row.sum()) for row in played] == [1974, 2842, 1897, 1281] and len(np.unique(np.concatenate(played))) == 73
    assert all((row[length:] == -1).all() for row, length in zip(*games, strict=True))


def test_prepare_once_and_again_after_a_change(data_dir):
    folder = pro_games.prepare(data_dir, Settings())
    assert folder == pro_games.prepared_folder(data_dir, Settings()) == data_dir / "prepared" / "go9x9_pro"
    before = (folder / "actions.npy").stat().st_mtime_ns
    fingerprint = pro_games.read_meta(pro_games.prepare(data_dir, Settings())).fingerprint
    assert (folder / "actions.npy").stat().st_mtime_ns == before
    path = data_dir / "go9x9_pro" / PRO_GAMES[3].name
    path.write_text(path.read_text().replace("fc", "cf"))
    assert pro_games.load(pro_games.prepare(data_dir, Settings())).actions[3, 0] == 5 * 9 + 2
    assert pro_games.read_meta(folder).fingerprint != fingerprint


def test_a_folder_of_the_users(tmp_path, shared_data):
    own = Settings(raw_dir=str(shared_data / "go9x9_pro"))
    folder = pro_games.prepare(tmp_path, own)
    assert folder.parent == tmp_path / "prepared" and folder != pro_games.prepared_folder(tmp_path, Settings())
    assert pro_games.load(folder).lengths.tolist() == list(MOVES)
    assert pro_games.required_files(tmp_path, own)[0] == (shared_data / "go9x9_pro" / "9x9_pro_YKSH.sgf", True)


def test_verify(data_dir):
    assert [check.state for check in pro_games.verify(data_dir, Settings())] == ["ok"] * 4
    first, second = (data_dir / "go9x9_pro" / source.name for source in PRO_GAMES[:2])
    first.unlink()
    second.write_bytes(second.read_bytes().replace(b"fd", b"df"))
    checks = pro_games.verify(data_dir, Settings())
    assert [check.state for check in checks] == ["missing", "damaged", "ok", "ok"] and "md5" in checks[1].detail


def test_download(data_dir, tmp_path, monkeypatch):
    published = {source.name: (data_dir / "go9x9_pro" / source.name).read_bytes() for source in PRO_GAMES}
    shutil.rmtree(data_dir / "go9x9_pro")
    (tmp_path / "mirror").mkdir()
    for name, content in published.items():
        (tmp_path / "mirror" / name).write_bytes(content)
    pro_games.download(data_dir, NONE, mirror="https://nowhere.invalid")
    assert not (data_dir / "go9x9_pro").exists()
    monkeypatch.setattr("jax_mlperf.data.download._transfer", lambda url, part: part.write_bytes(
        (tmp_path / "mirror" / url.removeprefix("https://mirror/")).read_bytes()))
    pro_games.download(data_dir, Settings(), mirror="https://mirror/")
    assert {path.name: path.read_bytes() for path in (data_dir / "go9x9_pro").iterdir()} == published
    name = PRO_GAMES[0].name
    (data_dir / "go9x9_pro" / name).unlink()
    (tmp_path / "mirror" / name).write_bytes(published[name].replace(b"fd", b"df"))
    with pytest.raises(UserError, match="YKSH.*sha256 .*, should have 5cb52058"):
        pro_games.download(data_dir, Settings(), mirror="https://mirror/")


def test_configs_without_files(tmp_path):
    assert pro_games.required_files(tmp_path, NONE) == pro_games.verify(tmp_path, NONE) == []


@pytest.mark.parametrize("text, message", [
    (sgf("aa"), r"IYHN\.sgf holds 1 moves on a 9x9 board, should hold 30 on 9x9: get it again"),
    (sgf(*["aa"] * 30, size=19), "holds 30 moves on a 19x19 board"),
    (sgf(*["aa"] * 30), "damaged: its move 2, white A9, is not possible"),
    (sgf("aa", "bb", "", *["cc"] * 27), "its move 3, black pass, is not possible"),
    (sgf("aa", "bb", *["cc"] * 28).replace(";W[bb]", ";B[bb]"), "its move 2, black B8, is not possible"),
    (sgf("aa", "ba", "ii", "ab", *["aa"] * 26).replace(";B[aa];W[aa]", ";B[aa];W[aa]", 1), "its move 5, black A9, is not possible"),
    ("(;SZ[9];B[aa]", r"IYHN\.sgf, line 1, column 14: ends before its game does"),
])
def test_damaged_games_are_refused(data_dir, text, message):
    """Also a move where a stone lies, or without a liberty: A9 is captured by B9 and A8."""
    (data_dir / "go9x9_pro" / PRO_GAMES[3].name).write_text(text)
    with pytest.raises(UserError, match=message):
        pro_games.prepare(data_dir, Settings())


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"4 of 4 professional games are missing, .*YKSH\.sgf first: .*data download"):
        pro_games.prepare(tmp_path, Settings())
    with pytest.raises(UserError, match="holds no prepared games: run"):
        pro_games.load(tmp_path)


@pytest.mark.parametrize("name, content, message", [
    ("meta.json", b"[]", r"meta\.json is damaged"), ("actions.npy", b"", r"actions\.npy cannot be read: it is damaged"),
    ("actions.npy", np.zeros(180, np.int16), r"is int16 \[180\], should be int16 \[181\]"),
    ("actions.npy", np.full(181, 81, np.int16), "holds 81, should hold 0 to 80")])
def test_damage_of_the_prepared_folder_is_named(data_dir, name, content, message):
    folder = pro_games.prepare(data_dir, Settings())
    if isinstance(content, bytes):
        (folder / name).write_bytes(content)
    else:
        np.save(folder / name, content)
    with pytest.raises(UserError, match=message):
        pro_games.load(folder)
