"""The CIFAR-10 ResNets: depth 6n+2, basic blocks, in the three layouts that go by that name.

Facts: He et al. 2015 (arXiv:1512.03385) section 4.2; `mlbench/mlbench-core:mlbench_core/models/pytorch/resnet.py` and
`.../tensorflow/resnet_model.py`.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.errors import UserError
from jax_mlperf.models.batch_norm import BatchNorm
from jax_mlperf.models.convolution import Conv
from jax_mlperf.models.initializers import fill, normal, truncated_normal, uniform

_CLASSES = 10
Layout = Literal["mlbench", "tensorflow", "he"]

# Both sides, also at stride 2, where "SAME" would pad (0, 1).
_SYMMETRIC = ((1, 1), (1, 1))
_ZEROS = nnx.initializers.zeros_init()


@dataclass(frozen=True)
class _Settings:
    """What all blocks of one network have in common."""

    version: int
    layout: Layout
    norm: Callable[[int], BatchNorm]
    dtype: jax.typing.DTypeLike
    rngs: nnx.Rngs

    def conv(self, in_features: int, features: int, kernel_size: int, stride: int) -> Conv:
        """A convolution whose kernel `_initialise` fills."""
        return Conv(in_features, features, kernel_size, stride=stride,
                    padding=_SYMMETRIC if kernel_size == 3 else "VALID",
                    kernel_init=_ZEROS, dtype=self.dtype, rngs=self.rngs)


class Block(nnx.Module):
    """Two 3x3 convolutions and a shortcut.

    Version 1 is conv-BN-ReLU-conv-BN, add, ReLU; version 2 is BN-ReLU-conv-BN-ReLU-conv, add.
    """

    def __init__(self, in_features: int, features: int, stride: int, first: bool, settings: _Settings):
        self.version = settings.version
        self.stride, self.extra_features = stride, features - in_features
        self.norm1 = settings.norm(features if self.version == 1 else in_features)
        self.conv1 = settings.conv(in_features, features, 3, stride)
        self.norm2 = settings.norm(features)
        self.conv2 = settings.conv(features, features, 3, 1)
        # MLBench projects where the shape changes, TensorFlow in the first block of every group, He nowhere.
        changes = stride != 1 or in_features != features
        projects = {"mlbench": changes, "tensorflow": first, "he": False}[settings.layout]
        self.projection = settings.conv(in_features, features, 1, stride) if projects else None
        self.projects_activated = self.version == 2 and settings.layout == "tensorflow"
        normed = projects and not self.projects_activated
        self.projection_norm = settings.norm(features) if normed else None

    def __call__(self, x: jax.Array, *, train: bool, weights: jax.Array | None) -> jax.Array:
        """x [B, H, W, in_features] -> [B, H / stride, W / stride, features]."""
        if self.version == 1:
            y = self.norm1(self.conv1(x), train=train, weights=weights, relu=True)
            shortcut = self._shortcut(x, train, weights)
            return self.norm2(self.conv2(y), train=train, weights=weights, shortcut=shortcut, relu=True)
        activated = self.norm1(x, train=train, weights=weights, relu=True)
        y = self.norm2(self.conv1(activated), train=train, weights=weights, relu=True)
        return self.conv2(y) + self._shortcut(activated if self.projects_activated and self.projection else x, train, weights)

    def _shortcut(self, x: jax.Array, train: bool, weights: jax.Array | None) -> jax.Array:
        if self.projection is None:
            # He's option A: every stride-th pixel from the first on, new channels zero; otherwise the identity.
            return jnp.pad(x[:, :: self.stride, :: self.stride], ((0, 0), (0, 0), (0, 0), (0, self.extra_features)))
        x = self.projection(x)
        return x if self.projection_norm is None else self.projection_norm(x, train=train, weights=weights)


class ResNetCifar(nnx.Module):
    """ResNet-20/32/44/56 (any 6n+2) for 32x32 images: three groups of n blocks, width, 2*width and 4*width channels.

    Layouts:
      mlbench: 1x1 convolution and BN on the raw input of a block where shapes change, in both versions; version 2 keeps
        the BN-ReLU after the stem and has none before the pooling. Convolutions N(0, 2 / (k*k*out)) (Kaiming, fan-out),
        linear layer U(-1, 1) / sqrt(in) for kernel and bias (PyTorch's default).
      tensorflow: 1x1 convolution in the first block of every group; with BN in version 1, on the activated input and
        without BN in version 2. Version 2 has no BN after the stem, and BN-ReLU before the pooling. Convolutions truncated
        normal of variance 1 / fan-in, linear layer Glorot uniform with bias 0 (the framework's default).
      he: parameter-free shortcuts (option A), on the raw input in both versions; BN placed as in "tensorflow" (He et al.
        2016, arXiv:1603.05027); initial values as in "mlbench".

    Parameters of ResNet-20 at width 16: mlbench 272,474 (version 2: 272,378), tensorflow 272,762 (272,538), he 269,722.

    Args:
      depth: 6n+2 with n >= 1: number of convolutions and linear layers, shortcuts not counted.
      version: 1 (He et al. 2015) or 2 (pre-activation).
      layout: see above.
      width: channels of the first group.
      bn_group_size, workers: see models.batch_norm.BatchNorm.
      dtype: of activations and convolutions; pooling and linear layer are float32.
      rngs: stream "params".

    Raises:
      UserError: depth, version or layout is none of the above.
    """

    def __init__(self, *, depth: int, version: int = 1, layout: Layout = "mlbench", width: int = 16,
                 bn_group_size: int = 0, workers: int = 0, dtype: jax.typing.DTypeLike = jnp.float32, rngs: nnx.Rngs):
        _check(depth, version, layout)

        def norm(features: int) -> BatchNorm:
            return BatchNorm(features, momentum=0.9, epsilon=1e-5, group_size=bn_group_size, workers=workers,
                             dtype=dtype, rngs=rngs)

        settings = _Settings(version, layout, norm, dtype, rngs)
        self.dtype = dtype
        self.stem = settings.conv(3, width, 3, 1)
        self.stem_norm = norm(width) if version == 1 or layout == "mlbench" else None
        self.blocks = nnx.List([
            Block(_features(width, group, block - 1), width << group, 2 if group and not block else 1, not block, settings)
            for group in range(3) for block in range((depth - 2) // 6)])
        self.final_norm = norm(4 * width) if version == 2 and layout != "mlbench" else None
        self.head = nnx.Linear(4 * width, _CLASSES, kernel_init=_ZEROS, rngs=rngs)
        _initialise(self, layout, rngs)

    def __call__(self, images: jax.Array, *, train: bool, weights: jax.Array | None = None) -> jax.Array:
        """Logits float32 [B, 10] of normalised images [B, H, W, 3] (any float dtype).

        Args:
          images: 32x32 in the benchmark; any size that two halvings leave pixels of.
          train: normalise by the batch and update the running statistics, else normalise by those.
          weights: [B], 0 for padding rows, which do not count in the batch statistics; None: all rows count.
        """
        x = self.stem(images.astype(self.dtype))
        if self.stem_norm is not None:
            x = self.stem_norm(x, train=train, weights=weights, relu=True)
        for block in self.blocks:
            x = block(x, train=train, weights=weights)
        if self.final_norm is not None:
            x = self.final_norm(x, train=train, weights=weights, relu=True)
        return self.head(x.astype(jnp.float32).mean(axis=(1, 2)))


def _check(depth: int, version: int, layout: str) -> None:
    if depth < 8 or depth % 6 != 2:
        raise UserError(f"config.model.depth is {depth}, must be 6n+2: 20, 32, 44 or 56 (8 is the smallest)")
    if version not in (1, 2):
        raise UserError(f"config.model.version is {version}, must be 1 or 2")
    if layout not in get_args(Layout):
        raise UserError(f"config.model.layout is {layout!r}; there are: {', '.join(get_args(Layout))}")


def _features(width: int, group: int, previous_block: int) -> int:
    """Channels that a block reads: those of its group, or for the first block of a group those of the group before."""
    return width << (group if previous_block >= 0 else max(0, group - 1))


def _initialise(model: ResNetCifar, layout: Layout, rngs: nnx.Rngs) -> None:
    """Fills the convolutions and the linear layer as the layout has them (see ResNetCifar)."""
    kernels = [module.kernel for _, module in nnx.iter_modules(model) if isinstance(module, Conv)]
    fan_in = [math.prod(kernel.shape[:-1]) for kernel in kernels]
    fan_out = [math.prod(kernel.shape[:2]) * kernel.shape[-1] for kernel in kernels]
    in_features, features = model.head.kernel.shape
    if layout == "tensorflow":
        fill(kernels, truncated_normal, [fan**-0.5 for fan in fan_in], rngs.params())
        fill([model.head.kernel], uniform, [(6 / (in_features + features)) ** 0.5], rngs.params())
    else:
        fill(kernels, normal, [(2 / fan) ** 0.5 for fan in fan_out], rngs.params())
        assert model.head.bias is not None
        fill([model.head.kernel, model.head.bias], uniform, [in_features**-0.5] * 2, rngs.params())
