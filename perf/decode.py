"""Images per second of the training input: jax_mlperf against tf.data that decodes in full, and against Pillow.

    python perf/decode.py FOLDER [--cores=1,2] [--images=N] [--rounds=N] [--size=224] [--json]

FOLDER holds ImageNet TFRecord shards. Every way draws the reference's random crop of each image and gives
uint8 [size, size, 3]: ours decodes the crop only; tf.data decodes all of the image, cuts and resizes
(bilinear); Pillow decodes, cuts and resizes in a pool of threads (bilinear, antialiased: it has no other).
Each way has its own process, pinned to one core and to more, and the processes work in turn, round by round; a
figure is the median over rounds. "by CPU" compares processor time, which a busy machine distorts less.
"""

import argparse
import io
import itertools
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import numpy as np

from input_pipelines.imagenet import ImageNetData
from input_pipelines.imagenet_crops import RandomCrop, random_windows
from input_pipelines.jpeg import jpeg_shape, tensorflow
from jax_mlperf.data import imagenet, tfrecord
from jax_mlperf.data.imagenet_example import LAYOUTS, image_and_label

BATCH = 80
DRAINED = 6  # batches taken before the clock starts: what was decoded ahead while the others worked


def ours(folder: Path, size: int, cores: int) -> Iterator[int]:
    """The benchmark's pipeline; yields the number of images of each batch."""
    with tempfile.TemporaryDirectory() as scratch:
        index = imagenet.prepare(scratch, imagenet.Settings(raw_dir=str(folder)))
        data = ImageNetData(index, global_batch_size=BATCH, image_size=size, decode_threads=cores)
        for batch in data.train_batches(0):
            yield len(batch["image"])


def tf_data(folder: Path, size: int, cores: int) -> Iterator[int]:
    """tf.data: full decode, slice, bilinear resize, bytes."""
    tf = tensorflow()
    layout, place, shards = imagenet.find_shards(folder)
    feature = LAYOUTS[layout].image.decode()

    def decode(record: Any) -> Any:
        image = tf.io.parse_single_example(record, {feature: tf.io.FixedLenFeature([], tf.string)})[feature]
        pixels = tf.io.decode_jpeg(image, channels=3)
        begin, extent, _ = tf.image.sample_distorted_bounding_box(
            tf.shape(pixels), [[[0.0, 0.0, 1.0, 1.0]]], min_object_covered=0.1, aspect_ratio_range=(0.75, 1.33),
            area_range=(0.05, 1.0), max_attempts=100,
        )  # fmt: skip
        cropped = tf.slice(pixels, begin, extent)
        resized = tf.compat.v1.image.resize_bilinear(cropped[None], [size, size])[0]
        return tf.cast(resized + 0.5, tf.uint8)

    options = tf.data.Options()
    options.threading.private_threadpool_size = cores
    options.threading.max_intra_op_parallelism = 1
    options.deterministic = False
    paths = [str(place / name) for name, _, _ in shards["train"]]
    batches = tf.data.TFRecordDataset(paths).cache().repeat().map(decode, num_parallel_calls=cores)
    for batch in batches.batch(BATCH).prefetch(2).with_options(options):
        yield len(batch)


def pillow(folder: Path, size: int, cores: int) -> Iterator[int]:
    """Pillow in threads: it decodes and resizes without holding the GIL."""
    from PIL import Image

    images = compressed_images(folder)
    shapes = np.array([jpeg_shape(image)[:2] for image in images])

    def decode(number: int, window: np.ndarray) -> np.ndarray:
        top, left, height, width = window.tolist()
        image = Image.open(io.BytesIO(images[number])).convert("RGB").crop((left, top, left + width, top + height))
        return np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))

    with ThreadPoolExecutor(cores) as pool:
        for first in itertools.count(0, BATCH):
            positions = np.arange(first, first + BATCH)
            numbers = positions % len(images)
            windows = random_windows(0, positions, shapes[numbers], RandomCrop())
            yield len(np.stack(list(pool.map(decode, numbers.tolist(), windows))))


def compressed_images(folder: Path) -> list[bytes]:
    """The JPEGs of the first training shard."""
    layout, place, shards = imagenet.find_shards(folder)
    path, size = place / shards["train"][0][0], shards["train"][0][1]
    files = tfrecord.Shards([path], [size])
    offsets, lengths = tfrecord.index_shard(path)
    found = [
        image_and_label(files.read(0, int(offset), int(length)), LAYOUTS[layout])[0]
        for offset, length in zip(offsets, lengths, strict=True)
    ]
    files.close()
    return found


WAYS = {"jax_mlperf": ours, "tf.data": tf_data, "pillow": pillow}


def work(way: str, folder: Path, size: int, cores: int, images: int) -> None:
    """A worker process: for every line on stdin it makes so many images and writes [wall seconds, CPU seconds]."""
    batches = WAYS[way](folder, size, cores)
    for _ in sys.stdin:
        time.sleep(0.3)  # the other processes fill up what they decode ahead
        for _ in range(DRAINED):
            next(batches)
        wall, cpu, made = time.perf_counter(), time.process_time(), 0
        while made < images:
            made += next(batches)
        print(json.dumps([(time.perf_counter() - wall) / made, (time.process_time() - cpu) / made]), flush=True)


class Worker:
    """One way on so many cores, in a process of its own."""

    def __init__(self, way: str, cores: int, arguments: argparse.Namespace):
        self.way, self.cores = way, cores
        allowed = sorted(os.sched_getaffinity(0))[:cores]
        command = [sys.executable, __file__, str(arguments.folder), f"--size={arguments.size}",
                   f"--images={arguments.images}", f"--work={way}", f"--cores={cores}"]  # fmt: skip
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
            preexec_fn=lambda: os.sched_setaffinity(0, allowed),
        )  # fmt: skip
        self.wall: list[float] = []
        self.cpu: list[float] = []

    def round(self, keep: bool) -> None:
        """Makes the images once; the first rounds only warm up."""
        assert self._process.stdin and self._process.stdout
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            raise SystemExit(f"{self.way} ended with status {self._process.wait()}")
        if keep:
            wall, cpu = json.loads(answer)
            self.wall.append(wall)
            self.cpu.append(cpu)

    def end(self) -> None:
        """Ends the process."""
        self._process.kill()
        self._process.wait()


def measure(arguments: argparse.Namespace) -> list[dict[str, Any]]:
    """One row for each way and number of cores."""
    rows = []
    for cores in map(int, arguments.cores.split(",")):
        workers = [Worker(way, cores, arguments) for way in WAYS]
        try:
            for number in range(arguments.rounds + 1):
                for worker in workers:
                    worker.round(keep=number > 0)
        finally:
            for worker in workers:
                worker.end()
        ours_wall, ours_cpu = statistics.median(workers[0].wall), statistics.median(workers[0].cpu)
        for worker in workers:
            wall, cpu = statistics.median(worker.wall), statistics.median(worker.cpu)
            rows.append({
                "way": worker.way, "cores": cores, "images_per_sec": 1 / wall,
                "images_per_sec_per_core": 1 / wall / cores, "fastest": 1 / min(worker.wall),
                "slowest": 1 / max(worker.wall), "cpu_ms": 1e3 * cpu,
                "ours_is_times": wall / ours_wall, "cpu_times_ours": cpu / ours_cpu,
            })  # fmt: skip
    return rows


def report(rows: list[dict[str, Any]]) -> str:
    """The table."""
    lines = [f"{'':12}{'cores':>6}{'images/s':>10}{'per core':>10}{'fastest':>9}{'slowest':>9}{'CPU ms':>8}"
             f"{'ours is':>9}{'by CPU':>8}"]
    lines += [
        f"{row['way']:12}{row['cores']:6}{row['images_per_sec']:10.0f}{row['images_per_sec_per_core']:10.0f}"
        f"{row['fastest']:9.0f}{row['slowest']:9.0f}{row['cpu_ms']:8.2f}{row['ours_is_times']:8.2f}x"
        f"{row['cpu_times_ours']:7.2f}x"
        for row in rows
    ]
    return "\n".join(lines)


def main() -> None:
    """Parses flags, measures, prints."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--cores", default="1,2", help="numbers of cores to pin to")
    parser.add_argument("--images", type=int, default=400, help="images of a round")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--size", type=int, default=224)
    parser.add_argument("--json", action="store_true")
    parser.add_argument("--work", choices=tuple(WAYS), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.work:
        work(arguments.work, arguments.folder, arguments.size, int(arguments.cores), arguments.images)
        return
    rows = measure(arguments)
    print(json.dumps(rows, indent=2) if arguments.json else report(rows))


if __name__ == "__main__":
    main()
