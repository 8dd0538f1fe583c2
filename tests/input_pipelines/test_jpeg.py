"""JPEG headers, decoding and resizing against the specification's test points. Imports TensorFlow."""

import io

import numpy as np
import pytest
from PIL import Image

from input_pipelines.imagenet_crops import RandomCrop, random_windows
from input_pipelines.jpeg import Decoder, jpeg_shape, resized, tensorflow
from jax_mlperf.data import tfrecord
from jax_mlperf.data.imagenet_example import LAYOUTS, image_and_label


def jpeg(pixels, **options):
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "JPEG", **{"quality": 100, "subsampling": 0, **options})
    return buffer.getvalue()


def ramp():
    """The image of spec 9: 375x500, R = x*255//499, G = y*255//374, B = (x+y)%256."""
    y, x = np.mgrid[:375, :500]
    return np.stack([x * 255 // 499, y * 255 // 374, (x + y) % 256], axis=-1).astype(np.uint8)


@pytest.mark.parametrize("mode", ["L", "RGB", "CMYK"])
def test_header_shape(mode):
    components = {"L": 1, "RGB": 3, "CMYK": 4}[mode]
    image = io.BytesIO()
    Image.new(mode, (31, 17)).save(image, "JPEG", progressive=mode == "RGB", comment=b"\xff\xc0" * 9)
    assert jpeg_shape(image.getvalue()) == (17, 31, components)
    with pytest.raises(ValueError, match="header is damaged"):
        jpeg_shape(image.getvalue()[:60])
    empty = image.getvalue().replace(bytes([0, 17, 0, 31, components]), bytes([0, 17, 0, 0, components]))
    with pytest.raises(ValueError, match="header is damaged: it says 17x0 pixels"):
        jpeg_shape(empty)


def test_headers_of_real_images(shared_data):
    path = shared_data / "tfds/imagenet2012/5.1.0/imagenet2012-train.tfrecord-00000-of-00001"
    offsets, lengths = tfrecord.index_shard(path)
    shards = tfrecord.Shards([path], [path.stat().st_size])
    for offset, length in zip(offsets.tolist(), lengths.tolist(), strict=True):
        image, _ = image_and_label(shards.read(0, offset, length), LAYOUTS["tfds"])
        assert jpeg_shape(image)[1::-1] == Image.open(io.BytesIO(image)).size
    shards.close()


def test_resize_conventions():
    """Spec 9: 0..3 to 8 and 0..7 to 4, along the width."""
    first, second = np.arange(4.0).reshape(1, 4, 1), np.arange(8.0).reshape(1, 8, 1)
    for method, up, down in (
        ("bilinear_v1", [0, 0.5, 1, 1.5, 2, 2.5, 3, 3], [0, 2, 4, 6]),
        ("bilinear", [0, 0.25, 0.75, 1.25, 1.75, 2.25, 2.75, 3], [0.5, 2.5, 4.5, 6.5]),
    ):
        np.testing.assert_allclose(np.ravel(resized(first, [1, 8], method)), up, atol=1e-6)
        np.testing.assert_allclose(np.ravel(resized(second, [1, 4], method)), down, atol=1e-6)


def test_reference_evaluation_of_ramp():
    """Spec 9: centre crop at (16, 58) of 256x341, means 2.8253, 10.0511, 26.0803 after the reference's mean."""
    mean = np.array([123.68, 116.78, 103.94])
    exact = np.asarray(resized(ramp(), [256, 341], "bilinear_v1"))[16:240, 58:282]
    # The specification's means are float32 sums of 50,176 pixels: the green one is 10.0465 in float64.
    np.testing.assert_allclose((exact - mean).mean((0, 1)), [2.8253, 10.0511, 26.0803], atol=5e-3)
    np.testing.assert_allclose(exact[0, 0] - mean, [-80.68, -101.3425, 4.5415], atol=1e-3)


def test_short_side_path_from_a_jpeg():
    """The same crop of a ramp without the blue channel's edges, which no JPEG keeps."""
    image = ramp()[..., [0, 1, 0]]
    exact = np.asarray(resized(image, [256, 341], "bilinear_v1"))[16:240, 58:282]
    out = np.empty((1, 224, 224, 3), np.uint8)
    Decoder(224, "bilinear_v1").resized([jpeg(image)], np.array([[256, 341]], np.int32), np.array([[16, 58]], np.int32), out)
    difference = np.abs(out[0] - exact)
    assert difference.max() < 6 and difference.mean() < 1.5  # TensorFlow's fast inverse cosine transform


def test_central_bicubic_evaluation_of_ramp():
    """Spec 9: 328 pixels at (24, 86), normalised means 0.05694, 0.19446, 0.46259."""
    mean, std = 255 * np.array([0.485, 0.456, 0.406]), 255 * np.array([0.229, 0.224, 0.225])
    exact = np.asarray(resized(ramp()[24:352, 86:414], [224, 224], "bicubic"))
    np.testing.assert_allclose(((exact - mean) / std).mean((0, 1)), [0.05694, 0.19446, 0.46259], atol=2e-4)


def test_window_equals_cut_of_whole_image():
    image = jpeg(np.random.default_rng(0).integers(0, 256, (40, 56, 3)).astype(np.uint8))
    out, whole = np.empty((1, 8, 8, 3), np.uint8), np.empty((1, 8, 8, 3), np.uint8)
    window = np.array([[8, 16, 20, 33]], np.int32)
    Decoder(8, "bilinear_v1").windows([image], window, out)
    tf = tensorflow()
    cut = tf.io.decode_jpeg(image, channels=3)[8:28, 16:49]
    whole[0] = np.asarray(resized(cut, [8, 8], "bilinear_v1")) + 0.5
    np.testing.assert_array_equal(out, whole)


@pytest.mark.parametrize("mode", ["L", "CMYK"])
def test_grey_and_cmyk_become_rgb(mode):
    image = io.BytesIO()
    Image.new(mode, (16, 16), {"L": 77, "CMYK": (0, 255, 255, 0)}[mode]).save(image, "JPEG", quality=100)
    out = np.empty((1, 8, 8, 3), np.uint8)
    Decoder(8, "bilinear_v1").windows([image.getvalue()], np.array([[0, 0, 16, 16]], np.int32), out)
    expected = {"L": (77, 77, 77), "CMYK": (255, 0, 0)}[mode]
    assert np.abs(out[0].astype(int) - expected).max() <= 3


@pytest.mark.slow
def test_windows_have_the_distribution_of_tensorflow_s_operation():
    """Two-sample Kolmogorov-Smirnov on 20,000 draws each, for the quantities of a window; p > 0.001."""
    from scipy.stats import ks_2samp

    tf = tensorflow()
    count, (height, width) = 20_000, (375, 500)

    def draw(_):
        begin, size, _ = tf.image.sample_distorted_bounding_box(
            [height, width, 3], [[[0.0, 0.0, 1.0, 1.0]]], seed=4, min_object_covered=0.1,
            aspect_ratio_range=(0.75, 1.33), area_range=(0.05, 1.0), max_attempts=100,
        )  # fmt: skip
        return tf.concat([begin[:2], size[:2]], 0)

    theirs = tf.function(lambda: tf.map_fn(draw, tf.range(count), fn_output_signature=tf.int32))().numpy()
    ours = random_windows(0, np.arange(count), np.tile((height, width), (count, 1)), RandomCrop())
    for column in range(4):
        assert ks_2samp(theirs[:, column], ours[:, column]).pvalue > 0.001
    areas = [window[:, 2] * window[:, 3] for window in (theirs, ours)]
    assert ks_2samp(*areas).pvalue > 0.001
