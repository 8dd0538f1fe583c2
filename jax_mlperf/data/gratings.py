"""Generated images for the tiny variants: ten classes of sine gratings, 5 orientations x 2 frequencies.

The recipe is that of the specification's tiny ResNets (resnet.md and cifar10.md, section 10): grey 0.5, a
random colour, random phase, 8 % jitter of orientation and frequency, Gaussian noise in every pixel.
"""

import io
from pathlib import Path

import numpy as np

from jax_mlperf.data import tfrecord
from jax_mlperf.data.imagenet_example import classic_example

CLASSES = 10
ORIENTATIONS = 5  # class % 5 turns the grating by 36 degrees each
CYCLES = (2, 4)  # per image, of the classes below 5 and from 5 on
JPEG_QUALITY = 95
_CHUNK = 250


def gratings(
    count: int, size: int, *, noise: float, seed: int, contrast: float = 0.25, jitter: float = 0.08
) -> tuple[np.ndarray, np.ndarray]:
    """Images of all classes in random order, as many of each as of any other (but for the remainder).

    Args:
      noise: standard deviation of a pixel's noise, on the scale 0..1.
      contrast: largest amplitude of a colour channel's grating, on the scale 0..1.
      jitter: orientation and frequency vary uniformly by this share: of one orientation step, and of the
        frequency itself.

    Returns:
      uint8 [count, size, size, 3] and labels int64 [count], a pure function of the arguments.
    """
    rng = np.random.Generator(np.random.PCG64(seed))
    labels = rng.permutation(np.arange(count) % CLASSES)
    wobble = 1 + jitter * rng.uniform(-1, 1, (2, count))
    step = np.pi / ORIENTATIONS
    angle = (labels % ORIENTATIONS + wobble[0] - 1) * step
    cycles = np.where(labels < ORIENTATIONS, *CYCLES) * wobble[1]
    phase = rng.uniform(0, 2 * np.pi, count)
    colour = (contrast * rng.uniform(-1, 1, (count, 3))).astype(np.float32)
    place = np.arange(size) / size
    images = np.empty((count, size, size, 3), np.uint8)
    for start in range(0, count, _CHUNK):
        part = slice(start, start + _CHUNK)
        across = np.cos(angle[part])[:, None, None] * place + np.sin(angle[part])[:, None, None] * place[:, None]
        wave = np.sin(2 * np.pi * cycles[part, None, None] * across + phase[part, None, None]).astype(np.float32)
        pixels = wave[..., None] * colour[part, None, None]
        pixels += np.float32(noise) * rng.standard_normal(pixels.shape, np.float32)
        images[part] = np.clip(255 * (pixels + 0.5) + 0.5, 0, 255)
    return images, labels


def write_shards(folder: Path, split: str, images: np.ndarray, labels: np.ndarray, shards: int) -> None:
    """Writes JPEGs as classic ImageNet TFRecord shards `<split>-00000-of-0000N` of equal size."""
    from PIL import Image

    def record(number: int) -> bytes:
        encoded = io.BytesIO()
        Image.fromarray(images[number]).save(encoded, "JPEG", quality=JPEG_QUALITY)
        label = int(labels[number])
        return classic_example(
            encoded.getvalue(), label, images.shape[1:3], f"{split}_{number:05d}.JPEG", f"grating{label}"
        )

    for shard, numbers in enumerate(np.array_split(np.arange(len(images)), shards)):
        tfrecord.write_shard(folder / f"{split}-{shard:05d}-of-{shards:05d}", map(record, numbers.tolist()))
