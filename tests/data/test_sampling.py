"""Order of the images: partitions, epochs, the last batch, resuming, evaluation."""

import itertools

import numpy as np
import pytest

from jax_mlperf.data.sampling import TrainOrder, eval_batches, partition
from jax_mlperf.errors import UserError


def epochs(order: TrainOrder, count: int, start: int = 0) -> np.ndarray:
    """[count, steps, workers, b]."""
    batches = np.stack(list(itertools.islice(order.batches(start), count * order.steps_per_epoch)))
    return batches.reshape(count, order.steps_per_epoch, order.workers, order.worker_batch_size)


@pytest.mark.parametrize(("workers", "steps"), [(1, 391), (2, 196), (4, 98), (8, 49), (16, 25), (32, 13)])
def test_steps_per_epoch_of_mlbench(workers, steps):
    assert TrainOrder(50_000, workers, 128, seed=0).steps_per_epoch == steps


def test_partition_ends_at_cumulative_fractions():
    parts = partition(np.arange(50_000), 32)
    assert [len(part) for part in parts[:3]] == [1562, 1563, 1562]
    np.testing.assert_array_equal(np.concatenate(parts), np.arange(50_000))
    # A tenth nine times over is 0.8999999999999999 in float64; the last part takes what is left.
    assert [len(part) for part in partition(np.arange(50_000), 10)][7:] == [5000, 4999, 5001]


def test_workers_keep_their_part_and_shuffle_it():
    order = TrainOrder(100, workers=4, worker_batch_size=10, seed=3)
    seen = epochs(order, 2)
    assert seen.dtype == np.int32 and order.steps_per_epoch == 3
    for worker in range(4):
        first, second = (epoch[:, worker].ravel() for epoch in seen)
        assert (first[25:] == -1).all() and sorted(first[:25]) == sorted(second[:25])
        assert (first[:25] != second[:25]).any()
    np.testing.assert_array_equal(np.sort(seen[0][seen[0] >= 0]), np.arange(100))


def test_seeds_differ():
    first, second = (epochs(TrainOrder(100, 2, 10, seed), 1) for seed in (0, 1))
    assert sorted(first[:, :, 0].ravel()) != sorted(second[:, :, 0].ravel())


@pytest.mark.parametrize("step", [1, 3, 4, 7])
def test_resume_at_any_step(step):
    order = TrainOrder(100, 2, 16, seed=0)
    whole = list(itertools.islice(order.batches(0), 12))
    np.testing.assert_array_equal(list(itertools.islice(order.batches(step), 12 - step)), whole[step:])


def test_drop_last():
    order = TrainOrder(50_000, 1, 2000, seed=0, drop_last=True)
    assert order.steps_per_epoch == 25
    order = TrainOrder(50_000, 1, 1024, seed=0, drop_last=True)
    assert order.steps_per_epoch == 48
    first, second = epochs(order, 2)
    assert first.min() >= 0 and len(np.unique(first)) == 48 * 1024 and set(first.ravel()) != set(second.ravel())


@pytest.mark.parametrize(("arguments", "message"), [
    ((10, 0, 4), "workers is 0"), ((10, 2, 0), "batch size of a worker is 0"), ((2, 4, 4), "too few"),
    ((11, 2, 5), "are 5 for one of them")])
def test_a_worker_without_images_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        TrainOrder(*arguments, seed=0)


def test_drop_last_needs_one_whole_batch():
    with pytest.raises(UserError, match="too few"):
        TrainOrder(10, 2, 8, seed=0, drop_last=True)


@pytest.mark.parametrize(("samples", "workers", "size"), [(10_000, 32, 100), (103, 4, 10), (5, 8, 2)])
def test_evaluation_sees_every_image_once(samples, workers, size):
    batches = eval_batches(samples, workers, size, seed=1)
    assert batches.dtype == np.int32 and batches.shape[1] == workers * size
    np.testing.assert_array_equal(np.sort(batches[batches >= 0]), np.arange(samples))
    lengths = (batches.reshape(-1, workers, size) >= 0).sum(axis=(0, 2))
    assert lengths.tolist() == [len(part) for part in partition(np.arange(samples), workers)]
