"""The fractal expansion: the input rule, the keep rates, what blocks keep, and the arrays that come out."""

import numpy as np
import pytest

from jax_mlperf.data import fractal
from jax_mlperf.data.fractal import base_matrix, expand, keep_rates, kept_entries, nearest_orthonormal, resize, write_expansion
from jax_mlperf.data.movielens_files import Events
from jax_mlperf.errors import UserError


def events_of(*rows):
    users, items, seconds = zip(*rows, strict=True)
    return Events(np.array(users, np.int32), np.array(items, np.int32), np.array(seconds, np.int64))


@pytest.fixture(scope="module")
def events():
    """60 users, 40 items, 12 distinct items each, at one of 8 seconds."""
    rng = np.random.default_rng(0)
    items = np.argsort(rng.random((60, 40)) + np.arange(40) / 60, axis=1)[:, :12]
    return Events(np.repeat(np.arange(60, dtype=np.int32), 12), items.reshape(-1).astype(np.int32), rng.integers(0, 8, 720))


@pytest.fixture(scope="module")
def base(events):
    return base_matrix(events)


def test_input_rule():
    """User 9 has two distinct timestamps only and is dropped, with film 5; all of a user's last second are test entries."""
    base = base_matrix(events_of((8, 70, 3), (8, 30, 3), (8, 50, 1), (8, 60, 2), (9, 5, 1), (9, 30, 2), (9, 50, 2),
                                 (2, 60, 10), (2, 70, 30), (2, 30, 20)))
    assert base.shape == (2, 4)  # users 2, 8; films 30, 50, 60, 70
    assert list(zip(base.rows.tolist(), base.columns.tolist(), base.trains.tolist(), strict=True)) == [
        (0, 0, True), (0, 2, True), (0, 3, False), (1, 0, False), (1, 1, True), (1, 2, True), (1, 3, False)]
    with pytest.raises(UserError, match="no user has ratings of 3 different seconds"):
        base_matrix(events_of((1, 1, 1), (1, 2, 2)))


def test_of_duplicates_the_newest_counts():
    base = base_matrix(events_of((1, 1, 9), (1, 2, 2), (1, 3, 3), (1, 1, 1)))
    assert base.trains.tolist() == [False, True, True]


def test_keep_rates_against_dense_arithmetic(base):
    """Algorithm 2 of the paper, written out with a dense SVD and the inverse root of M^T M."""
    def orthonormal(matrix):
        values, vectors = np.linalg.eigh(matrix.T @ matrix)
        return matrix @ vectors / np.sqrt(values) @ vectors.T

    def resized(image, rows):
        centres = (np.arange(rows) + 0.5) * len(image) / rows - 0.5
        return np.stack([np.interp(centres, np.arange(len(image)), column) for column in image.T], axis=1)

    dense = np.zeros(base.shape)
    dense[base.rows[base.trains], base.columns[base.trains]] = 1
    left, values, right = np.linalg.svd(dense)
    reduced = np.abs(orthonormal(resized(left[:, :2], 2)) * values[:2] @ orthonormal(resized(right[:2].T, 4)).T)
    expected = np.clip(reduced / reduced.max(), 0.01, 0.95)
    rates = keep_rates(base, 2, 4, seed=0)
    np.testing.assert_allclose(rates, expected, atol=1e-3)
    assert rates.max() == 0.95 and rates.min() >= 0.01 and rates.shape == (2, 4)


def test_orthonormal_and_resized():
    matrix = np.random.default_rng(0).normal(size=(32, 16))
    turned = nearest_orthonormal(matrix)
    np.testing.assert_allclose(turned.T @ turned, np.eye(16), atol=1e-12)
    np.testing.assert_allclose(nearest_orthonormal(turned), turned, atol=1e-12)
    ramp = np.stack([np.arange(100.0), np.full(100, 7)], axis=1)
    np.testing.assert_allclose(resize(ramp, 4), [[12, 7], [37, 7], [62, 7], [87, 7]])
    np.testing.assert_allclose(resize(ramp[:2], 4)[:, 0], [0, 0.25, 0.75, 1])


def test_blocks_keep_int_of_entries_times_rate(base):
    """Rows and columns are only renamed: each keeps at most its entries, and all rates of 1 keep the whole matrix."""
    rates = np.array([[0.5, 0.013], [0.95, 0.2]])
    counts = kept_entries(base, rates)
    assert counts.tolist() == [[360, 9], [684, 144]]
    rng = np.random.Generator(np.random.PCG64(0))
    block = fractal._block(base, 360, rng)
    assert len(block.rows) == len(np.unique(block.rows.astype(np.int64) * 40 + block.columns)) == 360
    whole = fractal._block(base, 720, rng)
    assert (whole.rows != base.rows).any() and (whole.columns != base.columns).any()
    for new, old in ((whole.rows, base.rows), (whole.columns, base.columns)):
        assert sorted(np.bincount(new).tolist()) == sorted(np.bincount(old).tolist())
    assert whole.trains.sum() == base.trains.sum()


def test_shards_against_plain_python(base):
    rates = np.array([[0.3, 0.05, 0.2], [0.02, 0.03, 0.02]])
    shards = list(expand(base, rates, seed=5))
    assert len(shards) == 2
    for number, shard in enumerate(shards):
        rng = np.random.Generator(np.random.PCG64([5, number]))
        blocks = [fractal._block(base, count, rng) for count in kept_entries(base, rates)[number].tolist()]
        train, test = ([set() for _ in range(60)] for _ in range(2))
        for place, block in enumerate(blocks):
            for row, column, trains in zip(block.rows, block.columns, block.trains, strict=True):
                (train if trains else test)[row].add(int(column) + 40 * place)
        complete = [row for row in range(60) if train[row] and test[row]]
        assert 0 < len(complete) < 60
        assert shard.test_items.tolist() == [min(test[row]) for row in complete]
        assert [shard.items[start:end].tolist() for start, end in zip(shard.offsets, shard.offsets[1:], strict=False)] == [
            sorted(train[row]) for row in complete]


def test_written_arrays(tmp_path, events, base):
    written = write_expansion(tmp_path, events, 2, 3, 0)
    shards = list(expand(base, keep_rates(base, 2, 3, 0), 0))
    offsets, items, tests = (np.load(tmp_path / f"{name}.npy") for name in ("offsets", "items", "test_items"))
    np.testing.assert_array_equal(items, np.concatenate([shard.items for shard in shards]))
    np.testing.assert_array_equal(tests, np.concatenate([shard.test_items for shard in shards]))
    np.testing.assert_array_equal(np.diff(offsets), np.concatenate([np.diff(shard.offsets) for shard in shards]))
    assert (offsets.dtype, items.dtype, tests.dtype) == (np.int64, np.int32, np.int32)
    assert written == (len(tests), 120, len(items), 120 - len(tests)) and offsets[0] == 0 and offsets[-1] == len(items)
    assert (np.diff(items)[np.setdiff1d(np.arange(len(items) - 1), offsets[1:-1] - 1)] > 0).all()
    first = items
    write_expansion(tmp_path, events, 2, 3, 0)
    np.testing.assert_array_equal(np.load(tmp_path / "items.npy"), first)
    write_expansion(tmp_path, events, 2, 3, 1)
    assert not np.array_equal(np.load(tmp_path / "items.npy"), first)


def test_too_large_an_expansion_is_refused_before_it_is_made(tmp_path, events, monkeypatch):
    monkeypatch.setattr(fractal, "_LARGEST", 5_000)
    with pytest.raises(UserError, match=r"2 x 3 expansion would have about 1,\d\d\d training ratings .*more than the 5,000 .*item_factor"):
        write_expansion(tmp_path, events, 2, 3, 0)
    assert not list(tmp_path.iterdir())


def test_factors_far_too_large_are_refused_before_singular_values_are_sought(tmp_path, events, monkeypatch):
    monkeypatch.setattr(fractal, "_LARGEST", 5_000)
    monkeypatch.delattr(fractal, "truncated_svd")
    with pytest.raises(UserError, match=r"40 x 30 expansion would have at least \d,\d\d\d training ratings .*item_factor"):
        write_expansion(tmp_path, events, 40, 30, 0)
