"""FLOP counting against formulas."""

import jax
import jax.numpy as jnp
import pytest
from flax import nnx
from jax import lax

from jax_mlperf import flops
from jax_mlperf.models.transformer import Transformer
from jax_mlperf.plan import TARGETS


def spec(*shape, dtype=jnp.float32):
    return jax.ShapeDtypeStruct(shape, dtype)


def test_batched_dot_general():
    count = flops.count_flops(
        lambda q, k: jnp.einsum("bqnh,bknh->bnqk", q, k), spec(2, 5, 3, 7), spec(2, 11, 3, 7)
    )
    assert count == 2 * 2 * 3 * 5 * 11 * 7


def test_gradient_of_a_product_is_three_products():
    def loss(x, w):
        return jnp.sum(jnp.dot(x, w))

    assert flops.count_flops(loss, spec(4, 5), spec(5, 6)) == 2 * 4 * 5 * 6
    assert flops.count_flops(jax.grad(loss, (0, 1)), spec(4, 5), spec(5, 6)) == 3 * 2 * 4 * 5 * 6


def step(x, w):
    return jnp.tanh(x @ w)


@pytest.mark.parametrize(
    "wrap, times",
    [
        (jax.jit(step), 1),
        (lambda x, w: lax.scan(lambda c, _: (step(c, w), None), x, length=7)[0], 7),
        (lambda x, w: lax.fori_loop(0, 7, lambda _, c: step(c, w), x), 7),
        (lambda x, w: lax.cond(x[0, 0] > 0, lambda: step(step(x, w), w), lambda: step(x, w)), 2),
        (lambda x, w: lax.while_loop(lambda c: c[0, 0] > 0, lambda c: step(c, w), x), 1),
        (lambda x, w: jax.vmap(lambda _: step(x, w))(jnp.arange(3)), 1),
        (lambda x, w: jax.vmap(lambda f: step(x * f, w))(jnp.arange(3.0)), 3),
        (lambda x, w: jax.checkpoint(step)(x, w), 1),
        (lambda x, w: jax.grad(lambda x: jnp.sum(jax.checkpoint(step)(x, w)))(x), 3),
        (jax.custom_vjp(step), 1),
    ],
)
def test_recursion(wrap, times):
    if isinstance(wrap, jax.custom_vjp):
        wrap.defvjp(lambda x, w: (step(x, w), None), lambda _, g: (g, g))
    assert flops.count_flops(wrap, spec(8, 8), spec(8, 8)) == times * 2 * 8**3


def test_shard_map_counts_every_device():
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    p = jax.sharding.PartitionSpec
    rows = 4 * jax.device_count()
    mapped = jax.shard_map(jnp.dot, mesh=mesh, in_specs=(p("data"), p()), out_specs=p("data"))
    assert flops.count_flops(mapped, spec(rows, 5), spec(5, 6)) == 2 * rows * 5 * 6


def conv(x, w, stride=1, groups=1):
    return lax.conv_general_dilated(
        x, w, (stride, stride), "SAME", feature_group_count=groups, dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def test_convolution_counts_padding():
    # ResNet-50's stem: 112 x 112 outputs of 7 x 7 x 3 taps, 64 features
    count = flops.count_flops(lambda x, w: conv(x, w, stride=2), spec(2, 224, 224, 3), spec(7, 7, 3, 64))
    assert count == 2 * 2 * 112 * 112 * 7 * 7 * 3 * 64


def test_grouped_convolution():
    count = flops.count_flops(lambda x, w: conv(x, w, groups=4), spec(2, 9, 9, 8), spec(3, 3, 2, 12))
    assert count == 2 * 2 * 9 * 9 * 3 * 3 * 2 * 12


@pytest.mark.parametrize("groups", [1, 2])
def test_convolution_gradients_equal_the_forward_pass(groups):
    def loss(x, w):
        return jnp.sum(conv(x, w, stride=2, groups=groups))

    args = spec(2, 16, 16, 4), spec(2, 2, 4 // groups, 6)  # no padding, so that no tap is lost
    forward = flops.count_flops(loss, *args)
    assert forward == 2 * 2 * 8 * 8 * 2 * 2 * (4 // groups) * 6
    assert flops.count_flops(jax.grad(loss, 0), *args) == 2 * forward
    assert flops.count_flops(jax.grad(loss, 1), *args) == 2 * forward


@pytest.mark.parametrize("source, target, gigaflops", [(256, 256, 112.7), (28, 29, 12.10)])
def test_transformer_forward_pass(source, target, gigaflops):
    """The figures of the big model: a packed row, and a mean pair."""

    def make():
        return Transformer(
            vocab_size=33_708,
            d_model=1024,
            ffn_dim=4096,
            num_heads=16,
            num_layers=6,
            dropout_rate=0.1,
            rngs=nnx.Rngs(params=0),
        )

    graph, params = nnx.split(nnx.eval_shape(make))
    batch = [spec(1, length, dtype=jnp.int32) for length in (source,) * 3 + (target,) * 3]
    count = flops.count_flops(lambda p, *arrays: nnx.merge(graph, p)(*arrays), params, *batch)
    assert round(count / 1e9, 2 if gigaflops < 100 else 1) == gigaflops


class FakeDevice:
    def __init__(self, device_kind):
        self.device_kind = device_kind


@pytest.mark.parametrize(
    "kind, peak",
    [
        ("NVIDIA H200", 989.5e12),
        ("NVIDIA H100 80GB HBM3", 989.5e12),
        ("NVIDIA H100 PCIe", 756e12),
        ("NVIDIA A100-SXM4-80GB", 312e12),
        ("TPU v5 lite", 197e12),
        ("TPU v5p", 459e12),
        ("TPU v6 lite", 918e12),
        ("NVIDIA GH200 480GB", 989.5e12),
        ("NVIDIA L40S", 362e12),
        ("NVIDIA L40", 181e12),
        ("NVIDIA L4", 121e12),
        ("cpu", None),
    ],
)
def test_peak_flops(kind, peak):
    assert flops.peak_flops(FakeDevice(kind)) == peak


@pytest.mark.parametrize("target", TARGETS.values(), ids=list(TARGETS))
def test_plans_use_the_same_peaks(target):
    assert flops.peak_flops(FakeDevice(target.description)) == target.peak_bf16
