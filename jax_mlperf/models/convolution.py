"""Convolution as a layer."""

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.ops.convolution import Padding, conv2d

Initializer = jax.nn.initializers.Initializer


class Conv(nnx.Module):
    """A square convolution without bias; its `kernel` is float32 [k, k, in, out].

    Args:
      in_features, out_features: channels.
      kernel_size: k.
      stride: of both axes.
      padding: "SAME", "VALID", or (low, high) of each of the two axes.
      kernel_init: initialiser of the kernel.
      dtype: of the activations and products.
      rngs: stream "params".
    """

    def __init__(
        self, in_features: int, out_features: int, kernel_size: int, *, stride: int = 1, padding: Padding,
        kernel_init: Initializer, dtype: jax.typing.DTypeLike, rngs: nnx.Rngs,
    ):
        self.stride, self.padding, self.dtype = stride, padding, jnp.dtype(dtype)
        shape = (kernel_size, kernel_size, in_features, out_features)
        self.kernel = nnx.Param(kernel_init(rngs.params(), shape, jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """x [N, H, W, in] -> [N, H', W', out]."""
        return conv2d(x.astype(self.dtype), self.kernel[...], stride=self.stride, padding=self.padding)
