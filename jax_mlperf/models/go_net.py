"""minigo's residual network: from the planes of a Go position to a policy and to Black's value.

Facts: `mlcommons/training:reinforcement/tensorflow/minigo/dual_net.py` at the commits ea50328d (v0.5) and 8839e658 (v0.6).
"""

import math

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.models.batch_norm import BatchNorm
from jax_mlperf.models.convolution import Conv
from jax_mlperf.models.initializers import fill, uniform

_ZEROS = nnx.initializers.zeros_init()


class ConvNorm(nnx.Module):
    """A convolution with batch norm: `conv`, `bias` (where the convolution has one) and `norm`.

    Args:
      in_features, out_features: channels.
      kernel_size: 3 or 1, padded so that the board keeps its size.
      conv_bias: whether the convolution has a bias.
      affine: whether the batch norm has a scale and a bias (gamma and beta).
      momentum, epsilon, group_devices: of the batch norm.
      dtype: of the convolution.
      norm_dtype: of the batch norm and the result.
      rngs: stream "params".
    """

    def __init__(
        self, in_features: int, out_features: int, kernel_size: int, *, conv_bias: bool, affine: bool, momentum: float,
        epsilon: float, group_devices: int, dtype: jax.typing.DTypeLike, norm_dtype: jax.typing.DTypeLike, rngs: nnx.Rngs,
    ):
        self.conv = Conv(in_features, out_features, kernel_size, padding="SAME", kernel_init=_ZEROS, dtype=dtype, rngs=rngs)
        self.bias = nnx.Param(jnp.zeros((out_features,), jnp.float32)) if conv_bias else None
        self.norm = BatchNorm(out_features, momentum=momentum, epsilon=epsilon, group_devices=group_devices,
                              use_scale=affine, use_bias=affine, dtype=norm_dtype, rngs=rngs)

    def __call__(self, x: jax.Array, *, train: bool, shortcut: jax.Array | None = None) -> jax.Array:
        """x [B, s, s, in_features] -> ReLU of the sum with the shortcut, [B, s, s, out_features]."""
        x = self.conv(x)
        if self.bias is not None:
            # The batch's mean takes a bias away again, so that its gradient is exactly zero: no need to sum it up.
            bias = jax.lax.stop_gradient(self.bias[...]) if train else self.bias[...]
            x = x + bias.astype(x.dtype)
        return self.norm(x, train=train, shortcut=shortcut, relu=True)


class GoNet(nnx.Module):
    """The network of AlphaGo Zero in minigo's size.

    A 3x3 convolution, blocks of two 3x3 convolutions around a shortcut, and two heads. Policy: 1x1 convolution to 2 channels,
    batch norm without scale and bias, ReLU, dense layer. Value: the same with 1 channel, then dense, ReLU, dense, tanh. Kernels
    are Glorot uniform, biases 0 (the framework's defaults, as the reference names no initialiser).

    Parameters (and batch-norm statistics) on 9x9: v0.5 (17 planes, 9 blocks of 32, conv_bias) 191,386 (1,222), v0.6 (the same
    without conv_bias) 190,775 (1,222). v0.7+ on 19x19 (13 planes, 6 blocks of 64): 736,671 (1,670).

    Args:
      size: s, points along an edge; the network answers for s * s + 1 actions.
      planes: C, channels of the input.
      filters: channels of the residual blocks.
      blocks: residual blocks.
      value_width: hidden units of the value head.
      conv_bias: whether convolutions have biases (v0.5).
      bn_momentum: of the running statistics: 0.997 in v0.5, 0.95 later.
      bn_epsilon: added to the variance.
      bn_devices: neighbouring devices that share batch statistics (inside shard_map, axis "data").
      dtype: of convolutions and residual blocks; heads after their convolution are float32.
      rngs: stream "params".
    """

    def __init__(
        self, *, size: int = 9, planes: int = 17, filters: int = 32, blocks: int = 9, value_width: int = 64,
        conv_bias: bool = True, bn_momentum: float = 0.997, bn_epsilon: float = 1e-5, bn_devices: int = 1,
        dtype: jax.typing.DTypeLike = jnp.bfloat16, rngs: nnx.Rngs,
    ):
        def unit(in_features: int, out_features: int, kernel_size: int) -> ConvNorm:
            head = kernel_size == 1
            return ConvNorm(in_features, out_features, kernel_size, conv_bias=conv_bias, affine=not head,
                            momentum=bn_momentum, epsilon=bn_epsilon, group_devices=bn_devices, dtype=dtype,
                            norm_dtype=jnp.float32 if head else dtype, rngs=rngs)

        def dense(in_features: int, out_features: int) -> nnx.Linear:
            return nnx.Linear(in_features, out_features, kernel_init=_ZEROS, rngs=rngs)

        self.stem = unit(planes, filters, 3)
        self.blocks = nnx.List([nnx.List([unit(filters, filters, 3) for _ in range(2)]) for _ in range(blocks)])
        self.policy_conv = unit(filters, 2, 1)
        self.policy = dense(2 * size**2, size**2 + 1)
        self.value_conv = unit(filters, 1, 1)
        self.value_hidden = dense(size**2, value_width)
        self.value = dense(value_width, 1)
        _initialise(self, rngs)

    def __call__(self, planes: jax.Array, *, train: bool) -> tuple[jax.Array, jax.Array]:
        """Policy and value of positions.

        Args:
          planes: [B, s, s, C], any dtype: see `go.features`.
          train: normalise by the batch and update the running statistics, else normalise by those.

        Returns:
          (logits float32 [B, s * s + 1], the last one the pass; value float32 [B] for Black, between -1 and 1).
        """
        x = self.stem(planes, train=train)
        for first, second in self.blocks:
            x = second(first(x, train=train), train=train, shortcut=x)
        logits = self.policy(_flat(self.policy_conv(x, train=train)))
        hidden = nnx.relu(self.value_hidden(_flat(self.value_conv(x, train=train))))
        return logits, jnp.tanh(self.value(hidden)[:, 0])


def _flat(x: jax.Array) -> jax.Array:
    """[B, s, s, C] -> [B, s * s * C], the channels of a point side by side."""
    return x.reshape(x.shape[0], -1)


def _initialise(model: GoNet, rngs: nnx.Rngs) -> None:
    """Glorot and Bengio 2010: uniform between the roots of 6 / (fan-in + fan-out), both times the taps of a convolution."""
    kernels = [module.kernel for _, module in nnx.iter_modules(model) if isinstance(module, (Conv, nnx.Linear))]
    fans = [math.prod(kernel.shape[:-2]) * sum(kernel.shape[-2:]) for kernel in kernels]
    fill(kernels, uniform, [(6 / fan) ** 0.5 for fan in fans], rngs.params())
