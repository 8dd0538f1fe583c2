"""Moves host batches to the devices in a background thread, while the devices work on earlier ones."""

import itertools
import queue
import threading
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np
from jax.sharding import Mesh

from jax_mlperf.parallel.mesh import batch_shardings
from jax_mlperf.types import PyTree

_END = object()


def to_devices(mesh: Mesh, batch: PyTree, leading: int = 0) -> PyTree:
    """Global arrays from this process's rows; `leading` stacked axes stand before the batch axis."""
    def place(local: Any, sharding: jax.sharding.NamedSharding) -> jax.Array:
        return jax.make_array_from_process_local_data(sharding, np.asarray(local))

    without = jax.tree.map(lambda leaf: leaf[0], batch) if leading else batch
    return jax.tree.map(place, batch, batch_shardings(mesh, without, leading))


def grouped(batches: Iterator[PyTree], step: int, size_at: Callable[[int], int]) -> Iterator[tuple[PyTree, int]]:
    """Stacks as many batches as the dispatch at each step takes: yields (batch, number of steps in it).

    Ends where the batches end; a last group that is not full is left out.
    """
    while True:
        size = size_at(step)
        group = list(itertools.islice(batches, size))
        if len(group) < size:
            return
        yield (group[0] if size == 1 else jax.tree.map(lambda *leaves: np.stack(leaves), *group)), size
        step += size


class Prefetcher:
    """Iterates over (global batch, number of steps in it), at most `depth` dispatches ahead.

    An exception in the input pipeline is raised where the batch would have been taken. `close` ends the thread.
    """

    def __init__(self, mesh: Mesh, groups: Iterator[tuple[PyTree, int]], depth: int) -> None:
        self._mesh = mesh
        self._groups = groups
        self._queue: queue.Queue[Any] = queue.Queue(max(1, depth))
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._work, name="prefetch", daemon=True)
        self._thread.start()

    def _work(self) -> None:
        try:
            for batch, size in self._groups:
                if not self._put((to_devices(self._mesh, batch, int(size > 1)), size)):
                    return
            self._put(_END)
        except Exception as error:  # handed over to the consumer, who raises it
            self._put(error)

    def _put(self, item: Any) -> bool:
        while not self._stopped.is_set():
            try:
                self._queue.put(item, timeout=0.1)
                return True
            except queue.Full:
                continue
        return False

    def __iter__(self) -> Iterator[tuple[PyTree, int]]:
        return self

    def __next__(self) -> tuple[PyTree, int]:
        item = self._queue.get()
        if item is _END:
            raise StopIteration
        if isinstance(item, Exception):
            raise item
        return item

    def close(self) -> None:
        """Ends the thread; batches that were not taken are dropped."""
        self._stopped.set()
        self._thread.join()
