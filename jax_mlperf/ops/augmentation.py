"""Augmentation of small images on the device: random crop and flip, normalisation, views for evaluation.

Everything is a pure function of its key; a row never depends on the other rows of its batch.
"""

from typing import Literal, NamedTuple, get_args

import jax
import jax.numpy as jnp

from jax_mlperf.errors import UserError

PaddingMode = Literal["zero", "reflect"]
Views = Literal["none", "mirror", "mirror_translate"]


class Normalisation(NamedTuple):
    """What the channels of pixels / 255 are centred on and divided by."""

    mean: tuple[float, float, float]
    std: tuple[float, float, float]


# Two triples of deviations are in use for CIFAR-10; results under one do not carry over to the other.
# `mlbench/mlbench-core:mlbench_core/dataset/imagerecognition/pytorch/dataloader.py`
MLBENCH_STD = Normalisation((0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010))
# `KellerJordan/cifar10-airbench:airbench94_muon.py`
AIRBENCH_STD = Normalisation((0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616))

# airbench94_muon.py, infer: half of the weight for the image and its mirror image, half for the shifted ones.
VIEW_WEIGHTS: dict[Views, tuple[float, ...]] = {
    "none": (1.0,),
    "mirror": (0.5, 0.5),
    "mirror_translate": (0.25, 0.25, 0.125, 0.125, 0.125, 0.125),
}


def normalise(images: jax.Array, constants: Normalisation, *, dtype: jax.typing.DTypeLike = jnp.float32) -> jax.Array:
    """(images / 255 - mean) / std of each channel, computed in float32 and rounded to `dtype` once.

    Args:
      images: uint8 [..., 3].
      constants: MLBENCH_STD, AIRBENCH_STD or the like.
      dtype: of the result.
    """
    mean, std = jnp.asarray(constants.mean, jnp.float32), jnp.asarray(constants.std, jnp.float32)
    return ((images.astype(jnp.float32) / 255 - mean) / std).astype(dtype)


def random_crop(images: jax.Array, key: jax.Array, *, padding: int, mode: PaddingMode = "zero") -> jax.Array:
    """Pads every side and takes a random window of the original size, another one for each image.

    One gather of pixels from the images as they are: a padded copy, or selecting among shifted copies, is slower on the
    CPU (256 images with padding 4: 0.33 ms; dynamic_slice 0.53 ms, one-hot products 9.9 ms, selects 22 ms).

    Args:
      images: any dtype, [B, H, W, C].
      key: of this batch.
      padding: pixels on each side; all (2 * padding + 1)**2 windows are equally likely; 0 leaves the images alone.
      mode: "zero" (of raw pixels: black), or "reflect" about the border pixel, which is not repeated.

    Raises:
      UserError: the mode is unknown.
    """
    if mode not in get_args(PaddingMode):
        raise UserError(f"padding mode {mode!r} is unknown; there are: {', '.join(get_args(PaddingMode))}")
    if padding == 0:
        return images
    offsets = jax.random.randint(key, (2, images.shape[0]), -padding, padding + 1)
    return _shifted(images, offsets[0], offsets[1], mode)


def random_flip(images: jax.Array, key: jax.Array) -> jax.Array:
    """Mirrors each image [B, H, W, C] left to right with probability one half."""
    return _flipped(images, jax.random.bernoulli(key, 0.5, images.shape[:1]))


def alternating_flip(images: jax.Array, index: jax.Array, epoch: jax.typing.ArrayLike, key: jax.Array) -> jax.Array:
    """Mirrors half of the data set in even epochs and the other half in odd ones.

    airbench94_muon.py, CifarLoader: the halves are drawn once for the run, so every image is seen both ways in any two
    neighbouring epochs.

    Args:
      images: [B, H, W, C].
      index: int32 [B], which image of the data set each row is (any value for padding rows).
      epoch: int [], or [B] where rows are of different epochs.
      key: of the run, the same in every step; the coin of image i is a pure function of key and i (threefry2x32 or hash32:
        what rbg draws under vmap hangs on the whole batch).
    """
    coins = jax.vmap(lambda row: jax.random.bernoulli(jax.random.fold_in(key, row)))(index.astype(jnp.uint32))
    return _flipped(images, coins ^ (jnp.asarray(epoch) % 2 == 1))


def views(images: jax.Array, kind: Views) -> list[jax.Array]:
    """The views [B, H, W, C] of each image that an evaluation averages, in the order of VIEW_WEIGHTS[kind].

    "mirror": the image and its mirror image. "mirror_translate": these two, then the same two of the image's window one
    pixel up and left in its reflect-padded frame, then of the window one pixel down and right
    (test-time augmentation of airbench94_muon.py, infer).

    Raises:
      UserError: the kind is unknown.
    """
    if kind not in VIEW_WEIGHTS:
        raise UserError(f"test-time augmentation {kind!r} is unknown; there are: {', '.join(VIEW_WEIGHTS)}")
    seen = [images]
    if kind == "mirror_translate":
        height, width = images.shape[1:3]
        padded = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), mode="reflect")
        seen += [padded[:, :height, :width], padded[:, 2:, 2:]]
    return seen if kind == "none" else [view for image in seen for view in (image, image[:, :, ::-1])]


def combine_views(logits: list[jax.Array], kind: Views) -> jax.Array:
    """Weighted mean of the logits [B, classes] of `views(images, kind)`."""
    weights = jnp.asarray(VIEW_WEIGHTS[kind], logits[0].dtype)
    return jnp.tensordot(weights, jnp.stack(logits), 1)


def _flipped(images: jax.Array, mirrored: jax.Array) -> jax.Array:
    return jnp.where(mirrored[:, None, None, None], images[:, :, ::-1], images)


def _shifted(images: jax.Array, rows: jax.Array, columns: jax.Array, mode: PaddingMode) -> jax.Array:
    """Windows of the padded images whose corners lie (rows [B], columns [B]) away from the images' corners."""
    count, height, width, channels = images.shape
    y = rows[:, None] + jnp.arange(height)
    x = columns[:, None] + jnp.arange(width)
    inside = ((y >= 0) & (y < height))[:, :, None] & ((x >= 0) & (x < width))[:, None, :]
    if mode == "reflect":
        y, x = _reflected(y, height), _reflected(x, width)
    else:
        y, x = jnp.clip(y, 0, height - 1), jnp.clip(x, 0, width - 1)
    flat = (jnp.arange(count)[:, None, None] * height + y[:, :, None]) * width + x[:, None, :]
    pixels = images.reshape(-1, channels)[flat]
    return pixels if mode == "reflect" else jnp.where(inside[..., None], pixels, jnp.zeros((), images.dtype))


def _reflected(position: jax.Array, size: int) -> jax.Array:
    """Positions before 0 and from `size` on, mirrored about the first and the last one."""
    return (size - 1) - jnp.abs((size - 1) - jnp.abs(position))
