"""Batches of ImageNet: order, processes, evaluation, damage. Imports TensorFlow, as test_jpeg.py does."""

import io
import itertools
import shutil

import numpy as np
import pytest
from PIL import Image

from input_pipelines.imagenet import ImageNetData
from input_pipelines.imagenet_crops import RandomCrop, random_windows
from input_pipelines.jpeg import _graph
from jax_mlperf.data import imagenet, tfrecord
from jax_mlperf.data.example import encode_example
from jax_mlperf.data.imagenet_example import LAYOUTS, classic_example, image_and_label
from jax_mlperf.errors import UserError

TINY = imagenet.Settings(imagenet.TINY, tiny_images=(10, 7), tiny_size=24)


@pytest.fixture(scope="module")
def tiny_folder(tmp_path_factory):
    return imagenet.prepare(tmp_path_factory.mktemp("tiny"), TINY)


def make(folder, batch=6, **settings):
    return ImageNetData(
        folder, **{"global_batch_size": batch, "image_size": 8, "num_classes": 10, "decode_threads": 2, **settings}
    )


def take(data, count, step=0, seed=5):
    batches = data.train_batches(seed, step)
    try:
        return list(itertools.islice(batches, count))
    finally:
        batches.close()


def assert_same(found, expected):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one["label"], other["label"])
        np.testing.assert_array_equal(one["image"], other["image"])


@pytest.fixture(scope="module")
def uninterrupted(tiny_folder):
    data = make(tiny_folder)
    batches = take(data, 5)
    data.close()
    return batches


def test_every_epoch_holds_every_image_once(uninterrupted):
    """10 images in batches of 6: an epoch ends within the second batch."""
    assert all(batch["image"].dtype == np.uint8 and batch["label"].dtype == np.int32 for batch in uninterrupted)
    assert all(batch["image"].shape == (6, 8, 8, 3) for batch in uninterrupted)
    labels = np.concatenate([batch["label"] for batch in uninterrupted])
    epochs = labels.reshape(3, 10)  # as many images as classes, one of each
    for epoch in epochs:
        assert sorted(epoch) == list(range(10))
    assert len({tuple(epoch) for epoch in epochs}) == 3


def test_batches_are_a_pure_function_of_seed_and_step(tiny_folder, uninterrupted):
    data = make(tiny_folder, decode_threads=1)
    assert_same(take(data, 2, step=3), uninterrupted[3:])
    assert_same(take(data, 1), uninterrupted[:1])
    other = take(data, 1, seed=6)[0]
    assert (other["label"] != uninterrupted[0]["label"]).any()
    data.close()
    assert_same(take(data, 1), uninterrupted[:1])  # a closed pipeline opens anew
    data.close()


def test_three_processes_make_the_same_global_batches(tiny_folder, uninterrupted):
    parts = []
    for index in range(3):
        data = make(tiny_folder, process_index=index, process_count=3)
        parts.append(take(data, 3))
        data.close()
    joined = [
        {key: np.concatenate([part[step][key] for part in parts]) for key in ("image", "label")} for step in range(3)
    ]
    assert_same(joined, uninterrupted[:3])


def test_training_pixels_are_those_of_the_random_window(tiny_folder, uninterrupted):
    """Against Pillow's decoder: the record of the order, the window of (seed, position), resized by hand."""
    data = make(tiny_folder)
    order = np.random.Generator(np.random.PCG64([5, 0])).permutation(10)
    records = data._splits["train"]
    for row in range(6):
        record = records.shards.read(*records._place(int(order[row])))
        image, label = image_and_label(record, LAYOUTS["classic"])
        assert uninterrupted[0]["label"][row] == label - 1
        top, left, height, width = random_windows(5, np.array([row]), np.array([[24, 24]]), RandomCrop())[0]
        pixels = np.asarray(Image.open(io.BytesIO(image))).astype(float)[top : top + height, left : left + width]
        y, x = np.arange(8) * height / 8, np.arange(8) * width / 8
        y0, x0 = y.astype(int), x.astype(int)
        y1, x1 = np.minimum(y0 + 1, height - 1), np.minimum(x0 + 1, width - 1)
        fy, fx = (y - y0)[:, None, None], (x - x0)[:, None]
        above = pixels[y0][:, x0] * (1 - fx) + pixels[y0][:, x1] * fx
        below = pixels[y1][:, x0] * (1 - fx) + pixels[y1][:, x1] * fx
        expected = above * (1 - fy) + below * fy
        # Fast against exact inverse cosine transform, and chroma at a window's edge.
        assert np.abs(uninterrupted[0]["image"][row] - expected).mean() < 2.5
    data.close()


@pytest.mark.parametrize("processes", [1, 3])
def test_evaluation_holds_every_image_once(tiny_folder, processes):
    """7 images in batches of 6, short side to 9 and the centre 8: padded, as many batches on every process."""
    labels, images = [], []
    for index in range(processes):
        data = make(tiny_folder, process_index=index, process_count=processes, cache_eval=True)
        batches = list(data.eval_batches(6))
        assert len(batches) == 2
        again = list(data.eval_batches(6))
        assert all(one is other for one, other in zip(batches, again, strict=True))
        labels.append(np.stack([batch["label"] for batch in batches]))
        images.append(np.stack([batch["image"] for batch in batches]))
        assert data.skipped == 0
        data.close()
    label, image = np.concatenate(labels, axis=1).ravel(), np.concatenate(images, axis=1).reshape(12, 8, 8, 3)
    assert (label[7:] == -1).all() and (image[7:] == 0).all()
    stored = ImageNetData(tiny_folder, global_batch_size=7, image_size=8, num_classes=10)
    (whole,) = stored.eval_batches(7)
    stored.close()
    np.testing.assert_array_equal(label[:7], whole["label"])
    np.testing.assert_array_equal(image[:7], whole["image"])
    assert len(set(label[:7].tolist())) == 7


def test_whole_evaluation_of_images_of_the_size_keeps_their_pixels(tiny_folder):
    data = make(tiny_folder, image_size=24, eval_crop="whole")
    (batch,) = data.eval_batches(7)
    records = data._splits["validation"]
    for row in range(7):
        image, label = image_and_label(records.shards.read(*records._place(row)), LAYOUTS["classic"])
        difference = np.abs(batch["image"][row] - np.asarray(Image.open(io.BytesIO(image))).astype(float))
        assert batch["label"][row] == label - 1 and difference.mean() < 2
    data.close()
    labels = imagenet.gratings.gratings(7, 24, noise=TINY.tiny_noise, seed=1)[1]
    np.testing.assert_array_equal(batch["label"], labels)


def test_compile_makes_every_graph_that_is_used(tiny_folder):
    data = make(tiny_folder, image_size=9)
    before = _graph.cache_info().misses
    data.compile(6)
    assert _graph.cache_info().misses == before + 3  # windows of 6, resized ones of 6 and of the last batch's 1
    take(data, 1)
    list(data.eval_batches(6))
    data.close()
    assert _graph.cache_info().misses == before + 3


def test_tfds_layout_of_real_images(shared_data, tmp_path):
    folder = imagenet.prepare(tmp_path, imagenet.Settings(raw_dir=str(shared_data / "tfds/imagenet2012")))
    data = ImageNetData(folder, global_batch_size=5, image_size=32, eval_crop="central", resize="bicubic")
    assert (data.train_samples, data.eval_samples) == (50, 25)
    labels = np.concatenate([batch["label"] for batch in data.eval_batches(5)])
    batch = take(data, 1)[0]
    data.close()
    names = (shared_data / "tfds/imagenet2012/5.1.0/label.labels.txt").read_text().split()
    assert len(names) == 1000 and len(set(labels.tolist())) == 25 and labels.min() >= 0 and labels.max() < 1000
    assert 60 < batch["image"].mean() < 170 and batch["image"].std(axis=(1, 2)).min() > 3


@pytest.fixture
def damaged(tiny_folder, tmp_path):
    """A copy of the tiny shards with record 1 of the last evaluation shard (image 5) made by the test."""

    def build(payload, flip=None):
        meta = imagenet.read_index_meta(tiny_folder)
        raw = tmp_path / "raw"
        shutil.copytree(meta.folder, raw)
        path = raw / "validation-00001-of-00002"
        shards = tfrecord.Shards([path], [path.stat().st_size])
        records = [shards.read(0, int(o), int(n)) for o, n in zip(*tfrecord.index_shard(path), strict=True)]
        shards.close()
        records[1] = payload if payload is not None else records[1]
        tfrecord.write_shard(path, records)
        if flip is not None:
            data = bytearray(path.read_bytes())
            data[int(tfrecord.index_shard(path)[0][1]) + flip] ^= 0x10
            path.write_bytes(data)
        return imagenet.prepare(tmp_path, imagenet.Settings(raw_dir=str(raw)))

    return build


def noise_jpeg():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (24, 24, 3)).astype(np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


GOOD = noise_jpeg()
PNG = bytes.fromhex("89504e470d0a1a0a") + bytes(60)


@pytest.mark.parametrize(
    ("payload", "flip", "message"),
    [
        (None, 300, "is damaged: the CRC of the record does not hold"),
        (classic_example(GOOD[: len(GOOD) // 2], 3, (24, 24), "x", "n"), None, "is damaged: its JPEG data cannot be decoded"),
        (classic_example(PNG, 3, (24, 24), "x", "n"), None, "is damaged: it is no JPEG: it begins with 89 50 4e 47"),
        (classic_example(GOOD[:40], 3, (24, 24), "x", "n"), None, "is damaged: its JPEG header is damaged"),
        (encode_example({"image": GOOD, "label": 1}), None, "is damaged: it holds no feature 'image/encoded'"),
    ],
)
def test_damage_names_file_and_record_and_is_skipped_on_request(damaged, tiny_folder, payload, flip, message):
    folder = damaged(payload, flip)
    strict = make(folder)
    with pytest.raises(UserError, match=rf"validation-00001-of-00002: record 1 {message}.*; copy .* or leave .*--config.data.skip_corrupt=true"):
        list(strict.eval_batches(6))
    strict.close()
    tolerant = make(folder, skip_corrupt=True)
    (first, _), (whole, _) = tolerant.eval_batches(6), make(tiny_folder).eval_batches(6)
    tolerant.close()
    assert tolerant.skipped == 1
    assert first["label"][5] == -1 and (first["image"][5] == 0).all()
    np.testing.assert_array_equal(first["label"][:5], whole["label"][:5])
    np.testing.assert_array_equal(first["image"][:5], whole["image"][:5])


@pytest.mark.parametrize("label", [10, -1])
def test_label_out_of_range(damaged, label):
    data = make(damaged(classic_example(GOOD, label, (24, 24), "x", "n")), skip_corrupt=True)
    with pytest.raises(
        UserError, match=rf"record 1 has label {label + 1}: classic shards with 10 classes hold 1..10.*from 0 or 1"
    ):
        list(data.eval_batches(6))
    data.close()


def test_settings_that_do_not_fit(tiny_folder, tmp_path):
    with pytest.raises(UserError, match="batch of 7 images does not divide over 2 processes"):
        make(tiny_folder, 7, process_count=2)
    with pytest.raises(UserError, match="config.data.eval_crop is 'center', must be one of short_side, central, whole"):
        make(tiny_folder, eval_crop="center")
    with pytest.raises(UserError, match="resize is 'nearest'"):
        make(tiny_folder, resize="nearest")
    with pytest.raises(UserError, match="not prepared .*has no meta.json.*data prepare"):
        make(tmp_path)


def test_error_reaches_the_consumer_of_training_batches(tiny_folder, tmp_path):
    raw = tmp_path / "raw"
    shutil.copytree(imagenet.read_index_meta(tiny_folder).folder, raw)
    data = make(imagenet.prepare(tmp_path, imagenet.Settings(raw_dir=str(raw))))
    (raw / "train-00002-of-00004").unlink()
    with pytest.raises(UserError, match="cannot read .*train-00002-of-00004"):
        take(data, 2)
    data.close()
