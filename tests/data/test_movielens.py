"""MovieLens' folders: what is read, prepared, kept and refused; the real ML-100K."""

import numpy as np
import pytest

from jax_mlperf.data import movielens, records
from jax_mlperf.data.movielens import Settings
from jax_mlperf.data.sources import MOVIELENS
from jax_mlperf.errors import UserError

TINY = Settings("tiny", tiny_users=40, tiny_items=60, tiny_positives=22)
U_DATA = "".join(f"{user}\t{item}\t3\t{100 + item}\n" for user in (7, 3) for item in (4, 1, 2))


def write_raw(folder, content=U_DATA):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "u.data").write_text(content)


def test_prepare_once(tmp_path):
    write_raw(tmp_path / "ml-100k")
    settings = Settings("ml-100k", min_ratings=3, ties="stable")
    folder = movielens.prepare(tmp_path, settings)
    ratings = movielens.load(folder)
    assert [array.tolist() for array in ratings] == [[0, 2, 4], [1, 2, 1, 2], [0, 0]]
    assert [array.dtype for array in ratings] == [np.int64, np.int32, np.int32]
    assert isinstance(ratings.items, np.memmap)
    meta = movielens.read_meta(folder)
    assert (meta.users, meta.items, meta.train_ratings, meta.file_ratings) == (2, 3, 4, 6)
    assert (meta.dropped_users, meta.duplicates, meta.tied_users) == (0, 0, 0)
    before = (folder / "items.npy").stat().st_mtime_ns
    assert movielens.prepare(tmp_path, settings) == folder and (folder / "items.npy").stat().st_mtime_ns == before
    write_raw(tmp_path / "ml-100k", U_DATA.replace("\t104", "\t99"))  # item 4 was the newest, now the oldest
    assert movielens.load(movielens.prepare(tmp_path, settings)).test_items.tolist() == [2, 2]
    assert movielens.read_meta(folder).fingerprint != meta.fingerprint


def _cut(path):
    path.write_bytes(path.read_bytes()[:-4])


@pytest.mark.parametrize(("name", "damage", "problem"), [
    ("meta.json", lambda path: path.write_text('{"fingerprint": '), "is damaged"),
    ("meta.json", lambda path: path.write_text('{"users": 2}'), "is damaged"),
    ("items.npy", lambda path: path.unlink(), "No such file"),
    ("items.npy", lambda path: path.write_bytes(b"no array"), "is damaged"),
    ("test_items.npy", _cut, "is damaged"),
    ("offsets.npy", lambda path: np.save(path, np.array([0, 2])), r"int64 \[2\], should be int64 \[3\]"),
    ("items.npy", lambda path: np.save(path, np.arange(4.0)), r"float64 \[4\], should be int32 \[4\]"),
    ("items.npy", lambda path: np.save(path, np.array([1, 2, 1, 3], np.int32)), "holds 3, should hold 0 to 2"),
    ("test_items.npy", lambda path: np.save(path, np.array([0, -1], np.int32)), "holds -1, should hold 0 to 2"),
    ("offsets.npy", lambda path: np.save(path, np.array([0, 5, 4])), "does not rise from 0 to 4"),
])
def test_damage_of_a_prepared_folder_is_named(tmp_path, name, damage, problem):
    write_raw(tmp_path / "ml-100k")
    folder = movielens.prepare(tmp_path, Settings("ml-100k", min_ratings=3, ties="stable"))
    damage(folder / name)
    with pytest.raises(UserError, match=rf"{name}.*{problem}.*: delete {folder} and prepare again") as error:
        movielens.load(folder)
    assert "\n" not in str(error.value)


def test_every_rule_and_raw_folder_has_its_own_prepared_folder(tmp_path):
    settings = [Settings("ml-100k"), Settings("ml-100k", min_ratings=5), Settings("ml-100k", ties="stable"),
                Settings("ml-100k", ties_seed=1), Settings("ml-100k", raw_dir=str(tmp_path / "x")), Settings("ml-1m"), Settings("tiny"),
                Settings("fractal", fractal_base="ml-100k"), Settings("fractal", fractal_base="ml-100k", user_factor=2),
                Settings("fractal", fractal_base="ml-100k", item_factor=2), Settings("fractal", fractal_base="tiny")]
    assert len({movielens.prepared_folder(tmp_path, each) for each in settings}) == len(settings)
    assert movielens.prepared_folder(tmp_path, Settings("ml-100k")).name == "ml-100k-min20-random0"
    assert (movielens.prepared_folder(tmp_path, Settings("ml-100k", raw_dir=str(tmp_path / "ml-100k")))
            == movielens.prepared_folder(tmp_path, Settings("ml-100k")))


def test_the_file_may_lie_in_the_archives_folder(tmp_path):
    write_raw(tmp_path / "mine" / "ml-100k")
    settings = Settings("ml-100k", raw_dir=str(tmp_path / "mine"), min_ratings=2)
    assert movielens.required_files(tmp_path, settings) == [(tmp_path / "mine" / "ml-100k" / "u.data", True)]
    assert movielens.read_meta(movielens.prepare(tmp_path, settings)).users == 2
    assert [check.state for check in movielens.verify(tmp_path, settings)] == ["damaged"]


@pytest.mark.parametrize(("source", "name"), [("ml-20m", "ratings.csv"), ("ml-1m", "ratings.dat"), ("ml-100k", "u.data")])
def test_missing_files_are_named(tmp_path, source, name):
    with pytest.raises(UserError, match=rf"{source}/{name} is missing: .*data download"):
        movielens.prepare(tmp_path, Settings(source))
    assert movielens.required_files(tmp_path, Settings("fractal", fractal_base=source)) == [(tmp_path / source / name, False)]
    assert [check.state for check in movielens.verify(tmp_path, Settings(source))] == ["missing"]
    assert MOVIELENS[source].name == f"{source}.zip" and MOVIELENS[source].files[0].name == name


def test_no_user_with_enough_ratings(tmp_path):
    write_raw(tmp_path / "ml-100k")
    with pytest.raises(UserError, match=r"none of the 2 users has 20 ratings \(config.data.min_ratings\)"):
        movielens.prepare(tmp_path, Settings("ml-100k"))
    assert not list((tmp_path / "prepared").iterdir())


def test_tiny_is_read_from_a_ratings_file(tmp_path):
    folder = movielens.prepare(tmp_path, TINY)
    assert (tmp_path / "movielens-tiny" / "ratings.csv").is_file()
    meta, ratings = movielens.read_meta(folder), movielens.load(folder)
    assert (meta.users, meta.train_ratings, meta.tied_users) == (40, 40 * 21, 0)
    assert np.diff(ratings.offsets).tolist() == [21] * 40
    assert movielens.required_files(tmp_path, TINY) == movielens.verify(tmp_path, TINY) == []
    written = (tmp_path / "movielens-tiny" / "ratings.csv").stat().st_mtime_ns
    movielens.download(tmp_path, TINY)
    assert (tmp_path / "movielens-tiny" / "ratings.csv").stat().st_mtime_ns == written
    other = movielens.prepare(tmp_path, Settings("tiny", tiny_users=40, tiny_items=60, tiny_positives=22, tiny_seed=5))
    assert (movielens.load(other).items != ratings.items).any()


@pytest.mark.parametrize("damage", [lambda raw: (raw / "ratings.csv").unlink(), lambda raw: (raw / "meta.json").write_text("{")])
def test_what_was_generated_and_is_damaged_is_generated_again(tmp_path, damage):
    movielens.generate_tiny(tmp_path, TINY)
    ratings = tmp_path / movielens.TINY_FOLDER / "ratings.csv"
    before = ratings.read_bytes()
    damage(ratings.parent)
    movielens.generate_tiny(tmp_path, TINY)
    assert ratings.read_bytes() == before and records.read_meta(ratings.parent)


def test_generating_leaves_the_folder_of_published_files_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "notes").write_text("kept")
    settings = Settings("tiny", raw_dir=str(tmp_path / "mine"), tiny_users=3, tiny_items=30, tiny_positives=20)
    assert movielens.prepare(tmp_path, settings).parent == tmp_path / "prepared"
    assert (tmp_path / "mine" / "notes").read_text() == "kept"


def test_fractal_folder(tmp_path):
    settings = Settings("fractal", fractal_base="tiny", user_factor=2, item_factor=3, tiny_users=40, tiny_items=60, tiny_positives=22)
    folder = movielens.prepare(tmp_path, settings)
    meta, ratings = movielens.read_meta(folder), movielens.load(folder)
    assert meta.users == len(ratings.test_items) == len(ratings.offsets) - 1 and meta.users + meta.dropped_users == 80
    assert meta.train_ratings == len(ratings.items) == ratings.offsets[-1] and meta.file_ratings == 880
    assert meta.items % 3 == 0 and ratings.items.max() < meta.items
    assert {path.name for path in folder.iterdir()} == {"items.npy", "offsets.npy", "test_items.npy", records.META}


def test_real_ratings(tmp_path, shared_data):
    """Counts of u.info; 415 users rated several films in their last second (counted apart, line by line)."""
    settings = Settings("ml-100k", raw_dir=str(shared_data / "ml-100k"))
    assert [(check.state, check.detail) for check in movielens.verify(tmp_path, settings)] == [("ok", "size and lines")]
    folders = [movielens.prepare(tmp_path, each, workers=2)
               for each in (settings, Settings("ml-100k", settings.raw_dir, ties_seed=1), Settings("ml-100k", settings.raw_dir, ties="stable"))]
    for folder in folders:
        meta = movielens.read_meta(folder)
        assert (meta.users, meta.items, meta.train_ratings, meta.file_ratings) == (943, 1682, 99_057, 100_000)
        assert (meta.dropped_users, meta.duplicates, meta.tied_users) == (0, 0, 415)
    random, other, stable = (movielens.load(folder) for folder in folders)
    for ratings in (random, other, stable):
        assert np.diff(ratings.offsets).min() == 19
        assert (np.diff(ratings.items)[np.diff(np.repeat(np.arange(943), np.diff(ratings.offsets))) == 0] > 0).all()
    differing = (random.test_items != other.test_items).sum()
    assert 200 < differing < 415 and 200 < (random.test_items != stable.test_items).sum() < 415
    # User 196 stands first in the file, with film 242; user 186 rated film 302 in the second line.
    assert random.items[0] == 0 and 1 in random.items[random.offsets[1] : random.offsets[2]]
