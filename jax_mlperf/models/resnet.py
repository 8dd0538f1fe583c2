"""ResNet-50 v1.5 and its family for ImageNet: bottleneck blocks with the stride on the 3x3 convolution."""

import dataclasses
from collections.abc import Sequence
from typing import Literal, get_args

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.batch_norm import BatchNorm
from jax_mlperf.models.convolution import Conv
from jax_mlperf.models.initializers import ConvInit, initialize_kernels
from jax_mlperf.ops.convolution import Padding, conv2d
from jax_mlperf.ops.max_pool import max_pool

Stem = Literal["conv7", "space_to_depth"]
PaddingStyle = Literal["same", "symmetric", "tf1"]

# He et al. 2016, section 4: the last convolution of a block has four times the width of the others.
_EXPANSION = 4
_BEHIND, _AROUND = (0, 1), (1, 1)  # padding of a 3x3 window with stride 2 on an even axis: "SAME", and one on both sides
_ZEROS = nnx.initializers.zeros_init()
_CONV_PADDING: dict[str, Padding] = {"same": "SAME", "symmetric": (_AROUND, _AROUND), "tf1": (_AROUND, _AROUND)}


@dataclasses.dataclass(frozen=True)
class ResNetSettings:
    """What all layers of one model have in common; see `ResNet`."""

    padding: PaddingStyle
    zero_gamma: bool
    bn_group_size: int
    bn_group_devices: int
    bn_momentum: float
    bn_epsilon: float
    dtype: jnp.dtype

    def conv(self, in_features: int, out_features: int, kernel_size: int, stride: int, rngs: nnx.Rngs) -> Conv:
        """A convolution with the model's padding and dtype; `initialize_kernels` fills it."""
        padding = "VALID" if kernel_size == 1 else _CONV_PADDING[self.padding]
        return Conv(in_features, out_features, kernel_size, stride=stride, padding=padding,
                    kernel_init=_ZEROS, dtype=self.dtype, rngs=rngs)

    def batch_norm(self, features: int, rngs: nnx.Rngs, last: bool = False) -> BatchNorm:
        """A batch norm of the model; `last` is the one before the addition of the shortcut."""
        zero = last and self.zero_gamma
        init = _ZEROS if zero else nnx.initializers.ones_init()
        return BatchNorm(features, momentum=self.bn_momentum, epsilon=self.bn_epsilon, group_size=self.bn_group_size,
                         group_devices=self.bn_group_devices, scale_init=init, dtype=self.dtype, rngs=rngs)


class Bottleneck(nnx.Module):
    """1x1, 3x3 (with the stride: "v1.5"), 1x1 convolution, batch norm behind each, plus the shortcut, then ReLU.

    The shortcut is the input, or a 1x1 convolution with batch norm of it (`conv1sc`, `bnsc`) in the first block of a stage.
    """

    def __init__(self, in_features: int, width: int, stride: int, project: bool, settings: ResNetSettings, rngs: nnx.Rngs):
        out_features = _EXPANSION * width
        self.conv1 = settings.conv(in_features, width, 1, 1, rngs)
        self.bn1 = settings.batch_norm(width, rngs)
        self.conv2 = settings.conv(width, width, 3, stride, rngs)
        self.bn2 = settings.batch_norm(width, rngs)
        self.conv3 = settings.conv(width, out_features, 1, 1, rngs)
        self.bn3 = settings.batch_norm(out_features, rngs, last=True)
        self.conv1sc = settings.conv(in_features, out_features, 1, stride, rngs) if project else None
        self.bnsc = settings.batch_norm(out_features, rngs) if project else None

    def __call__(self, x: jax.Array, *, train: bool, weights: jax.Array | None) -> jax.Array:
        """x [B, H, W, in] -> [B, H / stride, W / stride, 4 width]."""
        y = self.bn1(self.conv1(x), train=train, weights=weights, relu=True)
        y = self.bn2(self.conv2(y), train=train, weights=weights, relu=True)
        y = self.conv3(y)
        if self.conv1sc is not None and self.bnsc is not None:
            x = self.bnsc(self.conv1sc(x), train=train, weights=weights)
        return self.bn3(y, train=train, weights=weights, shortcut=x, relu=True)


class ResNet(nnx.Module):
    """ResNet v1.5 (He et al. 2016 with the stride on the 3x3 convolution, as resnet_model.py of both MLPerf references).

    The default is ResNet-50: 25,557,032 parameters in 161 arrays, 4,089,184,256 multiply-adds for a 224 x 224 image. Module
    names are those of MLPerf's weights_initialization lines (`models.resnet_names`).

    Args:
      stage_sizes: blocks of each stage; every stage but the first halves the image, every one doubles the width.
      width: channels of the stem and of the inner convolutions of the first stage.
      num_classes: 1000, or 1001 with a background class.
      stem: "conv7", or "space_to_depth": the same function of the same 7x7 kernel, computed as a 4x4 convolution with stride
        1 of 2x2 pixels with 12 channels (even image sizes only).
      padding: of 3x3 windows with stride 2: "same" (0, 1) as TF2 and JAX 0.7; "symmetric" (1, 1) as NVIDIA and PyTorch; "tf1"
        (1, 1) in convolutions and (0, 1) in the max-pool. Weights are not interchangeable between them.
      conv_init: kernels' initial values: "tf1", "he" or "xavier_gaussian", see `models.initializers`.
      zero_gamma: the last batch norm of a block starts with scale 0 (JAX 0.7), so that the block starts as its shortcut.
      bn_group_size, bn_group_devices, bn_momentum, bn_epsilon: see `models.batch_norm.BatchNorm`.
      dtype: of activations and products; parameters, statistics and logits are float32.
      rngs: stream "params".

    Raises:
      ValueError: a name is not one of those above.
    """

    def __init__(
        self, *, stage_sizes: Sequence[int] = (3, 4, 6, 3), width: int = 64, num_classes: int = 1000, stem: Stem = "conv7",
        padding: PaddingStyle = "same", conv_init: ConvInit = "tf1", zero_gamma: bool = False, bn_group_size: int = 0,
        bn_group_devices: int = 1, bn_momentum: float = 0.9, bn_epsilon: float = 1e-5,
        dtype: jax.typing.DTypeLike = jnp.bfloat16, rngs: nnx.Rngs,
    ):
        for what, value, names in (("stem", stem, Stem), ("padding", padding, PaddingStyle), ("conv_init", conv_init, ConvInit)):
            if value not in get_args(names):
                raise ValueError(f"{what} {value!r} is unknown; there are: {', '.join(get_args(names))}")
        settings = ResNetSettings(padding, zero_gamma, bn_group_size, bn_group_devices, bn_momentum, bn_epsilon, jnp.dtype(dtype))
        self.settings, self.stem = settings, stem
        # 3 on either side of the 7x7 kernel in every convention.
        self.conv0 = Conv(3, width, 7, stride=2, padding=((3, 3), (3, 3)), kernel_init=_ZEROS, dtype=settings.dtype, rngs=rngs)
        self.bn0 = settings.batch_norm(width, rngs)
        self.stages: nnx.List[nnx.List[Bottleneck]] = nnx.List()
        features = width
        for stage, size in enumerate(stage_sizes):
            inner = width * 2**stage
            blocks: nnx.List[Bottleneck] = nnx.List()
            for unit in range(size):
                stride = 2 if stage > 0 and unit == 0 else 1
                blocks.append(Bottleneck(features, inner, stride, unit == 0, settings, rngs))
                features = _EXPANSION * inner
            self.stages.append(blocks)
        self.fc1 = Dense(features, num_classes, settings.dtype, rngs)
        initialize_kernels(self, conv_init, rngs.params())

    def __call__(self, images: jax.Array, *, train: bool, weights: jax.Array | None = None) -> jax.Array:
        """Normalised images [B, H, W, 3] -> logits float32 [B, num_classes]; `weights` [B] is 0 for padding rows."""
        x = self.stem_features(images, train=train, weights=weights)
        for blocks in self.stages:
            for block in blocks:
                x = block(x, train=train, weights=weights)
        return self.fc1(x.astype(jnp.float32).mean(axis=(1, 2)))

    def stem_features(self, images: jax.Array, *, train: bool, weights: jax.Array | None) -> jax.Array:
        """Convolution, batch norm, ReLU and max-pool: [B, H, W, 3] -> [B, H / 4, W / 4, width]."""
        x = images.astype(self.settings.dtype)
        x = self.conv0(x) if self.stem == "conv7" else space_to_depth_conv(x, self.conv0.kernel[...])
        return self.pool(self.bn0(x, train=train, weights=weights, relu=True))

    def pool(self, x: jax.Array) -> jax.Array:
        """3x3 max-pool with stride 2 and the model's padding."""
        side = _AROUND if self.settings.padding == "symmetric" else _BEHIND
        return max_pool(x, 3, 2, (side, side))


class Dense(nnx.Module):
    """Features to float32 logits; kernel Normal(0, 0.01) [in, out] (MLPerf v0.6 and later), bias 0."""

    def __init__(self, in_features: int, out_features: int, dtype: jnp.dtype, rngs: nnx.Rngs):
        self.dtype = dtype
        self.kernel = nnx.Param(0.01 * jax.random.normal(rngs.params(), (in_features, out_features), jnp.float32))
        self.bias = nnx.Param(jnp.zeros((out_features,), jnp.float32))

    def __call__(self, x: jax.Array) -> jax.Array:
        """x [B, in] -> float32 [B, out]; the product takes operands of `dtype` and sums in float32."""
        kernel = self.kernel[...].astype(self.dtype)
        return jnp.dot(x.astype(self.dtype), kernel, preferred_element_type=jnp.float32) + self.bias[...]


def space_to_depth_conv(images: jax.Array, kernel: jax.Array) -> jax.Array:
    """The 7x7 convolution with stride 2 and padding 3, as 4x4 with stride 1 on blocks of 2x2 pixels.

    Kernel and blocks have their channels in the order (row, column, colour); the kernel gets a first row and column of zeros.

    Args:
      images: [B, H, W, C], H and W even.
      kernel: [7, 7, C, out].

    Returns:
      [B, H / 2, W / 2, out].
    """
    batch, height, width, channels = images.shape
    blocks = images.reshape(batch, height // 2, 2, width // 2, 2, channels).transpose(0, 1, 3, 2, 4, 5)
    blocks = blocks.reshape(batch, height // 2, width // 2, 4 * channels)
    padded = jnp.pad(kernel, ((1, 0), (1, 0), (0, 0), (0, 0)))
    taps = padded.reshape(4, 2, 4, 2, channels, -1).transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, 4 * channels, -1)
    return conv2d(blocks, taps, padding=((2, 1), (2, 1)))
