"""Initial convolution kernels of a whole model from one draw of random numbers, by MLPerf's conventions."""

import math
from collections.abc import Callable
from typing import Literal, get_args

import jax
from flax import nnx

from jax_mlperf.models.convolution import Conv
from jax_mlperf.models.initializers import fill, normal, truncated_normal

ConvInit = Literal["tf1", "he", "xavier_gaussian"]

# Name -> (distribution of variance 1, scale). TF1's resnet_model.py (and lecun_normal of JAX 0.7's code): variance scaling 1;
# TF2's: he_normal; NVIDIA's 0.7 code: Xavier gaussian of magnitude 2, not truncated. All by fan-in.
_KINDS: dict[str, tuple[Callable[[jax.Array, int], jax.Array], float]] = {
    "tf1": (truncated_normal, 1.0),
    "he": (truncated_normal, 2.0),
    "xavier_gaussian": (normal, 2.0),
}


def check_conv_init(name: str) -> None:
    """Refuses unknown names.

    Raises:
      ValueError: lists the known ones.
    """
    if name not in _KINDS:
        raise ValueError(f"conv_init {name!r} is unknown; there are: {', '.join(get_args(ConvInit))}")


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
