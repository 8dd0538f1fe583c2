"""Initial kernels: standard deviation and truncation of every convention."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.models.convolution import Conv
from jax_mlperf.models.initializers import initialize_kernels

ZEROS = nnx.initializers.zeros_init()


class Two(nnx.Module):
    def __init__(self, rngs):
        self.wide = Conv(256, 64, 3, padding="SAME", kernel_init=ZEROS, dtype=jnp.float32, rngs=rngs)
        self.narrow = Conv(64, 32, 1, padding="SAME", kernel_init=ZEROS, dtype=jnp.float32, rngs=rngs)


@pytest.mark.parametrize("name, deviation, largest", [("he", 0.029463, 0.0670), ("tf1", 0.020833, 0.0474),
                                                      ("xavier_gaussian", 0.029463, None)])
def test_deviation_and_truncation(name, deviation, largest):
    model = Two(nnx.Rngs(params=0))
    initialize_kernels(model, name, jax.random.key(1))
    wide, narrow = np.asarray(model.wide.kernel[...]), np.asarray(model.narrow.kernel[...])
    assert wide.std() == pytest.approx(deviation, rel=0.01)  # 147,456 numbers: a relative error of 0.2 %
    assert narrow.std() == pytest.approx(deviation * (2304 / 64) ** 0.5, rel=0.06)
    assert abs(wide.mean()) < 3 * deviation / wide.size**0.5
    if largest:
        assert 0.995 * largest < abs(wide).max() <= 1.001 * largest
    else:
        assert abs(wide).max() > 3.5 * deviation
