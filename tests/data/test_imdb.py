"""IMDB's three published forms, the generated reviews, the prepared folder, and what is refused."""

import dataclasses
import io
import shutil
import tarfile

import numpy as np
import pytest

from jax_mlperf.data import imdb, imdb_files, ngrams, records
from jax_mlperf.data.example import encode_example
from jax_mlperf.data.imdb import Settings
from jax_mlperf.data.imdb_files import find_files, shard_name
from jax_mlperf.data.imdb_formats import ARCHIVE, SPLITS, Reviews, read_shard, write_tfds
from jax_mlperf.data.review_words import number_words
from jax_mlperf.data.tfrecord import write_shard
from jax_mlperf.errors import UserError

TEXTS = {"train": [b"Good. Good film!\n", b"a good, good film", b"Bad film", b"caf\xe9 bad? bad"],
         "test": [b"good a", b"film<br />film", b"bad", b"unseen"]}
LABELS = np.array([0, 0, 1, 1], np.uint8)  # by name: positive first


@pytest.fixture
def small(monkeypatch):
    """The benchmark with splits of four reviews."""
    monkeypatch.setattr(imdb, "REVIEWS", 4)


def members(split) -> list[tuple[str, bytes]]:
    names = ("pos/0_10.txt", "pos/1_7.txt", "neg/0_1.txt", "neg/1_4.txt")
    return [(f"{split}/{name}", text) for name, text in zip(names, TEXTS[split], strict=True)]


def write_records(folder, shards=1) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for split in SPLITS:
        for shard, part in enumerate(np.array_split(np.arange(4), shards)):
            write_tfds(folder / shard_name(split, shard, shards), Reviews([TEXTS[split][i] for i in part], LABELS[part]))


def write_folders(folder) -> None:
    for split in SPLITS:
        for name, text in members(split):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(text)


def write_archive(folder, extra=()) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(folder / ARCHIVE, "w:gz") as tar:
        for name, text in [*extra, *members("test")[::-1], ("train/unsup/0_0.txt", b"no label"), ("README", b"no review"),
                           *members("train")[::-1]]:
            member = tarfile.TarInfo(f"aclImdb/{name}")
            member.size = len(text)
            tar.addfile(member, io.BytesIO(text))


@pytest.mark.parametrize("features", imdb.FEATURES)
def test_all_forms_give_the_same_arrays(tmp_path, small, features):
    write_records(tmp_path / "tfds", shards=2)
    write_folders(tmp_path / "folders" / "aclImdb")
    write_archive(tmp_path / "archive")
    found = []
    for form in ("tfds", "folders", "archive"):
        settings = Settings(raw_dir=str(tmp_path / form), features=features, vocab_cutoff=0, ngram_buckets_log2=20)
        assert find_files(tmp_path / form).form == form
        folder = imdb.prepare(tmp_path, settings)
        found.append([imdb.load(folder, split) for split in SPLITS])
        assert imdb.read_meta(folder).features == features
    for other in found[1:]:
        for split, expected in zip(other, found[0], strict=True):
            for array, wanted in zip(split, expected, strict=True):
                np.testing.assert_array_equal(array, wanted)
                assert array.dtype == wanted.dtype
    assert [array.dtype for array in found[0][0]] == [np.uint16 if features == "words" else np.uint32, np.int32, np.uint8]
    assert [split.labels.tolist() for split in found[0]] == [LABELS.tolist()] * 2  # 0 is positive


def test_words_by_hand(tmp_path, small):
    """Counts over both splits: film 4, good 5, bad 4, a 2, café, filmbr and unseen 1."""
    write_records(tmp_path / "imdb")
    folder = imdb.prepare(tmp_path, Settings(vocab_cutoff=1))
    assert (folder / imdb.VOCABULARY).read_bytes() == b"good\nbad\nfilm\na\n<unk>\n"
    train, test = (imdb.load(folder, split) for split in SPLITS)
    assert train.tokens.tolist() == [0, 0, 2, 3, 0, 0, 2, 1, 2, 4, 1, 1] and train.offsets.tolist() == [0, 3, 7, 9, 12]
    assert test.tokens.tolist() == [0, 3, 4, 2, 1, 4] and test.offsets.tolist() == [0, 2, 4, 5, 6]
    meta = imdb.read_meta(folder)
    assert meta == imdb.Meta(meta.fingerprint, "words", 5, 4, 4, 12, 6, 4)


def test_ngrams_are_sets(tmp_path, small):
    write_records(tmp_path / "imdb")
    folder = imdb.prepare(tmp_path, Settings(features="ngrams", ngram_order=2))
    train = imdb.load(folder, "train")
    # "good . good film !": 4 distinct tokens and 4 pairs; "a good good film": 3 and 3; "bad film": 2 and 1;
    # "caf bad ? bad": 3 and 3.
    assert np.diff(train.offsets).tolist() == [8, 6, 3, 6]
    assert all(np.all(np.diff(each.astype(np.int64)) > 0) for each in np.split(train.tokens, train.offsets[1:-1]))
    meta = imdb.read_meta(folder)
    assert (meta.vocab_size, meta.train_tokens, meta.longest) == (2**22, 23, 8)
    assert not (folder / imdb.VOCABULARY).exists()


def test_each_kind_of_tokens_has_its_folder():
    kinds = [Settings(), Settings(vocab_cutoff=100), Settings(features="ngrams"), Settings(features="ngrams", ngram_order=3),
             Settings(features="ngrams", ngram_buckets_log2=18), Settings("tiny"), Settings(raw_dir="elsewhere")]
    assert len({imdb.prepared_folder("data", settings) for settings in kinds}) == len(kinds)
    same = Settings(ngram_order=3)  # says nothing about words
    assert imdb.prepared_folder("data", same) == imdb.prepared_folder("data", Settings())


@pytest.mark.parametrize("write, changed", [
    (write_records, shard_name("test")), (write_folders, "test/neg/1_4.txt"), (write_archive, ARCHIVE)])
def test_prepare_once(tmp_path, small, write, changed):
    write(tmp_path / "imdb")
    folder = imdb.prepare(tmp_path, Settings(vocab_cutoff=0))
    before = (folder / "train.tokens.npy").stat().st_mtime_ns
    imdb.prepare(tmp_path, Settings(vocab_cutoff=0))
    assert (folder / "train.tokens.npy").stat().st_mtime_ns == before
    other = {split: list(texts) for split, texts in TEXTS.items()}
    other["test"][3] = b"other words here"
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(globals(), "TEXTS", other)
        (tmp_path / "imdb" / changed).unlink()
        write(tmp_path / "imdb")
    assert len(imdb.load(imdb.prepare(tmp_path, Settings(vocab_cutoff=0)), "test").tokens) == 6 + 2


@pytest.mark.parametrize(("name", "damage", "problem"), [
    ("meta.json", lambda path: path.write_text("[]"), "is damaged"),
    ("test.labels.npy", lambda path: path.unlink(), "No such file"),
    ("test.tokens.npy", lambda path: path.write_bytes(path.read_bytes()[:-1]), "is damaged"),
    ("test.labels.npy", lambda path: np.save(path, np.array([0, 0, 1], np.uint8)), r"uint8 \[3\], should be uint8 \[4\]"),
    ("test.labels.npy", lambda path: np.save(path, np.array([0, 0, 1, 2], np.uint8)), "holds 2, should hold 0 to 1"),
    ("test.tokens.npy", lambda path: np.save(path, np.full(len(np.load(path)), 99, np.uint16)), "holds 99, should hold 0 to 4"),
    ("test.offsets.npy", lambda path: np.save(path, np.load(path)[::-1]), "does not rise from 0 to 6"),
])
def test_damage_of_a_prepared_folder_is_named(tmp_path, small, name, damage, problem):
    write_records(tmp_path / "imdb")
    folder = imdb.prepare(tmp_path, Settings(vocab_cutoff=1))
    damage(folder / name)
    with pytest.raises(UserError, match=rf"{name}.*{problem}.*: delete {folder} and prepare again"):
        imdb.load(folder, "test")


def test_folders_and_files_in_each_others_place(tmp_path):
    (tmp_path / "archive" / ARCHIVE).mkdir(parents=True)
    write_folders(tmp_path / "folders")
    shutil.rmtree(tmp_path / "folders" / "test" / "neg")
    (tmp_path / "folders" / "test" / "neg").write_bytes(b"")
    for raw, problem in (("archive", "Is a directory"), ("folders", "Not a directory")):
        with pytest.raises(UserError, match=rf"cannot read {tmp_path / raw}/.*: {problem}"):
            imdb.prepare(tmp_path, Settings(raw_dir=str(tmp_path / raw)))


def test_where_files_are_looked_for(tmp_path):
    assert find_files(tmp_path).paths == (tmp_path / ARCHIVE,)
    version = tmp_path / "imdb_reviews" / "plain_text" / "1.0.0"
    write_records(version, shards=2)
    assert find_files(tmp_path).paths == find_files(tmp_path / "imdb_reviews").paths == find_files(version).paths
    assert [path.name for path in find_files(tmp_path).of("test")] == [shard_name("test", i, 2) for i in (0, 1)]
    (version / shard_name("test", 1, 2)).unlink()
    assert find_files(tmp_path).missing == [version / shard_name("test", 1, 2)]
    with pytest.raises(UserError, match=r"1 of 4 inputs .* missing, .*imdb_reviews-test\.tfrecord-00001-of-00002 first"):
        imdb.prepare(tmp_path, Settings(raw_dir=str(tmp_path)))
    write_folders(tmp_path / "aclImdb")
    assert find_files(tmp_path).form == "folders"  # what is whole goes before what is not


def test_missing_files_are_named(tmp_path):
    with pytest.raises(UserError, match=r"1 of 1 .*aclImdb_v1\.tar\.gz.*data download"):
        imdb.prepare(tmp_path, Settings())
    assert imdb.required_files(tmp_path, Settings()) == [(tmp_path / "imdb" / ARCHIVE, False)]
    assert imdb.required_files(tmp_path, Settings("tiny")) == []
    assert [check.state for check in imdb.verify(tmp_path, Settings())] == ["missing"]
    write_folders(tmp_path / "imdb" / "aclImdb")
    shutil.rmtree(tmp_path / "imdb" / "aclImdb" / "train" / "neg")
    assert [check.state for check in imdb.verify(tmp_path, Settings())] == ["ok", "missing", "damaged", "damaged"]
    with pytest.raises(UserError, match="1 of 4 .*missing, .*train/neg first"):
        imdb.prepare(tmp_path, Settings())


def test_wrong_numbers_of_reviews(tmp_path, small, monkeypatch):
    write_folders(tmp_path / "imdb")
    (tmp_path / "imdb" / "test" / "neg" / "2_3.txt").write_bytes(b"one more")
    with pytest.raises(UserError, match=r"imdb holds 2 positive and 3 negative reviews of the split 'test', should hold 2 and 2"):
        imdb.prepare(tmp_path, Settings())
    assert not imdb.prepared_folder(tmp_path, Settings()).exists()
    assert [check.state for check in imdb.verify(tmp_path, Settings())] == ["ok", "ok", "damaged", "damaged"]
    write_records(tmp_path / "other")
    monkeypatch.setattr(imdb, "REVIEWS", 25_000)
    checks = imdb.verify(tmp_path, Settings(raw_dir=str(tmp_path / "other")))
    assert [check.detail for check in checks] == ["2 positive and 2 negative reviews, should be 12,500 each"] * 2


def test_a_review_without_words(tmp_path, small, monkeypatch):
    monkeypatch.setitem(TEXTS, "test", [b"good", b"bad", b"...\n", b"a"])
    write_records(tmp_path / "imdb")
    with pytest.raises(UserError, match=r"review 2 \(from 0\) of the split 'test' has no words: b'\.\.\."):
        imdb.prepare(tmp_path, Settings())


def test_damaged_records(tmp_path):
    path = tmp_path / shard_name("train")
    good = encode_example({"text": b"x", "label": 1})
    for second, problem in ((encode_example({"text": b"x"}), "no feature 'label'"), (b"\x0f", "no tf.train.Example"),
                            (encode_example({"text": b"x", "label": -1}), "label -1, must be 0 .* or 1")):
        write_shard(path, [good, second])
        with pytest.raises(UserError, match=rf"imdb_reviews-train\S+: record 1 is corrupt: it .*{problem}"):
            list(read_shard(path))
    write_shard(path, [good, good])
    content = path.read_bytes()
    path.write_bytes(content[:-6] + bytes([content[-6] ^ 1]) + content[-5:])
    with pytest.raises(UserError, match=r"record 1 is corrupt: the CRC"):
        list(read_shard(path))
    path.write_bytes(content[:-6])
    with pytest.raises(UserError, match=r"ends within record 1"):
        list(read_shard(path))
    write_records(tmp_path)
    path.write_bytes(content[:-6])
    checks = imdb.verify(tmp_path, Settings(raw_dir=str(tmp_path)))
    assert checks[0].state == "damaged" and "ends within record 1" in checks[0].detail


@pytest.mark.parametrize("name, problem", [
    ("train/pos/7.txt", "has no stars, must be <id>_<stars>.txt with 7 to 10"),
    ("test/neg/7_9.txt", "gives it 9 stars, must be <id>_<stars>.txt with 1 to 4 stars for 'neg'"),
    ("train/neg/7_5.txt", "gives it 5 stars"), ("test/pos/._7_8.txt", "has no stars")])
def test_names_that_are_no_reviews(tmp_path, name, problem):
    write_folders(tmp_path / "folders")
    (tmp_path / "folders" / name).write_bytes(b"x")
    write_archive(tmp_path / "archive", [(name, b"x")])
    for form in ("folders", "archive"):
        with pytest.raises(UserError, match=rf"{name} is no review: its name {problem}"):
            imdb_files.read(find_files(tmp_path / form))
    settings = Settings(raw_dir=str(tmp_path / "folders"))
    assert sum(problem in check.detail for check in imdb.verify(tmp_path, settings)) == 1


def test_damaged_archives(tmp_path):
    write_archive(tmp_path)
    path = tmp_path / ARCHIVE
    content = path.read_bytes()
    assert [check.state for check in imdb.verify(tmp_path, Settings(raw_dir=str(tmp_path)))] == ["damaged"]  # its md5
    for damaged in (content[:-100], content[:-1], content[:40] + b"\0\0\0\0" + content[44:], content[:-8] + bytes(8),
                    b"<html>404", b""):
        path.write_bytes(damaged)
        with pytest.raises(UserError, match=r"cannot read .*aclImdb_v1\.tar\.gz: .+; remove it and download it again"):
            imdb_files.read(find_files(tmp_path))


def test_tiny_is_written_as_records(tmp_path):
    settings = Settings("tiny", vocab_cutoff=0, tiny_reviews=(300, 100))
    folder = imdb.prepare(tmp_path, settings)
    assert sorted(path.name for path in (tmp_path / imdb.TINY).iterdir()) == [shard_name("test"), shard_name("train"), records.META]
    meta = imdb.read_meta(folder)
    assert (meta.train_reviews, meta.test_reviews) == (300, 100) and meta.vocab_size <= 1001
    train, test = (imdb.load(folder, split) for split in SPLITS)
    assert train.labels.sum() == 150 and not np.array_equal(train.tokens[:200], test.tokens[:200])
    assert np.concatenate([train.tokens, test.tokens]).max() == meta.vocab_size - 2  # nothing is unknown
    other = imdb.prepare(tmp_path, Settings("tiny", vocab_cutoff=0, tiny_reviews=(300, 100), tiny_seed=5))
    assert not np.array_equal(imdb.load(other, "train").tokens, train.tokens)


@pytest.mark.slow
def test_tiny_at_its_full_size_has_1001_ids(tmp_path):
    meta = imdb.read_meta(imdb.prepare(tmp_path, Settings("tiny", vocab_cutoff=0)))
    assert (meta.vocab_size, meta.train_reviews, meta.test_reviews) == (1001, 8000, 2000)


@pytest.mark.parametrize(("name", "damage"), [(shard_name("test"), lambda path: path.unlink()),
                                              (records.META, lambda path: path.write_text("{"))])
def test_what_was_generated_and_is_damaged_is_generated_again(tmp_path, name, damage):
    settings = Settings("tiny", tiny_reviews=(6, 4))
    imdb.generate_tiny(tmp_path, settings)
    raw = tmp_path / imdb.TINY
    before = (raw / name).read_bytes()
    damage(raw / name)
    imdb.generate_tiny(tmp_path, settings)
    assert (raw / name).read_bytes() == before


def test_generating_leaves_the_folder_of_published_files_alone(tmp_path):
    (tmp_path / "mine").mkdir()
    settings = Settings("tiny", raw_dir=str(tmp_path / "mine"), vocab_cutoff=0, tiny_reviews=(20, 10))
    assert imdb.prepare(tmp_path, settings) == tmp_path / "prepared" / "imdb-tiny-words-0"
    assert list((tmp_path / "mine").iterdir()) == []


def test_download_brings_the_archive_and_leaves_it_packed(tmp_path, monkeypatch):
    write_archive(tmp_path / "server")
    wanted = (tmp_path / "server" / ARCHIVE).read_bytes()
    with pytest.raises(UserError, match="md5 .* should have 7c2ac02c03563afcf9b574c7e56c153a"):
        imdb.download(tmp_path, Settings(), mirror=(tmp_path / "server").as_uri())
    monkeypatch.setattr(imdb, "IMDB", [dataclasses.replace(source, md5="") for source in imdb.IMDB])
    imdb.download(tmp_path, Settings(), mirror=(tmp_path / "server").as_uri())
    assert (tmp_path / "imdb" / ARCHIVE).read_bytes() == wanted
    write_records(tmp_path / "complete")
    imdb.download(tmp_path, Settings(raw_dir=str(tmp_path / "complete")), mirror="nowhere:")  # needs nothing


@pytest.mark.slow
def test_real_words(tmp_path, shared_data):
    """Figures of sentiment.md of the specification, 1.2 and 1.3, for this copy of the reviews."""
    folder = imdb.prepare(tmp_path, Settings(raw_dir=str(shared_data / "tfds")))
    words = (folder / imdb.VOCABULARY).read_bytes()
    assert words.startswith(b"the\nand\na\nof\nto\nis\nin\nit\ni\nthis\nthat\nbr\nwas\nas\nwith\nfor\nmovie\nbut\nfilm\n")
    assert words.endswith(b"\nvirtual\nwarriors\nwidely\n<unk>\n") and words.count(b"\n") == 5145
    meta = imdb.read_meta(folder)
    assert (meta.vocab_size, meta.train_tokens, meta.test_tokens, meta.longest) == (5145, 5_821_393, 5_690_263, 2469)
    counts = np.zeros(5145, np.int64)
    for split, percentiles, longest in (("train", [174, 457, 595, 909], 2469), ("test", [171, 443, 580, 896], 2272)):
        reviews = imdb.load(folder, split)
        assert np.bincount(reviews.labels).tolist() == [12_500, 12_500]
        lengths = np.diff(reviews.offsets)
        np.testing.assert_allclose(np.percentile(lengths, [50, 90, 95, 99]), percentiles, atol=0.5)
        assert lengths.max() == longest
        assert np.mean(reviews.tokens == 5144) == pytest.approx(0.109, abs=0.0015)
        counts += np.bincount(reviews.tokens, minlength=5145)
    assert counts[:3].tolist() == [663_729, 320_593, 320_487] and counts[:-1].min() == 151


@pytest.mark.slow
def test_real_ngrams(shared_data):
    """Section 7 of the same, where another hash counted: collisions inside a review differ by a few."""
    reviews = imdb_files.read(find_files(shared_data / "tfds"))
    for split, orders in (("train", {1: (143, None, None), 2: (373, 1283, None), 3: (616, 2211, 5089)}),
                          ("test", {2: (None, None, 3014)})):
        numbered = number_words(map(ngrams.tokenize, reviews[split].texts))
        for order, (mean, p99, longest) in orders.items():
            _, sizes = ngrams.hashed_sets(numbered, order, 22)
            assert mean is None or sizes.mean() == pytest.approx(mean, abs=0.6)
            assert p99 is None or np.percentile(sizes, 99) == pytest.approx(p99, abs=2)
            assert longest is None or sizes.max() == pytest.approx(longest, abs=4)
