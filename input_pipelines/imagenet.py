"""Batches of ImageNet images from a folder that `jax_mlperf.data.imagenet.prepare` made.

Every epoch is a permutation drawn from (seed, epoch); the epochs one after the other are cut into global
batches, so the batch that spans an epoch's end takes its remainder and the start of the next. Each process
decodes its own slice of every global batch: the same global batches on any number of processes, from any step.
"""

import collections
import functools
import itertools
import math
import os
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Literal

import numpy as np

from input_pipelines.imagenet_crops import RandomCrop, central_windows, centre_offsets, random_windows, short_side_sizes
from input_pipelines.imagenet_records import PADDING_LABEL, DecodeFn, Records
from input_pipelines.jpeg import RESIZES, Decoder, Kind, Resize
from jax_mlperf.data.imagenet import read_index_meta
from jax_mlperf.errors import UserError

Batch = dict[str, np.ndarray]
EvalCrop = Literal["short_side", "central", "whole"]
EVAL_CROPS = ("short_side", "central", "whole")
SHORT_SIDE = 256 / 224  # of the output size, `resnet-tf1/imagenet_preprocessing.py`
CENTRAL_FRACTION = 0.875  # `resnet-research-JAX-tpu-v3-8192/mlperf_input_pipeline.py`
CHUNK = 32  # images decoded by one call: amortises the call, and bounds what a thread holds
READ_AHEAD = 2  # batches decoded while the consumer has the one before


class ImageNetData:
    """Training batches and the evaluation set. Construction reads the index only, no image.

    A batch is {"image": uint8 [rows, size, size, 3] RGB, "label": int32 [rows]}, rows those of this process;
    label -1 marks padding and skipped images (their pixels are 0). Nothing is flipped or normalised.

    Args:
      folder: the prepared folder.
      global_batch_size: training images of a step over all processes.
      image_size: height and width of the output.
      num_classes: labels are 0..num_classes-1.
      resize: how crops become image_size x image_size, see `jpeg.Decoder`.
      eval_crop: "short_side": the short side resized to image_size * 256 / 224, then the centre (the
        reference); "central": the middle square of 0.875 of the short side, resized; "whole": the whole
        image, resized.
      crop: the random crop of training images.
      skip_corrupt: damaged images and records become padding rows and are counted in `skipped`.
      cache_eval: keep the evaluation batches, 150,528 bytes an image of size 224, after the first pass.
      process_index, process_count: which contiguous share of each global batch's rows this process yields.
      decode_threads: so many images are decoded at once; 0 is one for each core of this process.

    Attributes:
      skipped: damaged images left out of the batches that were yielded so far.

    Raises:
      UserError: the folder was not prepared, or a setting does not fit.
    """

    def __init__(
        self,
        folder: Path,
        *,
        global_batch_size: int,
        image_size: int = 224,
        num_classes: int = 1000,
        resize: Resize = "bilinear_v1",
        eval_crop: EvalCrop = "short_side",
        crop: RandomCrop = RandomCrop(),  # noqa: B008  immutable
        skip_corrupt: bool = False,
        cache_eval: bool = False,
        process_index: int = 0,
        process_count: int = 1,
        decode_threads: int = 0,
    ):
        for name, value, known in (("resize", resize, RESIZES), ("eval_crop", eval_crop, EVAL_CROPS)):
            if value not in known:
                raise UserError(f"config.data.{name} is {value!r}, must be one of {', '.join(known)}")
        meta = read_index_meta(Path(folder))
        self.fingerprint = meta.fingerprint
        self.train_samples = meta.records["train"]
        self.eval_samples = meta.records["validation"]
        self.skipped = 0
        self._global_batch_size = global_batch_size
        self._size = image_size
        self._eval_crop = eval_crop
        self._crop = crop
        self._process = (process_index, process_count)
        self._cached_eval: dict[int, list[Batch]] | None = {} if cache_eval else None
        self._threads = decode_threads or len(os.sched_getaffinity(0))
        self._pool: ThreadPoolExecutor | None = None
        self._decoder = Decoder(image_size, resize, decode_threads)
        self._splits = {split: Records(Path(folder), meta, split, num_classes, skip_corrupt) for split in meta.shards}
        self._order = functools.lru_cache(maxsize=2)(self._epoch_order)
        self._local_rows(global_batch_size)

    def train_batches(self, seed: int, step: int = 0) -> Iterator[Batch]:
        """This process's rows of the global batches from step on: a pure function of (seed, step)."""
        size, (index, _) = self._global_batch_size, self._process
        rows = self._local_rows(size)

        def starts() -> Iterator[tuple[np.ndarray, int]]:
            for batch in itertools.count(step):
                first = batch * size + index * rows
                yield np.arange(first, first + rows), rows

        def samples(positions: np.ndarray) -> np.ndarray:
            epochs, places = np.divmod(positions, self.train_samples)
            return np.concatenate([
                self._order(seed, int(epoch))[places[epochs == epoch]] for epoch in np.unique(epochs)
            ])  # fmt: skip

        def decode(images: list[bytes], sizes: np.ndarray, positions: np.ndarray, out: np.ndarray) -> None:
            self._decoder.windows(images, random_windows(seed, positions, sizes, self._crop), out)

        return self._batches("train", starts(), samples, decode)

    def eval_batches(self, global_batch_size: int) -> Iterator[Batch]:
        """This process's rows of all evaluation images in order; the last global batch is padded."""
        rows = self._local_rows(global_batch_size)
        if self._cached_eval and global_batch_size in self._cached_eval:
            yield from self._cached_eval[global_batch_size]
            return

        def starts() -> Iterator[tuple[np.ndarray, int]]:
            for first in range(0, self.eval_samples, global_batch_size):
                mine = first + self._process[0] * rows
                yield np.arange(mine, max(mine, min(mine + rows, self.eval_samples))), rows

        kept = []
        for batch in self._batches("validation", starts(), lambda positions: positions, self._decode_eval):
            if self._cached_eval is not None:
                kept.append(batch)
            yield batch
        if self._cached_eval is not None:
            self._cached_eval[global_batch_size] = kept

    def compile(self, eval_batch_size: int) -> None:
        """Imports TensorFlow and makes the decoding graphs (seconds), without touching the data."""
        _, count = self._process
        last = (self.eval_samples - 1) % eval_batch_size + 1
        rows = self._local_rows(eval_batch_size)
        evaluated = {rows, *(min(max(last - index * rows, 0), rows) for index in range(count))}
        for size in _chunk_sizes(self._local_rows(self._global_batch_size)):
            self._decoder.compile("windows", size)
        kind: Kind = "resized" if self._eval_crop == "short_side" else "windows"
        for size in set().union(*map(_chunk_sizes, evaluated)):
            self._decoder.compile(kind, size)

    def close(self) -> None:
        """Ends the threads, closes the files and forgets the cached evaluation set; use may go on anew."""
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)
            self._pool = None
        for split in self._splits.values():
            split.shards.close()
        if self._cached_eval:
            self._cached_eval = {}

    def _local_rows(self, global_batch_size: int) -> int:
        count = self._process[1]
        if global_batch_size < 1 or global_batch_size % count:
            raise UserError(
                f"a batch of {global_batch_size} images does not divide over {count} processes: use a positive multiple"
            )
        return global_batch_size // count

    def _epoch_order(self, seed: int, epoch: int) -> np.ndarray:
        """int64 [train_samples]: the records in the order of an epoch."""
        return np.random.Generator(np.random.PCG64([seed, epoch])).permutation(self.train_samples)

    def _decode_eval(self, images: list[bytes], sizes: np.ndarray, _: np.ndarray, out: np.ndarray) -> None:
        if self._eval_crop == "short_side":
            resized = short_side_sizes(sizes, round(self._size * SHORT_SIDE))
            self._decoder.resized(images, resized, centre_offsets(resized, self._size), out)
        elif self._eval_crop == "central":
            self._decoder.windows(images, central_windows(sizes, CENTRAL_FRACTION), out)
        else:
            whole = np.concatenate([np.zeros_like(sizes), sizes], axis=1, dtype=np.int32)
            self._decoder.windows(images, whole, out)

    def _batches(
        self, split: str, starts: Iterator[tuple[np.ndarray, int]],
        samples: Callable[[np.ndarray], np.ndarray], decode: DecodeFn,
    ) -> Iterator[Batch]:  # fmt: skip
        """Decodes batches, given by (stream positions, rows), up to READ_AHEAD of them at once."""
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._threads, thread_name_prefix="decode")
        waiting: collections.deque[tuple[Batch, list[Future[int]]]] = collections.deque()
        try:
            while True:
                for positions, rows in itertools.islice(starts, 1 + READ_AHEAD - len(waiting)):
                    waiting.append(self._submit(split, positions, samples(positions), rows, decode))
                if not waiting:
                    return
                batch, chunks = waiting.popleft()
                self.skipped += sum(chunk.result() for chunk in chunks)
                yield batch
        finally:
            for _, chunks in waiting:
                for chunk in chunks:
                    chunk.cancel()

    def _submit(
        self, split: str, positions: np.ndarray, numbers: np.ndarray, rows: int, decode: DecodeFn
    ) -> tuple[Batch, list[Future[int]]]:
        """Starts to fill a batch with the records `numbers`; the rows behind them are padding."""
        filled = len(numbers)
        batch: Batch = {
            "image": np.empty((rows, self._size, self._size, 3), np.uint8),
            "label": np.full(rows, PADDING_LABEL, np.int32),
        }
        batch["image"][filled:] = 0
        bounds = _chunk_bounds(filled)
        assert self._pool is not None
        return batch, [
            self._pool.submit(
                self._splits[split].fill, numbers[first:last], positions[first:last],
                batch["image"][first:last], batch["label"][first:last], decode,
            )
            for first, last in itertools.pairwise(bounds)
        ]  # fmt: skip


def _chunk_bounds(rows: int) -> list[int]:
    """Where to cut rows into the fewest chunks of at most CHUNK, of sizes that differ by one at most."""
    chunks = math.ceil(rows / CHUNK)
    return [chunk * rows // chunks for chunk in range(chunks + 1)] if rows else [0]


def _chunk_sizes(rows: int) -> set[int]:
    return {last - first for first, last in itertools.pairwise(_chunk_bounds(rows))}
