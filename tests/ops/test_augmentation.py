"""Augmentation against NumPy: every window occurs, values, alternating flips, test-time views."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.errors import UserError
from jax_mlperf.ops.augmentation import (
    AIRBENCH_STD,
    MLBENCH_STD,
    VIEW_WEIGHTS,
    alternating_flip,
    combine_views,
    normalise,
    random_crop,
    random_flip,
    views,
)


@pytest.fixture(scope="module")
def image() -> np.ndarray:
    return np.random.default_rng(0).integers(1, 256, (8, 8, 3), dtype=np.uint8)


@pytest.mark.parametrize(("padding", "mode", "numpy_mode", "offsets"), [(4, "zero", "constant", 81), (2, "reflect", "reflect", 25)])
def test_every_window_is_equally_likely(image, padding, mode, numpy_mode, offsets):
    count = 100 * offsets
    crops = jax.jit(lambda images, key: random_crop(images, key, padding=padding, mode=mode))(
        jnp.broadcast_to(jnp.asarray(image), (count, *image.shape)), jax.random.key(0))
    assert crops.dtype == jnp.uint8
    padded = np.pad(image, ((padding, padding), (padding, padding), (0, 0)), mode=numpy_mode)
    span = range(2 * padding + 1)
    windows = {padded[y:y + 8, x:x + 8].tobytes(): 0 for y in span for x in span}
    assert len(windows) == offsets
    for crop in np.asarray(crops):
        windows[crop.tobytes()] += 1  # a KeyError would be no window of the padded image
    chi_square = sum((seen - 100) ** 2 / 100 for seen in windows.values())
    assert chi_square < offsets + 6 * (2 * offsets) ** 0.5


def test_padding_zero_leaves_images_alone(image):
    np.testing.assert_array_equal(random_crop(jnp.asarray(image[None]), jax.random.key(0), padding=0)[0], image)


def test_unknown_names_are_refused(image):
    with pytest.raises(UserError, match="padding mode 'wrap'"):
        random_crop(jnp.asarray(image[None]), jax.random.key(0), padding=1, mode="wrap")
    with pytest.raises(UserError, match="test-time augmentation 'all'"):
        views(jnp.asarray(image[None]), "all")


@pytest.mark.parametrize("constants", [MLBENCH_STD, AIRBENCH_STD])
def test_normalise(image, constants):
    expected = (image / 255 - np.array(constants.mean)) / np.array(constants.std)
    np.testing.assert_allclose(normalise(jnp.asarray(image), constants), expected, atol=1e-5)
    assert normalise(jnp.asarray(image), constants, dtype=jnp.bfloat16).dtype == jnp.bfloat16


def mirrored(result, image) -> np.ndarray:
    """Which rows are the mirrored image; the others must be the image itself."""
    is_mirrored = (np.asarray(result) == image[:, ::-1]).all(axis=(1, 2, 3))
    assert ((np.asarray(result) == image).all(axis=(1, 2, 3)) != is_mirrored).all()
    return is_mirrored


def test_random_flip(image):
    images = jnp.broadcast_to(jnp.asarray(image), (1000, *image.shape))
    first, second = (mirrored(random_flip(images, jax.random.key(seed)), image) for seed in range(2))
    assert 430 < first.sum() < 570 and 430 < (first ^ second).sum() < 570


def test_alternating_flip(image):
    images = jnp.broadcast_to(jnp.asarray(image), (1000, *image.shape))
    index, key = jnp.arange(1000), jax.random.key(0)
    flip = jax.jit(alternating_flip)
    epochs = [mirrored(flip(images, index, epoch, key), image) for epoch in range(4)]
    assert 430 < epochs[0].sum() < 570
    np.testing.assert_array_equal(epochs[0], ~epochs[1])
    np.testing.assert_array_equal(epochs[0], epochs[2])
    np.testing.assert_array_equal(epochs[1], epochs[3])
    order = np.random.default_rng(0).permutation(1000)  # the coin belongs to the image, not to the row
    np.testing.assert_array_equal(mirrored(flip(images, jnp.asarray(order), 0, key), image), epochs[0][order])
    other = mirrored(flip(images, index, 0, jax.random.key(1)), image)
    assert 430 < (other ^ epochs[0]).sum() < 570


def test_views(image):
    seen = views(jnp.asarray(image[None]), "mirror_translate")
    padded = np.pad(image, ((1, 1), (1, 1), (0, 0)), mode="reflect")
    expected = [shifted[:, ::step] for shifted in (image, padded[:8, :8], padded[2:, 2:]) for step in (1, -1)]
    assert len(seen) == 6
    for view, wanted in zip(seen, expected, strict=True):
        np.testing.assert_array_equal(view[0], wanted)
    assert [len(views(jnp.asarray(image[None]), kind)) for kind in ("none", "mirror")] == [1, 2]


def test_weights_of_views():
    one_hot = [jnp.eye(6)[i:i + 1] for i in range(6)]
    np.testing.assert_array_equal(combine_views(one_hot, "mirror_translate")[0], [0.25, 0.25, 0.125, 0.125, 0.125, 0.125])
    assert all(sum(weights) == 1 for weights in VIEW_WEIGHTS.values())
