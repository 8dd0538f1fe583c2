"""Initial values of many parameters from one draw of random numbers."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.convolution import Conv

ConvInit = Literal["tf1", "he", "xavier_gaussian"]

# Standard deviation of a standard normal number that lies between -2 and 2, by which variance scaling widens it.
_TRUNCATED_DEVIATION = 0.87962566103423978


def normal(key: jax.Array, size: int) -> jax.Array:
    """float32 [size] of mean 0 and variance 1."""
    return jax.random.normal(key, (size,), jnp.float32)


def truncated_normal(key: jax.Array, size: int) -> jax.Array:
    """float32 [size] of mean 0 and variance 1: a normal number cut at two deviations, then widened."""
    return jax.random.truncated_normal(key, -2.0, 2.0, (size,), jnp.float32) / _TRUNCATED_DEVIATION


def uniform(key: jax.Array, size: int) -> jax.Array:
    """float32 [size] between -1 and 1."""
    return jax.random.uniform(key, (size,), jnp.float32, -1.0, 1.0)


def fill(
    params: Sequence[nnx.Param], draw: Callable[[jax.Array, int], jax.Array], scales: Sequence[float], key: jax.Array
) -> None:
    """Gives every parameter numbers of one draw, times its scale.

    XLA's CPU compiler needs half a second for each generator in a program, and 2 to 7 seconds where its numbers are drawn in
    the shape of a 3x3 kernel (jaxlib 0.10.2).

    Args:
      params: replaced in place; their shapes stay.
      draw: `normal`, `truncated_normal` or `uniform`.
      scales: one for each parameter.
      key: random key.
    """
    sizes = [math.prod(param.shape) for param in params]
    numbers = draw(key, sum(sizes))
    start = 0
    for param, size, scale in zip(params, sizes, scales, strict=True):
        param.set_value(numbers[start:start + size].reshape(param.shape) * scale)  # indexing it asks for its sharding each time
        start += size


# Name -> (distribution of variance 1, scale). TF1's resnet_model.py (and lecun_normal of JAX 0.7's code): variance scaling 1;
# TF2's: he_normal; NVIDIA's 0.7 code: Xavier gaussian of magnitude 2, not truncated. All by fan-in.
_KINDS: dict[str, tuple[Callable[[jax.Array, int], jax.Array], float]] = {
    "tf1": (truncated_normal, 1.0),
    "he": (truncated_normal, 2.0),
    "xavier_gaussian": (normal, 2.0),
}


def initialize_kernels(model: nnx.Module, conv_init: ConvInit, key: jax.Array) -> None:
    """Fills the kernel of every `Conv` in the model with independent numbers of variance scale / fan-in, all from one draw.

    Args:
      model: its `Conv` kernels [k, k, in, out] are replaced.
      conv_init: "tf1" (truncated normal, scale 1), "he" (truncated normal, scale 2) or "xavier_gaussian" (normal, scale 2).
      key: random key.
    """
    draw, scale = _KINDS[conv_init]
    kernels = [module.kernel for _, module in nnx.iter_modules(model) if isinstance(module, Conv)]
    fill(kernels, draw, [math.sqrt(scale / math.prod(kernel.shape[:-1])) for kernel in kernels], key)
