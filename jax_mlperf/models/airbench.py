"""The eight-layer network of the CIFAR-10 speed records (`KellerJordan/cifar10-airbench:airbench94_muon.py`)."""

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.batch_norm import BatchNorm
from jax_mlperf.models.convolution import Conv
from jax_mlperf.models.initializers import fill, uniform
from jax_mlperf.ops.convolution import conv2d
from jax_mlperf.ops.gelu import gelu
from jax_mlperf.ops.max_pool import max_pool
from jax_mlperf.ops.whitening import PATCH

_CLASSES = 10
STEM_FEATURES = 2 * 3 * PATCH**2
_ZEROS = nnx.initializers.zeros_init()


class Group(nnx.Module):
    """conv - max-pool 2 - BN - GELU - conv - BN - GELU, all convolutions 3x3."""

    def __init__(self, in_features: int, features: int, *, bn_group_size: int, workers: int, dtype: jax.typing.DTypeLike,
                 rngs: nnx.Rngs):
        def norm() -> BatchNorm:
            # 1e-12 bounds nothing but a channel without variance; the statistics are float32.
            return BatchNorm(features, momentum=0.6, epsilon=1e-12, use_scale=False, group_size=bn_group_size,
                             workers=workers, dtype=dtype, rngs=rngs)

        self.conv1 = Conv(in_features, features, 3, padding="SAME", kernel_init=_ZEROS, dtype=dtype, rngs=rngs)
        self.norm1 = norm()
        self.conv2 = Conv(features, features, 3, padding="SAME", kernel_init=_ZEROS, dtype=dtype, rngs=rngs)
        self.norm2 = norm()

    def __call__(self, x: jax.Array, *, train: bool, weights: jax.Array | None) -> jax.Array:
        """x [B, H, W, in_features] -> [B, H // 2, W // 2, features]."""
        x = gelu(self.norm1(_pooled(self.conv1(x), 2), train=train, weights=weights))
        return gelu(self.norm2(self.conv2(x), train=train, weights=weights))


class Airbench(nnx.Module):
    """Whitening stem, three groups, linear layer; batch norm without scale.

    Sizes for 32x32 images and the standard widths: 31x31x24, 15x15x64, 7x7x256, 3x3x256, 1x1x256. 1,971,352 trained parameters;
    the reference's 1,972,792 count the stem's 288 frozen weights and 1,152 frozen scales as well.

    Initial values are PyTorch's defaults, U(-1, 1) / sqrt(fan-in); the head is then scaled to standard deviation 1.

    Args:
      widths: channels of the groups.
      whitening: the stem's kernel is the one given to each call (see ops.whitening), only its bias is trained; otherwise the
        kernel is a parameter like any other.
      dirac_init: the first in_features outputs of each 3x3 convolution start as copies of its inputs.
      zero_stem_bias: airbench94 starts the stem's bias at 0, airbench94_muon at PyTorch's default.
      logit_scale: factor of the logits: 1/256 (airbench94_muon: 1 / widths[-1]), 1/9 (airbench94).
      bn_group_size, workers: see models.batch_norm.BatchNorm.
      dtype: of activations and convolutions; the linear layer is float32.
      rngs: stream "params".
    """

    def __init__(self, *, widths: tuple[int, int, int] = (64, 256, 256), whitening: bool = True, dirac_init: bool = True,
                 zero_stem_bias: bool = False, logit_scale: float = 1 / 256, bn_group_size: int = 0, workers: int = 0,
                 dtype: jax.typing.DTypeLike = jnp.bfloat16, rngs: nnx.Rngs):
        self.dtype, self.logit_scale = jnp.dtype(dtype), logit_scale
        self.stem_kernel = None if whitening else nnx.Param(jnp.zeros((PATCH, PATCH, 3, STEM_FEATURES)))
        self.stem_bias = nnx.Param(jnp.zeros(STEM_FEATURES))
        self.groups = nnx.List([
            Group(in_features, features, bn_group_size=bn_group_size, workers=workers, dtype=dtype, rngs=rngs)
            for in_features, features in zip((STEM_FEATURES, *widths), widths, strict=False)])
        self.head = nnx.Linear(widths[-1], _CLASSES, use_bias=False, kernel_init=_ZEROS, rngs=rngs)
        self._initialise(dirac_init, zero_stem_bias, rngs)

    def _initialise(self, dirac_init: bool, zero_stem_bias: bool, rngs: nnx.Rngs) -> None:
        kernels = [conv.kernel for group in self.groups for conv in (group.conv1, group.conv2)]
        params = [*kernels, self.head.kernel]
        scales = [(kernel.size // kernel.shape[-1]) ** -0.5 for kernel in params]
        stem = [self.stem_kernel, None if zero_stem_bias else self.stem_bias]
        params += [param for param in stem if param is not None]
        scales += [(3 * PATCH**2) ** -0.5] * (len(params) - len(scales))
        fill(params, uniform, scales, rngs.params())
        self.head.kernel[...] = self.head.kernel[...] / jnp.std(self.head.kernel[...], ddof=1)
        if dirac_init:
            for kernel in kernels:
                kernel[...] = _with_dirac(kernel[...])

    def __call__(
        self, images: jax.Array, whitening: jax.Array | None, *, train: bool, weights: jax.Array | None = None
    ) -> jax.Array:
        """Logits float32 [B, 10] of normalised images [B, 32, 32, 3].

        Args:
          images: any float dtype.
          whitening: [2, 2, 3, 24], see ops.whitening; None without a whitening stem.
          train: normalise by the batch and update the running statistics, else normalise by those.
          weights: [B], 0 for padding rows, which do not count in the batch statistics; None: all rows count.

        Raises:
          ValueError: the filter is missing, or given to a network that trains its own.
        """
        if (whitening is None) == (self.stem_kernel is None):
            raise ValueError("a whitening filter is needed with whitening, and only then")
        kernel = whitening if self.stem_kernel is None else self.stem_kernel[...]
        assert kernel is not None
        x = conv2d(images.astype(self.dtype), kernel, padding="VALID")
        x = gelu(x + self.stem_bias[...].astype(self.dtype))
        for group in self.groups:
            x = group(x, train=train, weights=weights)
        x = _pooled(x, 3).astype(jnp.float32).reshape(x.shape[0], -1)
        return self.head(x) * self.logit_scale


def _pooled(x: jax.Array, size: int) -> jax.Array:
    """Maxima of size x size windows without overlap or padding; rows and columns that are left over are cut off."""
    return max_pool(x, size, size, ((0, 0), (0, 0)))


def _with_dirac(kernel: jax.Array) -> jax.Array:
    """[3, 3, in, out] whose first min(in, out) outputs copy the input of their number."""
    copies = min(kernel.shape[2:])
    identity = jnp.pad(jnp.eye(kernel.shape[2], copies)[None, None], ((1, 1), (1, 1), (0, 0), (0, 0)))
    return jnp.concatenate([identity, kernel[..., copies:]], axis=-1)
