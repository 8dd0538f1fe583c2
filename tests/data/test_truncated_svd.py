"""The truncated SVD against LAPACK on a dense copy."""

import numpy as np
import pytest

from jax_mlperf.data.truncated_svd import truncated_svd


def low_rank_ones(seed=0):
    """Blocks of ones of different sizes and a little noise: clear gaps between the first singular values."""
    rng = np.random.default_rng(seed)
    dense = np.zeros((120, 90))
    for start, size in ((0, 50), (50, 30), (80, 15)):
        dense[start : start + size, start * 3 // 4 : start * 3 // 4 + size // 2] = 1
    dense[rng.random(dense.shape) < 0.03] = 1
    dense[17] = dense[:, 5] = 0  # an empty row and an empty column
    return dense


@pytest.mark.parametrize("transposed", [False, True])
def test_against_lapack(transposed):
    dense = low_rank_ones().T if transposed else low_rank_ones()
    rows, columns = np.nonzero(dense)
    shuffled = np.random.default_rng(1).permutation(len(rows))
    left, values, right = truncated_svd(rows[shuffled], columns[shuffled], dense.shape, 3, seed=0)
    expected_left, expected, expected_right = np.linalg.svd(dense, full_matrices=False)
    np.testing.assert_allclose(values, expected[:3], rtol=1e-9)
    np.testing.assert_allclose(np.abs((left * expected_left[:, :3]).sum(0)), 1, rtol=1e-6)
    np.testing.assert_allclose(np.abs((right.T * expected_right[:3]).sum(1)), 1, rtol=1e-6)
    np.testing.assert_allclose(left * values @ right.T, expected_left[:, :3] * expected[:3] @ expected_right[:3], atol=1e-5)


def test_all_values_of_a_small_matrix_of_low_rank():
    dense = np.zeros((6, 4))
    dense[:3, :2] = 1
    left, values, right = truncated_svd(*np.nonzero(dense), dense.shape, 4, seed=0)
    np.testing.assert_allclose(values, [6**0.5, 0, 0, 0], atol=1e-6)
    np.testing.assert_allclose(left * values @ right.T, dense, atol=1e-6)
