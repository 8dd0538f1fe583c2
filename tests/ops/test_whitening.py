"""The whitening filter: second moments of its outputs, its second half, its order of axes."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jax_mlperf.ops.convolution import conv2d
from jax_mlperf.ops.whitening import whitening_filter


@pytest.fixture(scope="module")
def images() -> np.ndarray:
    noise = np.random.default_rng(0).normal(size=(40, 8, 8, 3))
    smooth = noise + 0.8 * np.roll(noise, 1, axis=2) + 0.5 * noise[..., ::-1] + 0.3  # correlated, and not centred
    return smooth.astype(np.float32)


def test_outputs_are_white(images):
    kernel = jax.jit(whitening_filter)(images)
    assert kernel.shape == (2, 2, 3, 24) and kernel.dtype == jnp.float32
    np.testing.assert_array_equal(kernel[..., 12:], -kernel[..., :12])
    outputs = np.asarray(conv2d(jnp.asarray(images), kernel, padding="VALID"))[..., :12].reshape(-1, 12)
    np.testing.assert_allclose(outputs.T @ outputs / len(outputs), np.eye(12), atol=2e-3)


def test_epsilon_bounds_the_gain(images):
    patches = np.lib.stride_tricks.sliding_window_view(images, (2, 2), axis=(1, 2)).transpose(0, 1, 2, 4, 5, 3).reshape(-1, 12)
    eigenvalues = np.linalg.eigvalsh(patches.T @ patches / len(patches))
    images = images / np.sqrt(eigenvalues[-1] / 1e-3)  # the powers are 1e-3 and less
    kernel = np.asarray(whitening_filter(jnp.asarray(images))).reshape(12, 24)
    np.testing.assert_allclose(np.linalg.norm(kernel[:, :12], axis=0), 1 / np.sqrt(eigenvalues * 1e-3 / eigenvalues[-1] + 5e-4), rtol=1e-3)
