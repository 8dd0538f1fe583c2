"""Two-dimensional convolution, channels last, with gradients that are fast on the CPU too."""

from collections.abc import Sequence
from functools import partial

import jax
import jax.numpy as jnp
from jax import lax

Padding = str | Sequence[tuple[int, int]]
_Pads = tuple[tuple[int, int], tuple[int, int]]

CHUNK_PIXELS = 8192  # of the input, in a chunk of the kernel's gradient


def _convolve(x: jax.Array, kernel: jax.Array, stride: int, pads: _Pads, dilation: int = 1) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (stride, stride), pads, lhs_dilation=(dilation, dilation),
                                    dimension_numbers=("NHWC", "HWIO", "NHWC"))


def _convolve_on_cpu(x: jax.Array, kernel: jax.Array, stride: int, pads: _Pads, dilation: int = 1) -> jax.Array:
    """The same; with few channels two neighbouring pixels at a time, as one pixel of twice the output channels.

    XLA:CPU gives a convolution of more than 16 channels to YNNPACK and one of fewer to Eigen, which is slower: 4 times on
    3 -> 16 channels, although a quarter of the wider kernel is zero.
    """
    kh, kw, _, co = kernel.shape
    width = x.shape[2] + sum(pads[1]) - kw + 1
    if max(kernel.shape[2:]) > 16 or 2 * co <= 16 or width % 2 or kh * kw == 1 or (stride, dilation) != (1, 1):
        return _convolve(x, kernel, stride, pads, dilation)
    pair = jnp.concatenate([jnp.pad(kernel, ((0, 0), (j, 1 - j), (0, 0), (0, 0))) for j in range(2)], axis=-1)
    out = lax.conv_general_dilated(x, pair, (1, 2), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
    return out.reshape(*out.shape[:2], width, co)


def _shifted(x: jax.Array, axis: int, lows: Sequence[int], size: int) -> jax.Array:
    """Along the channels x moved by each of `lows` pixels along the axis, which becomes `size` long, zeros coming in."""
    moved = []
    for low in lows:
        config = [(0, 0, 0)] * x.ndim
        config[axis] = (low, size - x.shape[axis] - low, 0)
        moved.append(lax.pad(x, jnp.zeros((), x.dtype), config))
    return jnp.concatenate(moved, axis=-1)


def _taps(x: jax.Array, size: Sequence[int], stride: int, pads: _Pads, out: Sequence[int]) -> jax.Array:
    """[N, H, W, Ci] -> [N, H', W', kh * kw * Ci]: what the kernel sees at each output pixel."""
    x = lax.pad(x, jnp.zeros((), x.dtype), [(0, 0, 0), *((low, high, 0) for low, high in pads), (0, 0, 0)])
    for axis in (2, 1):  # one after the other: fewer and longer pieces
        last = stride * (out[axis - 1] - 1) + 1
        x = jnp.concatenate([lax.slice_in_dim(x, tap, tap + last, stride, axis) for tap in range(size[axis - 1])], axis=-1)
    return x


def _chunk_kernel_gradient(
    x: jax.Array, gradient: jax.Array, size: Sequence[int], stride: int, pads: _Pads
) -> jax.Array:
    """The gradient [kh, kw, Ci, Co] of the kernel as one matrix product over all pixels."""
    (kh, kw), (ci, co) = size, (x.shape[-1], gradient.shape[-1])
    (top, _), (left, _) = pads
    if stride == 1:
        # Horizontal taps on x, vertical ones on the gradient: kh + kw copies instead of kh * kw, and a squarer product.
        columns = _shifted(x, 2, [left - j for j in range(kw)], gradient.shape[2]).reshape(-1, kw * ci)
        rows = _shifted(gradient, 1, [i - top for i in range(kh)], x.shape[1]).reshape(-1, kh * co)
        return _product(columns, rows).reshape(kw, ci, kh, co).transpose(2, 0, 1, 3)
    patches = _taps(x, size, stride, pads, gradient.shape[1:3]).reshape(-1, kh * kw * ci)
    return _product(patches, gradient.reshape(-1, co)).reshape(kh, kw, ci, co)


def _product(left: jax.Array, right: jax.Array) -> jax.Array:
    """[n, a], [n, b] -> float32 [a, b]: the chunks' sums must not be rounded to bfloat16."""
    return jnp.matmul(left.T, right, preferred_element_type=jnp.float32)


def _kernel_gradient(x: jax.Array, gradient: jax.Array, size: Sequence[int], stride: int, pads: _Pads) -> jax.Array:
    """The gradient of the kernel, summed over chunks of the batch in a loop.

    Mostly 1.2 to 5 times as fast as XLA's own form, a convolution with a window of the size of the image; in lax.scan, where
    XLA compiles that one to plain loops, over 100 times. The copies of a chunk stay in the cache (and need no fresh pages),
    and a loop is the one border over which XLA does not fuse: it would compute what made x and the gradient anew for every
    shift.
    """
    pixels = x.shape[1] * x.shape[2]
    chunk = max(d for d in range(1, len(x) + 1) if len(x) % d == 0 and (d == 1 or d * pixels <= CHUNK_PIXELS))

    def add(total: jax.Array, part: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
        return total + _chunk_kernel_gradient(*part, size, stride, pads), None

    parts = (x.reshape(-1, chunk, *x.shape[1:]), gradient.reshape(-1, chunk, *gradient.shape[1:]))
    return lax.scan(add, jnp.zeros((*size, x.shape[-1], gradient.shape[-1]), jnp.float32), parts)[0].astype(x.dtype)


def _input_gradient(x: jax.Array, kernel: jax.Array, gradient: jax.Array, stride: int, pads: _Pads) -> jax.Array:
    """The gradient of x as a convolution whose operands are in the order that the CPU backend knows."""
    outer = [
        (k - 1 - low, length + low - 1 - stride * (out - 1))
        for k, (low, _), length, out in zip(kernel.shape, pads, x.shape[1:3], gradient.shape[1:3], strict=False)]
    return _convolve_on_cpu(gradient, jnp.flip(kernel, (0, 1)).transpose(0, 1, 3, 2), 1, (outer[0], outer[1]), stride)


@partial(jax.custom_vjp, nondiff_argnums=(2, 3))
def _conv2d(x: jax.Array, kernel: jax.Array, stride: int, pads: _Pads) -> jax.Array:
    return lax.platform_dependent(x, kernel, cpu=lambda x, kernel: _convolve_on_cpu(x, kernel, stride, pads),
                                  default=lambda x, kernel: _convolve(x, kernel, stride, pads))


def _forward(x: jax.Array, kernel: jax.Array, stride: int, pads: _Pads) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return _conv2d(x, kernel, stride, pads), (x, kernel)


def _backward(
    stride: int, pads: _Pads, residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    x, kernel = residuals

    def plain_x(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(lambda x: _convolve(x, kernel, stride, pads), x)[1](gradient)[0]

    def plain_kernel(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return jax.vjp(lambda kernel: _convolve(x, kernel, stride, pads), kernel)[1](gradient)[0]

    def cpu_x(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return _input_gradient(x, kernel, gradient, stride, pads)

    def cpu_kernel(x: jax.Array, kernel: jax.Array, gradient: jax.Array) -> jax.Array:
        return _kernel_gradient(x, gradient, kernel.shape[:2], stride, pads)

    operands = (x, kernel, gradient)
    return (lax.platform_dependent(*operands, cpu=cpu_x, default=plain_x),
            lax.platform_dependent(*operands, cpu=cpu_kernel, default=plain_kernel))


_conv2d.defvjp(_forward, _backward)


def conv2d(x: jax.Array, kernel: jax.Array, *, stride: int = 1, padding: Padding = "SAME") -> jax.Array:
    """Convolution of [N, H, W, Ci] with [kh, kw, Ci, Co] -> [N, H', W', Co], computed in the dtype of x.

    Args:
      x: activations.
      kernel: any float dtype; cast to that of x.
      stride: of both axes.
      padding: "SAME", "VALID", or (low, high) of each of the two axes.
    """
    if isinstance(padding, str):
        padding = lax.padtype_to_pads(x.shape[1:3], kernel.shape[:2], (stride, stride), padding)
    (top, bottom), (left, right) = padding
    return _conv2d(x, kernel.astype(x.dtype), stride, ((top, bottom), (left, right)))
