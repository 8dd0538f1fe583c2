"""The largest singular values of a large sparse matrix of zeros and ones, by subspace iteration in NumPy."""

import numpy as np

_OVERSAMPLING = 8
_ITERATIONS = 12  # ML-100K's 16th value is then right to 4 digits, its first to 12


def truncated_svd(
    rows: np.ndarray, columns: np.ndarray, shape: tuple[int, int], count: int, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The first singular values, largest first, and their vectors.

    Randomised subspace iteration (Halko, Martinsson, Tropp, arXiv 0909.4061, algorithms 4.4 and 5.1), started from `seed`.

    Args:
      rows, columns: int [entries], the places of the ones, each once, in any order.
      count: how many values, at most min(shape).

    Returns:
      float64 [shape[0], count], [count], [shape[1], count].
    """
    by_row, by_column = _Sums(rows, columns, shape[0]), _Sums(columns, rows, shape[1])
    width = min(count + _OVERSAMPLING, *shape)
    right = np.random.Generator(np.random.PCG64(seed)).standard_normal((shape[1], width))
    for _ in range(_ITERATIONS):
        right, _, _ = _thin_svd(by_column(by_row(right)))
    left, values, turn = _thin_svd(by_row(right))
    return left[:, :count], values[:count], (right @ turn)[:, :count]


def _thin_svd(matrix: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """U, s, V of [n, k], n >> k, from the k x k product M^T M: LAPACK on the tall matrix takes many times longer.

    A value below 1e-7 of the largest is lost in rounding; its column of U is not a unit vector then, but never huge.
    """
    squares, right = np.linalg.eigh(matrix.T @ matrix)
    values = np.sqrt(np.maximum(squares[::-1], 0))
    right = right[:, ::-1]
    return matrix @ right / np.maximum(values, 1e-7 * values[0]), values, right


class _Sums:
    """Multiplication with the matrix: out[g] is the sum of dense[m] over the entries (g, m)."""

    def __init__(self, groups: np.ndarray, members: np.ndarray, group_count: int):
        order = np.argsort(groups, kind="stable")
        self._members = members[order]
        self._first = np.flatnonzero(np.diff(groups[order], prepend=-1))
        self._groups, self._count = groups[order][self._first], group_count

    def __call__(self, dense: np.ndarray) -> np.ndarray:
        out = np.zeros((self._count, dense.shape[1]))
        for number, column in enumerate(np.ascontiguousarray(dense.T)):  # one at a time: reduceat is slow on rows of a matrix
            out[self._groups, number] = np.add.reduceat(column[self._members], self._first)
        return out
