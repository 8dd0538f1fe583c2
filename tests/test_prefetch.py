"""Batches on their way to the devices: order, grouping, placement, failures and the end of the thread."""

import itertools
import threading
import time

import jax
import numpy as np
import pytest

from jax_mlperf.parallel.mesh import make_mesh
from jax_mlperf.prefetch import Prefetcher, grouped, to_devices


def counting(taken=None):
    """Batches of 8 rows; row i of batch n is [n, i]. Their numbers are appended to `taken` when they are made."""
    for number in itertools.count():
        if taken is not None:
            taken.append(number)
        yield {"x": np.stack([np.full(8, number), np.arange(8)], axis=1).astype(np.int32)}


def numbers(batch):
    return np.asarray(batch["x"])[..., 0, 0].tolist()


@pytest.fixture
def one_device():
    return make_mesh(1, 1, jax.devices()[:1])


def test_groups_have_the_size_that_each_step_asks_for():
    asked = []

    def size_at(step):  # evaluation points at 5, 10, ...
        asked.append(step)
        return min(3, 5 - step % 5)

    groups = list(itertools.islice(grouped(counting(), 4, size_at), 4))
    assert [size for _, size in groups] == [1, 3, 2, 3] and asked == [4, 5, 8, 10]
    assert [numbers(batch) for batch, _ in groups] == [0, [1, 2, 3], [4, 5], [6, 7, 8]]
    assert groups[0][0]["x"].shape == (8, 2) and groups[1][0]["x"].shape == (3, 8, 2)


def test_batches_arrive_in_order_on_the_devices(one_device):
    prefetcher = Prefetcher(one_device, grouped(counting(), 0, lambda step: 2), depth=3)
    got = [next(prefetcher) for _ in range(10)]
    prefetcher.close()
    assert [numbers(batch) for batch, _ in got] == [[2 * i, 2 * i + 1] for i in range(10)]
    assert {size for _, size in got} == {2} and all(isinstance(batch["x"], jax.Array) for batch, _ in got)


def test_it_runs_no_more_than_its_depth_ahead(one_device):
    taken = []
    prefetcher = Prefetcher(one_device, grouped(counting(taken), 0, lambda step: 1), depth=2)
    next(prefetcher)
    deadline = time.monotonic() + 5
    while len(taken) < 4 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.15)  # time for one more, if it were allowed
    prefetcher.close()
    assert taken == [0, 1, 2, 3]  # one consumed, two in the queue, one waiting for its place


def test_an_exception_of_the_pipeline_is_raised_where_its_batch_would_have_been(one_device):
    def failing():
        yield from itertools.islice(counting(), 2)
        raise OSError("the disk is gone")

    prefetcher = Prefetcher(one_device, grouped(failing(), 0, lambda step: 1), depth=4)
    assert [numbers(next(prefetcher)[0]) for _ in range(2)] == [0, 1]
    with pytest.raises(OSError, match="the disk is gone"):
        next(prefetcher)
    prefetcher.close()


def test_the_end_of_the_groups_ends_the_iteration(one_device):
    groups = ((batch, 1) for batch in itertools.islice(counting(), 3))
    prefetcher = Prefetcher(one_device, groups, depth=1)
    assert [numbers(batch) for batch, _ in prefetcher] == [0, 1, 2]
    prefetcher.close()


def test_close_ends_the_thread_although_the_queue_is_full(one_device):
    def threads():
        return [thread for thread in threading.enumerate() if thread.name == "prefetch"]

    taken = []
    prefetcher = Prefetcher(one_device, grouped(counting(taken), 0, lambda step: 1), depth=1)
    deadline = time.monotonic() + 5
    while len(taken) < 2 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert len(taken) == 2 and len(threads()) == 1
    began = time.monotonic()
    prefetcher.close()
    assert time.monotonic() - began < 2 and not threads()


@pytest.mark.parametrize(("data", "fsdp"), [(8, 1), (2, 4)])
def test_rows_are_spread_over_all_devices_in_order(data, fsdp):
    mesh = make_mesh(data, fsdp)
    x = np.arange(16 * 3, dtype=np.int32).reshape(16, 3)
    placed = to_devices(mesh, {"x": x, "count": np.float32(5)})
    np.testing.assert_array_equal(placed["x"], x)
    by_device = {shard.device: np.asarray(shard.data) for shard in placed["x"].addressable_shards}
    for position, device in enumerate(mesh.devices.flat):
        np.testing.assert_array_equal(by_device[device], x[2 * position:2 * position + 2])
    assert [float(shard.data) for shard in placed["count"].addressable_shards] == [5.0] * 8


def test_stacked_steps_stay_together_and_their_rows_are_spread():
    mesh = make_mesh(8, 1)
    x = np.arange(3 * 8 * 2, dtype=np.float32).reshape(3, 8, 2)
    placed = to_devices(mesh, {"x": x, "count": np.arange(3, dtype=np.float32)}, leading=1)
    for shard in placed["x"].addressable_shards:
        position = list(mesh.devices.flat).index(shard.device)
        np.testing.assert_array_equal(shard.data, x[:, position:position + 1])
    assert [np.asarray(shard.data).tolist() for shard in placed["count"].addressable_shards] == [[0.0, 1.0, 2.0]] * 8


def test_groups_end_with_the_batches():
    batches = [{"x": np.full(2, number)} for number in range(5)]
    assert len(list(grouped(iter(batches), 0, lambda step: 1))) == 5
    assert [size for _, size in grouped(iter(batches), 0, lambda step: 2)] == [2, 2]
