"""The positional encoding's values at single points."""

import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.positions import sinusoidal_encoding


@pytest.mark.parametrize(
    ("dim", "position", "values"),
    [
        (4, 1, [0.841471, 0.0001, 0.540302, 1.0]),
        (4, 2, [0.909297, 0.0002, -0.416147, 1.0]),
        (8, 1, [0.841471, 0.046399, 0.002154, 0.0001, 0.540302, 0.998923, 0.999998, 1.0]),
    ],
)
def test_small(dim, position, values):
    np.testing.assert_allclose(sinusoidal_encoding(jnp.array(position), dim), values, atol=1e-6)


POINTS = {
    512: {
        (1, 1): 0.82177865,
        (1, 257): 0.56980685,
        (10, 100): 0.26673670,
        (10, 356): 0.96376944,
        (255, 255): 0.02549724,
    },
    1024: {
        (1, 1): 0.83168600,
        (1, 513): 0.55524624,
        (10, 100): 0.99694351,
        (10, 612): -0.0781258,
        (100, 1): -0.73411277,
        (255, 511): 0.02549724,
        (255, 1023): 0.99967489,
    },
}


@pytest.mark.parametrize("dim", POINTS)
def test_large(dim):
    table = sinusoidal_encoding(jnp.arange(256), dim)
    for (position, channel), value in POINTS[dim].items():
        # float32 angles of up to 255 radians carry an error of 1e-5
        assert float(table[position, channel]) == pytest.approx(value, abs=2e-5)


@pytest.mark.parametrize("dim", [2, 7])
def test_impossible_dimension_is_refused(dim):
    with pytest.raises(ValueError, match="even dimension of at least 4"):
        sinusoidal_encoding(jnp.arange(3), dim)
