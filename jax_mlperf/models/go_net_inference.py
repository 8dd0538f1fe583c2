"""GoNet for play: batch norm folded into the convolutions, so that each is one kernel with its bias, shortcut and ReLU.

A search evaluates the network with the same weights hundreds of times a move; in the form for training every batch norm is a
pass over the activations of its own (on an H200, `plan` counts half of a simulation's memory traffic for them).
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax import lax

from jax_mlperf.models.go_net import ConvNorm, GoNet


class Affine(NamedTuple):
    """A convolution's kernel [k, k, in, out], or a dense layer's [in, out], with its bias [out]."""

    kernel: jax.Array
    bias: jax.Array


class FoldedGoNet(NamedTuple):
    """The layers of a GoNet, arrays only; convolutions in its dtype, dense layers float32."""

    stem: Affine
    blocks: tuple[tuple[Affine, Affine], ...]
    policy_conv: Affine
    policy: Affine
    value_conv: Affine
    value_hidden: Affine
    value: Affine


def fold(model: GoNet) -> FoldedGoNet:
    """The network with its running statistics as part of the kernels: kernel * factor, and bias - mean * factor."""
    return FoldedGoNet(
        _folded(model.stem), tuple((_folded(first), _folded(second)) for first, second in model.blocks),
        _folded(model.policy_conv), _dense(model.policy), _folded(model.value_conv), _dense(model.value_hidden),
        _dense(model.value))


def _folded(unit: ConvNorm) -> Affine:
    norm, kernel = unit.norm, unit.conv.kernel[...]
    factor = lax.rsqrt(norm.var[...] + norm.epsilon)
    if norm.scale is not None:
        factor *= norm.scale[...]
    bias = -norm.mean[...] * factor
    if norm.bias is not None:
        bias += norm.bias[...]
    if unit.bias is not None:
        bias += unit.bias[...] * factor
    dtype = unit.conv.dtype
    return Affine((kernel * factor).astype(dtype), bias.astype(dtype))


def _dense(layer: object) -> Affine:
    return Affine(layer.kernel[...], layer.bias[...])  # type: ignore[attr-defined]  # nnx.Linear types both as optional


def infer(net: FoldedGoNet, planes: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Policy and value of positions, as `GoNet` gives them with train=False.

    Args:
      net: the folded network.
      planes: [B, s, s, C], any dtype.

    Returns:
      (logits float32 [B, A], value float32 [B] for Black).
    """
    x = _convolved(planes.astype(net.stem.kernel.dtype), net.stem)
    for first, second in net.blocks:
        x = _convolved(_convolved(x, first), second, shortcut=x)
    logits = _flat(_convolved(x, net.policy_conv)) @ net.policy.kernel + net.policy.bias
    hidden = jnp.maximum(_flat(_convolved(x, net.value_conv)) @ net.value_hidden.kernel + net.value_hidden.bias, 0.0)
    return logits, jnp.tanh(hidden @ net.value.kernel + net.value.bias)[:, 0]


def _convolved(x: jax.Array, layer: Affine, shortcut: jax.Array | None = None) -> jax.Array:
    """ReLU of the convolution with its bias and the shortcut: what cuDNN does in one kernel."""
    y = lax.conv_general_dilated(x, layer.kernel, (1, 1), "SAME", dimension_numbers=("NHWC", "HWIO", "NHWC")) + layer.bias
    return jnp.maximum(y if shortcut is None else y + shortcut, 0)


def _flat(x: jax.Array) -> jax.Array:
    return x.reshape(x.shape[0], -1).astype(jnp.float32)
