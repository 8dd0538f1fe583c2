"""Which part of each image is used: random crops for training, resized sizes and windows for evaluation.

Random numbers are a hash of (seed, position in the training stream, draw), so that a sample's crop depends on
nothing else: not on the batch, the process or the thread that makes it.
"""

from dataclasses import dataclass

import numpy as np

_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_DRAWS = 4  # of one attempt: aspect ratio, height, top, left
_BLOCK = 8  # attempts made at once; more are needed for about one sample in a million


@dataclass(frozen=True)
class RandomCrop:
    """The crop of `sample_distorted_bounding_box` with the whole image as its box; the reference's values.

    Attributes:
      area: smallest and largest share of the image's area.
      aspect: smallest and largest ratio of width to height.
      min_object_covered: the crop must also cover this share of the box, which is the whole image: with the
        reference's values no crop is below 0.10 of the image, although `area` begins at 0.05.
      attempts: the whole image is taken when so many have failed.
    """

    area: tuple[float, float] = (0.05, 1.0)
    aspect: tuple[float, float] = (0.75, 1.33)
    min_object_covered: float = 0.1
    attempts: int = 100


def uniform(seed: int, positions: np.ndarray, draws: np.ndarray) -> np.ndarray:
    """float64 in [0, 1), shape of positions and draws together; 53 bits of SplitMix64 of (seed, position, draw)."""
    with np.errstate(over="ignore"):
        state = _mix(np.uint64(seed & (1 << 64) - 1) + _GOLDEN)
        state = _mix(state + _GOLDEN * (positions.astype(np.uint64) + np.uint64(1)))
        bits = _mix(state + _GOLDEN * (draws.astype(np.uint64) + np.uint64(1)))
    return (bits >> np.uint64(11)).astype(np.float64) * 2.0**-53


def _mix(x: np.ndarray | np.uint64) -> np.ndarray:
    """The output function of SplitMix64 (Steele, Lea and Flood, OOPSLA 2014)."""
    with np.errstate(over="ignore"):
        x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        return np.asarray(x ^ (x >> np.uint64(31)))


def random_windows(seed: int, positions: np.ndarray, sizes: np.ndarray, crop: RandomCrop) -> np.ndarray:
    """One random crop of each image.

    An attempt draws an aspect ratio, then a height evenly among those whose area and width are allowed, then
    the place; it is void when rounding brings the area out of bounds (the algorithm of
    `tensorflow/tensorflow:tensorflow/core/kernels/image/sample_distorted_bounding_box_op.cc`).

    Args:
      positions: int64 [n], the samples' positions in the training stream.
      sizes: int [n, 2], heights and widths.

    Returns:
      int32 [n, 4]: top, left, height, width.
    """
    sizes = np.asarray(sizes, np.int64)
    windows = np.concatenate([np.zeros_like(sizes), sizes], axis=1)
    open_ = np.arange(len(sizes))
    for first in range(0, crop.attempts, _BLOCK):
        attempts = np.arange(first, min(first + _BLOCK, crop.attempts))
        draws = attempts[:, None] * _DRAWS + np.arange(_DRAWS)
        random = uniform(seed, positions[open_, None, None], draws)
        tried, valid = _attempt(random, sizes[open_, None], crop)
        choice, done = valid.argmax(axis=1), valid.any(axis=1)
        windows[open_[done]] = tried[done, choice[done]]
        open_ = open_[~done]
        if not len(open_):
            break
    return windows.astype(np.int32)


def _attempt(random: np.ndarray, sizes: np.ndarray, crop: RandomCrop) -> tuple[np.ndarray, np.ndarray]:
    """Crops [n, attempts, 4] from random numbers [n, attempts, 4] and sizes [n, 1, 2], and which are valid."""
    image_height, image_width = sizes[..., 0], sizes[..., 1]
    low, high = (share * image_height * image_width for share in crop.area)
    aspect = crop.aspect[0] + (crop.aspect[1] - crop.aspect[0]) * random[..., 0]
    tallest = np.rint(np.sqrt(high / aspect)).astype(np.int64)
    widest_fits = ((image_width + 0.5 - 1e-7) / aspect).astype(np.int64)  # round(aspect * height) <= width
    tallest = np.where(np.rint(tallest * aspect) > image_width, widest_fits, tallest)
    tallest = np.minimum(tallest - (np.rint(tallest * aspect) > image_width), image_height)
    shortest = np.minimum(np.rint(np.sqrt(low / aspect)).astype(np.int64), tallest)
    height = shortest + (random[..., 1] * (tallest - shortest + 1)).astype(np.int64)
    width = np.rint(height * aspect).astype(np.int64)
    for step, outside in ((1, np.less), (-1, np.greater)):  # rounding may miss either bound by one row
        height = height + step * outside(height * width, low if step > 0 else high)
        width = np.rint(height * aspect).astype(np.int64)
    area = height * width
    valid = (
        (area >= np.maximum(low, 1)) & (area <= high) & (width <= image_width) & (height <= image_height)
        & (area >= crop.min_object_covered * image_height * image_width) & (width > 0) & (height > 0)
    )  # fmt: skip
    # As the reference: the last possible place of a crop that is smaller than the image is never drawn.
    top = (random[..., 2] * (image_height - height)).astype(np.int64)
    left = (random[..., 3] * (image_width - width)).astype(np.int64)
    return np.stack([top, left, height, width], axis=-1), valid


def short_side_sizes(sizes: np.ndarray, short_side: int) -> np.ndarray:
    """int32 [n, 2]: heights and widths after the short side is scaled to `short_side`, aspect kept.

    Computed in float32 and truncated, as the reference does (`resnet-tf1/imagenet_preprocessing.py`): for 550
    of the side lengths 20..3999, 256 comes out as 255.
    """
    sizes = np.asarray(sizes, np.float32)
    return (sizes * (np.float32(short_side) / sizes.min(axis=1, keepdims=True))).astype(np.int32)


def centre_offsets(sizes: np.ndarray, crop_size: int) -> np.ndarray:
    """int32 [n, 2]: top and left of the centre crop, rounded down."""
    return ((np.asarray(sizes) - crop_size) // 2).astype(np.int32)


def central_windows(sizes: np.ndarray, fraction: float) -> np.ndarray:
    """int32 [n, 4]: the square of int(fraction * short side) pixels in the middle, offsets rounded up.

    As the JAX and TPU submissions crop for evaluation (`resnet-research-JAX-tpu-v3-8192/
    mlperf_input_pipeline.py`), with fraction 0.875.
    """
    sizes = np.asarray(sizes)
    side = (fraction * sizes.min(axis=1, keepdims=True)).astype(np.int32)
    return np.concatenate([(sizes - side + 1) // 2, side, side], axis=1).astype(np.int32)
