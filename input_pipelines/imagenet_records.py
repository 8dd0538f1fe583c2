"""The records of one split: read, checked, decoded into a batch's rows; what is damaged is named or skipped."""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from input_pipelines.jpeg import jpeg_shape
from jax_mlperf.data import tfrecord
from jax_mlperf.data.imagenet import Meta
from jax_mlperf.data.imagenet_example import LAYOUTS, image_and_label
from jax_mlperf.errors import UserError

PADDING_LABEL = -1
# (compressed images, int64 [n, 2] heights and widths, stream positions int64 [n], uint8 [n, size, size, 3] to fill)
DecodeFn = Callable[[list[bytes], np.ndarray, np.ndarray, np.ndarray], None]


class Records:
    """Any records of a split by their numbers.

    Args:
      folder: the prepared folder.
      meta: what it holds.
      num_classes: labels are 0..num_classes-1.
      skip_corrupt: damaged records become rows of PADDING_LABEL and pixels 0.
    """

    def __init__(self, folder: Path, meta: Meta, split: str, num_classes: int, skip_corrupt: bool):
        self._layout = LAYOUTS[meta.layout]
        self._num_classes = num_classes
        self._skip_corrupt = skip_corrupt
        names, sizes, _ = zip(*meta.shards[split], strict=True)
        self.shards = tfrecord.Shards([Path(meta.folder) / name for name in names], sizes)
        self._shard, self._offset, self._length = (
            np.asarray(np.load(folder / f"{split}.{name}.npy", mmap_mode="r")) for name in ("shard", "offset", "length")
        )

    def fill(
        self, numbers: np.ndarray, positions: np.ndarray, pixels: np.ndarray, labels: np.ndarray, decode: DecodeFn
    ) -> int:
        """Reads and decodes records into pixels and labels; returns how many were skipped.

        Raises:
          UserError: a record is damaged (without skip_corrupt), or a label is out of range.
        """
        places = [self._place(number) for number in numbers.tolist()]
        for place in places:
            self.shards.announce(*place)
        images: list[bytes] = []
        sizes = np.ones((len(numbers), 2), np.int64)
        good = []
        for row, place in enumerate(places):
            try:
                record, intact = self.shards.view(*place)
                if not intact:
                    raise ValueError("the CRC of the record does not hold")
                image, label = image_and_label(record, self._layout)
                sizes[row] = jpeg_shape(image)[:2]
            except ValueError as error:
                self._damaged(int(numbers[row]), error)
                continue
            labels[row] = self._checked_label(int(numbers[row]), label)
            images.append(image)
            good.append(row)
        if len(good) == len(numbers):
            try:
                decode(images, sizes, positions, pixels)
                return 0
            except ValueError:
                pass  # one by one, to find which
        return self._fill_singly(good, images, numbers, positions, sizes, pixels, labels, decode)

    def _fill_singly(
        self, good: Sequence[int], images: list[bytes], numbers: np.ndarray, positions: np.ndarray, sizes: np.ndarray,
        pixels: np.ndarray, labels: np.ndarray, decode: DecodeFn,
    ) -> int:  # fmt: skip
        filled = set()
        for row, image in zip(good, images, strict=True):
            part = slice(row, row + 1)
            try:
                decode([image], sizes[part], positions[part], pixels[part])
                filled.add(row)
            except ValueError as error:
                self._damaged(int(numbers[row]), error)
        skipped = [row for row in range(len(numbers)) if row not in filled]
        pixels[skipped], labels[skipped] = 0, PADDING_LABEL
        return len(skipped)

    def _place(self, number: int) -> tuple[int, int, int]:
        return int(self._shard[number]), int(self._offset[number]), int(self._length[number])

    def _name(self, number: int) -> str:
        """The shard file and the record's number within it."""
        shard = int(self._shard[number])
        return f"{self.shards.paths[shard]}: record {number - int(np.searchsorted(self._shard, shard))}"

    def _damaged(self, number: int, error: ValueError) -> None:
        if self._skip_corrupt:
            return
        raise UserError(f"{self._name(number)} is damaged: {error}; copy the file again, or leave "
                        "such records out with --config.data.skip_corrupt=true") from error

    def _checked_label(self, number: int, label: int) -> int:
        first = self._layout.first_label
        if not 0 <= label - first < self._num_classes:
            raise UserError(
                f"{self._name(number)} has label {label}: {self._layout.name} shards with {self._num_classes} classes "
                f"hold {first}..{self._num_classes - 1 + first}; check config.model.num_classes and "
                "whether labels count from 0 or 1"
            )
        return label - first
