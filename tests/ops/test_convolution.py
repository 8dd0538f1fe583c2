"""conv2d against XLA's convolution: values and gradients, also inside loops."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from jax_mlperf.ops import convolution
from jax_mlperf.ops.convolution import Padding, conv2d

# (N, H, W, Ci), (kh, kw), Co, stride, padding
CASES: list[tuple[tuple[int, int, int, int], tuple[int, int], int, int, Padding]] = [
    ((4, 8, 6, 3), (3, 3), 16, 1, "SAME"),  # pairs of pixels
    ((2, 7, 9, 20), (3, 3), 5, 1, "SAME"),
    ((2, 8, 9, 3), (2, 2), 4, 1, "VALID"),
    ((3, 9, 8, 3), (3, 3), 4, 2, ((1, 1), (1, 1))),
    ((2, 8, 7, 3), (1, 1), 4, 2, "VALID"),
]
SLOW_CASES: list[tuple[tuple[int, int, int, int], tuple[int, int], int, int, Padding]] = [
    ((2, 11, 10, 2), (5, 3), 3, 2, ((2, 0), (1, 3))),  # the last rows of x are not read
    ((2, 14, 15, 3), (7, 7), 4, 2, "SAME"),
    ((2, 6, 5, 4), (1, 3), 9, 1, ((2, 0), (0, 1))),
]


def plain(x: jax.Array, kernel: jax.Array, *, stride: int, padding: Padding) -> jax.Array:
    return lax.conv_general_dilated(x, kernel, (stride, stride), padding, dimension_numbers=("NHWC", "HWIO", "NHWC"))


def draw(*shape: int) -> jax.Array:
    return jnp.asarray(np.random.default_rng(sum(shape)).standard_normal(shape, np.float32))


def results(form, x, kernel, gradient, **options):
    out, pullback = jax.vjp(partial(form, **options), x, kernel)
    return out, *pullback(gradient)


def assert_close(actual, expected, tolerance=1e-5):
    for mine, theirs in zip(actual, expected, strict=True):
        assert mine.shape == theirs.shape and mine.dtype == theirs.dtype
        scale = float(jnp.abs(theirs).max())
        np.testing.assert_allclose(mine.astype(jnp.float32), theirs.astype(jnp.float32), rtol=0, atol=tolerance * scale)


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(case, marks=pytest.mark.slow) for case in SLOW_CASES)], ids=str)
def test_values_and_gradients(case, monkeypatch):
    """The kernel's gradient in more than one chunk wherever the batch allows it."""
    monkeypatch.setattr(convolution, "CHUNK_PIXELS", 128)
    (n, height, width, ci), size, co, stride, padding = case
    x, kernel = draw(n, height, width, ci), draw(*size, ci, co)
    options = {"stride": stride, "padding": padding}
    gradient = draw(*jax.eval_shape(partial(plain, **options), x, kernel).shape)
    actual, expected = (jax.jit(partial(results, form, **options))(x, kernel, gradient) for form in (conv2d, plain))
    assert_close(actual, expected)


def test_computes_in_the_dtype_of_x():
    x, kernel = draw(2, 6, 6, 3).astype(jnp.bfloat16), draw(3, 3, 3, 4)
    out, gradient_x, gradient_kernel = jax.jit(partial(results, conv2d))(x, kernel, jnp.ones((2, 6, 6, 4), jnp.bfloat16))
    assert (out.dtype, gradient_x.dtype, gradient_kernel.dtype) == (jnp.bfloat16, jnp.bfloat16, jnp.float32)
    wide = (x.astype(jnp.float32), kernel.astype(jnp.bfloat16).astype(jnp.float32), jnp.ones((2, 6, 6, 4)))
    expected = results(partial(plain, stride=1, padding="SAME"), *wide)
    assert_close([a.astype(jnp.float32) for a in (out, gradient_x, gradient_kernel)], expected, tolerance=1e-2)


def test_inside_scan_and_vmap():
    x, kernel, gradient = draw(3, 2, 6, 6, 3), draw(3, 3, 3, 4), draw(3, 2, 6, 6, 4)
    function = partial(results, conv2d, kernel=kernel)
    looped = jax.jit(lambda x, g: lax.scan(lambda carry, one: (carry, function(one[0], gradient=one[1])), 0, (x, g))[1])(x, gradient)
    mapped = jax.jit(jax.vmap(lambda x, g: function(x, gradient=g)))(x, gradient)
    expected = [results(partial(plain, stride=1, padding="SAME"), x[i], kernel, gradient[i]) for i in range(3)]
    stacked = [jnp.stack(parts) for parts in zip(*expected, strict=True)]
    assert_close(looped, stacked)
    assert_close(mapped, stacked)


def test_accelerators_get_the_plain_form():
    """Chosen when lowered, not by the machine that lowers: no loop, no copies in a program for GPUs."""
    arrays = draw(4, 8, 8, 3), draw(3, 3, 3, 4), draw(4, 8, 8, 4)
    for platform, loops in (("cuda", False), ("cpu", True)):
        text = jax.jit(partial(results, conv2d)).trace(*arrays).lower(lowering_platforms=(platform,)).as_text()
        assert ("stablehlo.while" in text) == loops
        assert ("stablehlo.concatenate" in text) == loops
