"""Finding, indexing and checking ImageNet shards, and writing them from the tars; no TensorFlow."""

import io
import json
import os
import tarfile

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from jax_mlperf.data import imagenet, imagenet_tars, tfrecord
from jax_mlperf.data.imagenet_example import LAYOUTS, classic_example, image_and_label
from jax_mlperf.errors import UserError


def shards_at(folder, split, counts, pattern="{split}-{shard:05d}-of-{count:05d}"):
    """Shards of records "<split><shard><record>" of the given numbers."""
    folder.mkdir(parents=True, exist_ok=True)
    for shard, count in enumerate(counts):
        name = pattern.format(split=split, shard=shard, count=len(counts))
        records = [classic_example(f"{split}{shard}{i}".encode(), i, (1, 1), "x", "n") for i in range(count)]
        tfrecord.write_shard(folder / name, records)


def both(folder, **pattern):
    shards_at(folder, "train", [2, 3], **pattern)
    shards_at(folder, "validation", [1], **pattern)


TFDS = {"pattern": "imagenet2012-{split}.tfrecord-{shard:05d}-of-{count:05d}"}


def settings(raw):
    return imagenet.Settings(raw_dir=str(raw))


def test_index_reads_every_record(tmp_path):
    both(tmp_path / "raw")
    folder = imagenet.prepare(tmp_path, settings(tmp_path / "raw"))
    meta = imagenet.read_index_meta(folder)
    assert (meta.layout, meta.records) == ("classic", {"train": 5, "validation": 1})
    arrays = [np.load(folder / f"train.{name}.npy") for name in ("shard", "offset", "length")]
    paths = [tmp_path / "raw" / name for name, _, _ in meta.shards["train"]]
    files = tfrecord.Shards(paths, [size for _, size, _ in meta.shards["train"]])
    found = [image_and_label(files.read(*map(int, place)), LAYOUTS["classic"]) for place in zip(*arrays, strict=True)]
    files.close()
    assert found == [(b"train00", 1), (b"train01", 2), (b"train10", 1), (b"train11", 2), (b"train12", 3)]


def test_index_stays_until_a_shard_changes(tmp_path):
    raw = tmp_path / "raw"
    both(raw)
    folder = imagenet.prepare(tmp_path, settings(raw))
    first, fingerprint = (folder / "meta.json").stat().st_ino, imagenet.read_index_meta(folder).fingerprint
    assert imagenet.prepare(tmp_path, settings(raw)) == folder
    assert (folder / "meta.json").stat().st_ino == first
    os.utime(raw / "train-00000-of-00002", (1, 1))  # copied anew: the same records
    imagenet.prepare(tmp_path, settings(raw))
    assert (folder / "meta.json").stat().st_ino != first
    assert imagenet.read_index_meta(folder).fingerprint == fingerprint
    shards_at(raw, "train", [3, 2])
    imagenet.prepare(tmp_path, settings(raw))
    assert imagenet.read_index_meta(folder).fingerprint != fingerprint


@pytest.mark.parametrize("place", ["", "5.1.0", "imagenet2012/5.1.0"])
def test_tfds_folders(tmp_path, place):
    both(tmp_path / place, **TFDS)
    layout, folder, shards = imagenet.find_shards(tmp_path)
    assert (layout, folder) == ("tfds", tmp_path / place)
    assert [name for name, _, _ in shards["train"]] == [f"imagenet2012-train.tfrecord-0000{i}-of-00002" for i in (0, 1)]


def test_classic_shards_in_folders_of_their_splits(tmp_path):
    shards_at(tmp_path / "train", "train", [1, 1])
    shards_at(tmp_path / "validation", "validation", [1])
    layout, _, shards = imagenet.find_shards(tmp_path)
    assert layout == "classic" and shards["validation"][0][0] == "validation/validation-00000-of-00001"


def break_split(raw):
    (raw / "validation-00000-of-00001").unlink()


def break_set(raw):
    (raw / "train-00001-of-00002").unlink()


def break_mixed(raw):
    shards_at(raw, "train", [1, 1, 1])


def break_layouts(raw):
    both(raw, **TFDS)


def break_link(raw):
    (raw / "train-00001-of-00002").unlink()
    (raw / "train-00001-of-00002").symlink_to(raw / "gone")


def break_file(raw):
    (raw / "train-00001-of-00002").unlink()
    (raw / "train-00001-of-00002").mkdir()


def break_all(raw):
    for path in raw.iterdir():
        path.unlink()


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (break_split, "holds train shards but none of validation"),
        (break_set, r"a train shard 00001 is missing \(1 are\): all 2 are needed"),
        (break_mixed, "train shards of sets of 2 and of 3: keep one set"),
        (break_layouts, "shards of both layouts .*: keep one, or set --config.data.raw_dir"),
        (break_link, "cannot read .*train-00001-of-00002: No such file or directory; put the shard there"),
        (break_file, "cannot read .*train-00001-of-00002: Is a directory; copy the file again"),
        (break_all, "no ImageNet TFRecord shards in .*needed are train-00000-of-01024"),
    ],
)
def test_what_is_missing_is_said(tmp_path, damage, message):
    raw = tmp_path / "raw"
    both(raw)
    damage(raw)
    with pytest.raises(UserError, match=message):
        imagenet.prepare(tmp_path, settings(raw))


def test_empty_shards(tmp_path):
    shards_at(tmp_path / "raw", "train", [0])
    shards_at(tmp_path / "raw", "validation", [1])
    with pytest.raises(UserError, match="train shards of .* hold no records"):
        imagenet.prepare(tmp_path, settings(tmp_path / "raw"))
    assert not imagenet.prepared_folder(tmp_path, settings(tmp_path / "raw")).exists()


def test_verify_reads_payloads_and_counts(tmp_path):
    tiny = imagenet.Settings(imagenet.TINY, tiny_images=(9, 4), tiny_size=8)
    with pytest.raises(UserError, match="holds no shards yet: run data prepare"):
        imagenet.verify(tmp_path, tiny)
    folder = imagenet.prepare(tmp_path, tiny)
    checks = imagenet.verify(tmp_path, tiny)
    assert [check.state for check in checks] == ["ok"] * 8
    assert checks[4].detail == "9 train images" and checks[7].detail == "4 validation images"
    path = tmp_path / imagenet.TINY / "train-00001-of-00004"
    data = bytearray(path.read_bytes())
    data[200] ^= 1
    path.write_bytes(data)
    (tmp_path / imagenet.TINY / "validation-00001-of-00002").write_bytes(b"")
    damaged = [check for check in imagenet.verify(tmp_path, tiny) if check.state != "ok"]
    assert [(check.path.name, check.detail) for check in damaged] == [
        (path.name, "the CRC of record 0 does not hold (1 such)"),
        (imagenet.TINY, "2 validation images, should be 4"),
    ]
    assert imagenet.read_index_meta(folder).records == {"train": 9, "validation": 4}


def test_real_samples_are_too_few_for_the_benchmark(shared_data):
    checks = imagenet.verify("", settings(shared_data / "tfds/imagenet2012"))
    assert [check.state for check in checks] == ["ok", "damaged", "ok", "damaged"]
    assert checks[1].detail == "50 train images, should be 1,281,167"


def test_generated_images_take_no_raw_dir(tmp_path):
    with pytest.raises(UserError, match="images of this config are generated: leave it empty"):
        imagenet.prepare(tmp_path, imagenet.Settings(imagenet.TINY, raw_dir=str(tmp_path)))


def test_instructions_name_files_sums_and_place(tmp_path):
    text = imagenet.instructions(tmp_path, imagenet.Settings())
    assert f"into {tmp_path / 'imagenet2012'}:" in text
    assert "ILSVRC2012_img_train.tar  147,897,477,120 bytes  md5 1d675b47d978889d74fa0da5fadfb00e" in text
    assert "ILSVRC2012_devkit_t12.tar.gz  md5 fa75699e90414af021442c21a62c3abf" in text


def test_other_version_of_the_index(tmp_path):
    (tmp_path / "meta.json").write_text(json.dumps({"format": 0}))
    with pytest.raises(UserError, match="is of another version.*data prepare"):
        imagenet.read_index_meta(tmp_path)


SYNSETS = ["n00000002", "n00000007", "n00000009"]


def encoded(colour, form="JPEG", mode="RGB"):
    buffer = io.BytesIO()
    Image.new(mode, (20, 10), colour).save(buffer, form)
    return buffer.getvalue()


def add(tar, name, content):
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))


@pytest.fixture
def tars(tmp_path):
    """Three synsets of 4 training images and 5 validation images; devkit identifiers are in another order."""
    raw = tmp_path / "tars"
    raw.mkdir()
    with tarfile.open(raw / imagenet_tars.TRAIN_TAR, "w") as outer:
        for number, synset in enumerate(SYNSETS):
            buffer = io.BytesIO()
            with tarfile.open(fileobj=buffer, mode="w") as inner:
                for i in range(4):
                    image = encoded((number * 80, i * 60, 0))
                    if (number, i) == (0, 1):
                        image = encoded((0, 60, 0), form="PNG")
                    elif (number, i) == (1, 2):
                        image = encoded((0, 255, 255, 0), mode="CMYK")
                    add(inner, f"{synset}_{i}.JPEG", image)
            add(outer, f"{synset}.tar", buffer.getvalue())
    with tarfile.open(raw / imagenet_tars.VALIDATION_TAR, "w") as tar:
        for i in (3, 1, 2, 5, 4):
            add(tar, f"ILSVRC2012_val_0000000{i}.JPEG", encoded((0, 0, i * 40)))
    identifiers = [SYNSETS[2], SYNSETS[0], SYNSETS[1], "n00000099"]
    meta = np.array(
        [(i + 1, wnid, f"word {i}, n1", "a gloss", 0) for i, wnid in enumerate(identifiers)],
        dtype=[("ILSVRC2012_ID", "O"), ("WNID", "O"), ("words", "O"), ("gloss", "O"), ("num_children", "O")],
    )
    mat = io.BytesIO()
    savemat(mat, {"synsets": meta}, do_compression=True)
    with tarfile.open(raw / imagenet_tars.DEVKIT, "w:gz") as tar:
        add(tar, "ILSVRC2012_devkit_t12/data/meta.mat", mat.getvalue())
        add(tar, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", b"2\n3\n1\n1\n2\n")
    return raw


def read_all(folder, split, shards):
    found = []
    for shard in range(shards):
        path = folder / f"{split}-{shard:05d}-of-{shards:05d}"
        files = tfrecord.Shards([path], [path.stat().st_size])
        for offset, length in zip(*tfrecord.index_shard(path), strict=True):
            found.append((shard, *image_and_label(files.read(0, int(offset), int(length)), LAYOUTS["classic"])))
        files.close()
    return found


def test_tars_become_shards(tars, tmp_path):
    folder = imagenet_tars.write_shards_of_tars(tars, tmp_path / "out", workers=2, shards=(3, 2))
    train, validation = read_all(folder, "train", 3), read_all(folder, "validation", 2)
    assert sorted(label for _, _, label in train) == [1] * 4 + [2] * 4 + [3] * 4
    assert [sum(shard == number for shard, _, _ in train) for number in range(3)] == [4, 4, 4]
    assert [label for _, _, label in train] != sorted(label for _, _, label in train)  # not in the order of classes
    colours = []
    for _, image, label in train:
        with Image.open(io.BytesIO(image)) as opened:
            assert (opened.format, opened.mode, opened.size) == ("JPEG", "RGB", (20, 10))
            colours.append((label, *opened.getpixel((5, 5))))
    expected = [(n + 1, n * 80, i * 60, 0) for n in range(3) for i in range(4)]
    expected[6] = (2, 255, 0, 0)  # the CMYK image: cyan 0, magenta and yellow full
    distances = np.abs(np.array(colours)[:, None] - np.array(expected)).max(axis=-1)
    assert sorted(distances.argmin(axis=1)) == list(range(12)) and distances.min(axis=1).max() <= 4
    labels = {round(Image.open(io.BytesIO(image)).getpixel((5, 5))[2] / 40): label for _, image, label in validation}
    assert labels == {1: 1, 2: 2, 3: 3, 4: 3, 5: 1}  # of identifiers 2, 3, 1, 1, 2


def test_shards_of_tars_are_written_once_and_whole(tars, tmp_path):
    folder = imagenet_tars.write_shards_of_tars(tars, tmp_path / "out", workers=1, shards=(3, 2))
    contents = {path.name: path.read_bytes() for path in folder.iterdir()}
    (folder / "train-00001-of-00003").unlink()
    kept = (folder / "train-00000-of-00003").stat().st_ino
    imagenet_tars.write_shards_of_tars(tars, tmp_path / "out", workers=2, shards=(3, 2))
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == contents
    assert (folder / "train-00000-of-00003").stat().st_ino == kept
    os.utime(tars / imagenet_tars.TRAIN_TAR, (1, 1))
    with pytest.raises(UserError, match="holds shards of other tars"):
        imagenet_tars.write_shards_of_tars(tars, tmp_path / "out", workers=1, shards=(3, 2))


def test_prepare_goes_from_tars_to_the_index(tars, tmp_path, monkeypatch):
    monkeypatch.setattr(imagenet_tars.write_shards_of_tars, "__kwdefaults__", {"shards": (3, 2)})
    folder = imagenet.prepare(tmp_path, settings(tars))
    assert imagenet.read_index_meta(folder).records == {"train": 12, "validation": 5}
    checks = imagenet.verify(tmp_path, settings(tars))
    assert [check.state for check in checks] == ["ok"] * 3 + ["damaged"] + ["ok"] * 2 + ["damaged"]  # the two counts


def test_tars_that_are_missing_or_do_not_belong_together(tars, tmp_path):
    def write():
        imagenet_tars.write_shards_of_tars(tars, tmp_path / "out", workers=1, shards=(3, 2))

    validation = (tars / imagenet_tars.VALIDATION_TAR).read_bytes()
    with tarfile.open(tars / imagenet_tars.VALIDATION_TAR, "a") as tar:
        add(tar, "ILSVRC2012_val_00000006.JPEG", encoded((0, 0, 0)))
    with pytest.raises(UserError, match="holds 6 images, .* 5 labels: they do not belong together"):
        write()
    (tars / imagenet_tars.VALIDATION_TAR).write_bytes(validation[:1000])
    with pytest.raises(UserError, match=r"ILSVRC2012_img_val.tar is no whole tar \(.*\): download it again"):
        write()
    (tars / imagenet_tars.DEVKIT).unlink()
    with pytest.raises(UserError, match="holds no ILSVRC2012_devkit_t12.tar.gz: put all of"):
        write()


def test_tar_member_that_is_no_image(tars, tmp_path):
    with tarfile.open(tars / imagenet_tars.VALIDATION_TAR, "w") as tar:
        for i in range(5):
            add(tar, f"ILSVRC2012_val_0000000{i}.JPEG", b"no image")
    with pytest.raises(UserError, match=r"ILSVRC2012_val_0000000\d.JPEG in the tar of n0000000\d is no image"):
        imagenet_tars.write_shards_of_tars(tars, tmp_path / "out", workers=1, shards=(3, 2))
