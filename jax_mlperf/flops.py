"""Model FLOPs: matrix products and convolutions of a traced function, and the bf16 peak of a device.

Utilisation in the MLPerf sense is model tensor FLOPs over peak tensor FLOP/s and time: only matrix products
and convolutions count, 2 FLOPs per multiply-add, and padding of a convolution counts as in the usual figures
(ResNet-50: 4,089,184,256 multiply-adds).
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import jax
from jax.extend import core as jex_core

# Dense (no sparsity) bf16 tensor FLOP/s for one entry of jax.devices(), by text in its device_kind; the first
# match wins, so the longer names stand first. Sources: NVIDIA's datasheets of the part (where they give the
# 2:4-sparse rate, its half); the "System architecture" pages of Google's Cloud TPU documentation. A TPU v2 or
# v3 chip shows as two devices, later ones as one.
_BF16_PEAKS: tuple[tuple[str, float], ...] = (
    ("B200", 2250e12),
    ("H200 NVL", 835e12),
    ("H200", 989.5e12),
    ("H100 PCIe", 756e12),
    ("H100 NVL", 835e12),
    ("H100", 989.5e12),
    ("A100", 312e12),
    ("L40S", 362e12),
    ("L40", 181e12),
    ("L4", 121e12),
    ("TPU v6", 918e12),
    ("TPU v5 lite", 197e12),
    ("TPU v5e", 197e12),
    ("TPU v5", 459e12),
    ("TPU v4", 275e12),
    ("TPU v3", 61.5e12),
    ("TPU v2", 22.5e12),
)


def peak_flops(device: jax.Device) -> float | None:
    """Published dense bfloat16 FLOP/s of one device, None where there is no such figure (every CPU)."""
    return next((peak for text, peak in _BF16_PEAKS if text in device.device_kind), None)


def count_flops(fn: Callable[..., Any], *args: Any) -> int:
    """Matrix-product and convolution FLOPs (2 per multiply-add) of one call of `fn`, without running it.

    Args:
      fn: function of pytrees that jax can trace (plain, jitted, differentiated, ...).
      *args: pytrees of arrays or jax.ShapeDtypeStruct.

    Returns:
      FLOPs of the whole (global) computation. A scan counts length times, a cond as its dearest branch, a
      shard_map once per device, a while_loop as ONE trip, since its trip count is not known before it runs.
      Rematerialised products count as often as they run. Flash attention counts the products of the
      mathematics (2 forward, 4 backward), not those it recomputes.
    """
    return _count(jax.make_jaxpr(fn)(*args).jaxpr)


def _count(jaxpr: jex_core.Jaxpr) -> int:
    """Of forms chosen by platform (lax.platform_dependent) the last one, the default: what the model states."""
    platforms = [equation.outvars[0] for equation in jaxpr.eqns if equation.primitive.name == "platform_index"]
    total = 0
    for equation in jaxpr.eqns:
        if equation.primitive.name == "cond" and any(equation.invars[0] is platform for platform in platforms):
            total += _count(equation.params["branches"][-1].jaxpr)
        else:
            total += _count_equation(equation)
    return total


def _count_equation(equation: jex_core.JaxprEqn) -> int:
    name = equation.primitive.name
    if name == "dot_general":
        return _dot_general(equation)
    if name == "conv_general_dilated":
        return _convolution(equation)
    if name.startswith("dot_product_attention_"):
        return _cudnn_attention(equation)
    inner = [_count(jaxpr) for jaxpr in _sub_jaxprs(equation.params)]
    if name == "cond":
        return max(inner)
    return sum(inner) * _repeats(equation)


def _repeats(equation: jex_core.JaxprEqn) -> int:
    params = equation.params
    if equation.primitive.name == "scan":
        return params["length"]
    if equation.primitive.name == "shard_map":  # the body has the shapes of one device
        return math.prod(params["mesh"].shape[axis] for axis in params["newly_manual_axes"])
    if equation.primitive.name == "pallas_call":  # the body is one program of the grid
        return math.prod(params["grid_mapping"].grid)
    return 1


def _sub_jaxprs(params: dict[str, Any]) -> Iterator[jex_core.Jaxpr]:
    """The jaxprs among an equation's parameters, whatever the primitive calls them."""
    for value in params.values():
        for item in value if isinstance(value, (tuple, list)) else (value,):
            if isinstance(item, jex_core.ClosedJaxpr):
                yield item.jaxpr
            elif isinstance(item, jex_core.Jaxpr):
                yield item


def _shape(variable: Any) -> tuple[int, ...]:
    return variable.aval.shape


def _dot_general(equation: jex_core.JaxprEqn) -> int:
    (lhs_contract, _), _ = equation.params["dimension_numbers"]
    lhs_shape = _shape(equation.invars[0])
    return 2 * math.prod(_shape(equation.outvars[0])) * math.prod(lhs_shape[i] for i in lhs_contract)


def _convolution(equation: jex_core.JaxprEqn) -> int:
    """2 x outputs x taps per output; taps on a hole of a dilated input (strided gradients) are free."""
    params = equation.params
    kernel, out = _shape(equation.invars[1]), _shape(equation.outvars[0])
    numbers = params["dimension_numbers"]
    batch, features = (out[i] for i in numbers.out_spec[:2])
    pairs = 1
    for axis, (low, _) in enumerate(params["padding"]):
        outputs, taps = out[numbers.out_spec[2 + axis]], kernel[numbers.rhs_spec[2 + axis]]
        stride, hole = params["window_strides"][axis], params["lhs_dilation"][axis]
        step = params["rhs_dilation"][axis]
        pairs *= sum((o * stride + t * step - low) % hole == 0 for o in range(outputs) for t in range(taps))
    return 2 * batch * features * kernel[numbers.rhs_spec[1]] * pairs


def _cudnn_attention(equation: jex_core.JaxprEqn) -> int:
    query, key = (_shape(variable) for variable in equation.invars[:2])
    keys = key[1] if equation.params["layout"] == 0 else key[2]  # 0: [B, T, N, H], 1: [B, N, T, H]
    products = 4 if "_bwd" in equation.primitive.name else 2
    return products * 2 * math.prod(query) * keys
