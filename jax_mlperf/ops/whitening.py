"""The frozen first filter of the airbench networks, which whitens patches of the training images."""

import jax
import jax.numpy as jnp

PATCH = 2
_EPSILON = 5e-4  # bounds the gain of weak directions


def whitening_filter(images: jax.Array) -> jax.Array:
    """A 2x2 convolution kernel whose outputs are uncorrelated and of unit power over the given images, and its negative.

    The 12 eigenvectors of the uncentred second-moment matrix of all 2x2x3 patches, each over sqrt(eigenvalue + 5e-4), then
    the same negated (`KellerJordan/cifar10-airbench:airbench94_muon.py`, init_whiten, of the first 5,000 training images). The
    sign of an eigenvector is the library's choice; with the negatives the filter holds both.

    Args:
      images: normalised, float [n, H, W, 3]; moments are summed in float32.

    Returns:
      float32 [2, 2, 3, 24].
    """
    images = images.astype(jnp.float32)
    channels = images.shape[-1]
    height, width = images.shape[1] - 1, images.shape[2] - 1
    shifted = [images[:, y:y + height, x:x + width] for y in range(PATCH) for x in range(PATCH)]
    patches = jnp.concatenate(shifted, axis=-1).reshape(-1, PATCH * PATCH * channels)
    # One image at a time would be less memory; 5,000 images of 32x32 pixels are 230 MB of patches.
    moments = jnp.matmul(patches.T, patches, precision=jax.lax.Precision.HIGHEST) / len(patches)
    eigenvalues, eigenvectors = jnp.linalg.eigh(moments)
    filters = eigenvectors / jnp.sqrt(eigenvalues + _EPSILON)
    return jnp.concatenate([filters, -filters], axis=1).reshape(PATCH, PATCH, channels, -1)
