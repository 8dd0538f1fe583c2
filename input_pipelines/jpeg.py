"""JPEG images to uint8 pixels through TensorFlow's kernels: header, decoding of a part, resizing.

TensorFlow is imported by the first decoder that is made, without its GPUs.
"""

import contextlib
import functools
import os
import threading
from collections.abc import Sequence
from typing import Any, Literal

import numpy as np

Resize = Literal["bilinear_v1", "bilinear", "bicubic"]
Kind = Literal["windows", "resized"]
RESIZES = ("bilinear_v1", "bilinear", "bicubic")
# Start-of-frame markers, of every coding process: ITU-T T.81 table B.1 (C4, C8 and CC are no frames).
_FRAMES = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}
_tracing = threading.Lock()
_ALONE = frozenset({0x01, *range(0xD0, 0xD9)})  # markers without a length


def jpeg_shape(image: bytes) -> tuple[int, int, int]:
    """Height, width and components from the header of a JPEG.

    Raises:
      ValueError: it is no JPEG, or its header is cut off.
    """
    if image[:2] != b"\xff\xd8":
        raise ValueError(f"it is no JPEG: it begins with {image[:4].hex(' ') or 'nothing'}, not with ff d8")
    at = 2
    while at + 4 <= len(image) and image[at] == 0xFF:
        marker = image[at + 1]
        if marker == 0xFF:  # fill byte
            at += 1
        elif marker in _ALONE:
            at += 2
        elif marker in _FRAMES:
            if at + 10 > len(image):
                break
            height, width = image[at + 5] << 8 | image[at + 6], image[at + 7] << 8 | image[at + 8]
            if not height * width:
                raise ValueError(f"its JPEG header is damaged: it says {height}x{width} pixels")
            return height, width, image[at + 9]
        else:
            at += 2 + (image[at + 2] << 8 | image[at + 3])
    raise ValueError("its JPEG header is damaged: no start of a frame is found")


@functools.cache
def tensorflow(threads: int = 0) -> Any:
    """The TensorFlow module: quiet, on the CPU only, `threads` operations at once (0: one for each core).

    What was set up before stays: the first who asks decides.
    """
    if os.environ.get("TF_CPP_MIN_LOG_LEVEL", "1") == "1":  # what JAX sets; at 1 a damaged image prints warnings
        os.environ["TF_CPP_MIN_LOG_LEVEL"] = "2"
    import tensorflow as tf

    with contextlib.suppress(RuntimeError):  # TensorFlow was used before
        tf.config.set_visible_devices([], "GPU")
        tf.config.threading.set_intra_op_parallelism_threads(1)  # the parallelism is over images
        if threads:
            tf.config.threading.set_inter_op_parallelism_threads(threads)
    return tf


class Decoder:
    """Decodes a window of each image and resizes it to size x size, many images in parallel.

    A call runs one graph with a branch for each image on TensorFlow's own threads, without holding the GIL.

    Args:
      size: height and width of the output.
      resize: "bilinear_v1" (the reference: align_corners False, pixel centres not shifted by half, not
        antialiased), "bilinear" or "bicubic" (half-pixel centres, not antialiased).
      threads: images decoded at once, over all decoders of the process; 0 is one for each core.
    """

    def __init__(self, size: int, resize: Resize, threads: int = 0):
        self._size = size
        self._resize = resize
        self._threads = threads

    def windows(self, images: Sequence[bytes], windows: np.ndarray, out: np.ndarray) -> None:
        """Decodes windows int32 [n, 4] (top, left, height, width) into out, uint8 [n, size, size, 3].

        Raises:
          ValueError: an image does not decode; which one is not said.
        """
        self._run("windows", images, (windows,), out)

    def resized(self, images: Sequence[bytes], sizes: np.ndarray, offsets: np.ndarray, out: np.ndarray) -> None:
        """Decodes images whole, resizes them to sizes int32 [n, 2] and cuts out squares at offsets int32 [n, 2].

        Raises:
          ValueError: an image does not decode; which one is not said.
        """
        self._run("resized", images, (sizes, offsets), out)

    def compile(self, kind: Kind, count: int) -> Any:
        """Makes the graph for `count` images, once; the first calls of `windows` and `resized` do it by themselves."""
        with _tracing:
            tensorflow(self._threads)
            return _graph(kind, count, self._size, self._resize)

    def _run(self, kind: Kind, images: Sequence[bytes], places: tuple[np.ndarray, ...], out: np.ndarray) -> None:
        graph = self.compile(kind, len(images))
        tf = tensorflow()
        try:
            pixels = graph(tf.constant(np.array(images, object)), *map(tf.constant, places))
        except tf.errors.InvalidArgumentError as error:
            raise ValueError("its JPEG data cannot be decoded") from error
        for image, row in zip(pixels, out, strict=True):
            # The sum is rounded to bytes as it is made; memoryview reads the tensor without a copy.
            np.add(np.asarray(memoryview(image)), np.float32(0.5), out=row, casting="unsafe", dtype=np.float32)


def resized(image: Any, size: Any, resize: Resize) -> Any:
    """A whole image resized by TensorFlow, float32 [height, width, 3] on the scale of the input."""
    tf = tensorflow()
    image = tf.cast(image, tf.float32)[None]  # ahead of the resizing kernel: it reads bytes at half the speed
    if resize == "bicubic":
        return tf.raw_ops.ResizeBicubic(images=image, size=size, half_pixel_centers=True)[0]
    return tf.raw_ops.ResizeBilinear(images=image, size=size, half_pixel_centers=resize == "bilinear")[0]


@functools.cache
def _graph(kind: Kind, count: int, output_size: int, resize: Resize) -> Any:
    """A function of (images, windows) or (images, sizes, offsets) to `count` float32 images on the scale 0..255."""
    tf = tensorflow()

    def window(image: Any, place: Any) -> Any:
        pixels = tf.raw_ops.DecodeAndCropJpeg(contents=image, crop_window=place, channels=3)
        return resized(pixels, [output_size, output_size], resize)

    def cut(image: Any, size: Any, offset: Any) -> Any:
        pixels = resized(tf.raw_ops.DecodeJpeg(contents=image, channels=3), size, resize)
        return tf.slice(pixels, [offset[0], offset[1], 0], [output_size, output_size, 3])

    def all_images(images: Any, *places: Any) -> list[Any]:
        one = window if kind == "windows" else cut
        pixels = [one(images[i], *(place[i] for place in places)) for i in range(count)]
        # Cubic interpolation overshoots, which bytes cannot hold.
        return [tf.clip_by_value(image, 0.0, 255.0) for image in pixels] if resize == "bicubic" else pixels

    widths = (4,) if kind == "windows" else (2, 2)
    signature = [tf.TensorSpec([count], tf.string), *(tf.TensorSpec([count, width], tf.int32) for width in widths)]
    return tf.function(all_images, autograph=False).get_concrete_function(*signature)
