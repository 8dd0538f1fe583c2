"""Newton-Schulz at the specification's test points and against NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.newton_schulz import newton_schulz


def numpy_iterate(matrix):
    u, s, v = np.linalg.svd(matrix, full_matrices=False)
    s = s / np.linalg.norm(s)
    for _ in range(3):
        s = 3.4445 * s - 4.7750 * s**3 + 2.0315 * s**5
    return u @ np.diag(s) @ v


def test_diagonal():
    matrix = jnp.diag(jnp.asarray([3.0, 1.0]))
    with jax.enable_x64(True):
        exact = newton_schulz(jnp.asarray(np.diag([3.0, 1.0])), dtype=jnp.float64)
    np.testing.assert_allclose(exact, np.diag([0.68185647, 1.04139071]), atol=1e-7)
    rounded = newton_schulz(matrix)
    assert rounded.dtype == jnp.bfloat16
    np.testing.assert_array_equal(np.diag(rounded).astype(np.float32), [0.6875, 1.046875])


@pytest.mark.parametrize(("value", "expected"), [(1.0, 0.720706), (0.5, 0.824367), (0.1, 0.707080), (0.01, 0.400062)])
def test_map_of_a_singular_value(value, expected):
    other = (1 - value**2) ** 0.5  # the norm is 1
    result = newton_schulz(jnp.diag(jnp.asarray([value, other])), dtype=jnp.float32)
    assert float(result[0, 0]) == pytest.approx(expected, abs=2e-6)


@pytest.mark.parametrize("shape", [(4, 9), (9, 4)])
def test_batch_of_matrices(shape):
    matrices = np.random.default_rng(0).normal(size=(3, *shape)).astype(np.float32)
    results = newton_schulz(jnp.asarray(matrices), dtype=jnp.float32)
    for matrix, result in zip(matrices, results, strict=True):
        np.testing.assert_allclose(result, numpy_iterate(matrix), atol=1e-5)


def test_zero_stays_zero():
    assert not np.asarray(newton_schulz(jnp.zeros((3, 4)), dtype=jnp.float32)).any()
