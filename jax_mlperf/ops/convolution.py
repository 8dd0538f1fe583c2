"""Two-dimensional convolution, channels last."""

from collections.abc import Sequence

import jax
from jax import lax

Padding = str | Sequence[tuple[int, int]]


def conv2d(x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: Padding = "SAME") -> jax.Array:
    """Convolution of [N, H, W, Ci] with [kh, kw, Ci, Co] -> [N, H', W', Co], computed in the dtype of x.

    Args:
      x: activations.
      kernel: any float dtype; cast to that of x.
      stride: of both axes.
      padding: "SAME", "VALID", or (low, high) of each of the two axes.
    """
    return lax.conv_general_dilated(x, kernel.astype(x.dtype), (stride, stride), padding,
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"))
