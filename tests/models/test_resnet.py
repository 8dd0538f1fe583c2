"""ResNet-50 against the known counts, and small ones of the family in numbers."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.flops import count_flops
from jax_mlperf.models.convolution import Conv
from jax_mlperf.models.resnet import ResNet, space_to_depth_conv
from jax_mlperf.models.resnet_names import mlperf_names

IMAGE = jax.ShapeDtypeStruct((1, 224, 224, 3), jnp.float32)


def split(**options):
    """Graph, parameters and statistics (shapes) of a model."""
    model = nnx.eval_shape(lambda: ResNet(rngs=nnx.Rngs(params=0), **options))
    graph, params, stats = nnx.split(model, nnx.Param, nnx.BatchStat)
    return graph, nnx.to_pure_dict(params), nnx.to_pure_dict(stats)


def size(tree):
    return sum(leaf.size for leaf in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def resnet50():
    return split()


def test_counts(resnet50):
    graph, params, stats = resnet50
    assert (size(params), len(jax.tree.leaves(params)), size(stats)) == (25_557_032, 161, 53_120)
    decayed = [leaf for leaf in jax.tree.leaves(params) if leaf.ndim > 1]
    assert (len(decayed), size(decayed)) == (54, 25_502_912)
    assert [size(params["stages"][stage]) for stage in range(4)] == [215_808, 1_219_584, 7_098_368, 14_964_736]
    assert size((params["conv0"], params["bn0"])) == 9_536

    def forward(params, stats, images):
        return nnx.merge(graph, nnx.State(params), nnx.State(stats), copy=True)(images, train=False)

    assert count_flops(forward, params, stats, IMAGE) == 2 * 4_089_184_256
    assert jax.eval_shape(forward, params, stats, IMAGE) == jax.ShapeDtypeStruct((1, 1000), jnp.float32)


def test_other_sizes():
    assert size(split(num_classes=1001)[1]) == 25_559_081
    assert size(split(stage_sizes=(1, 1, 1, 1), width=8, num_classes=10)[1]) == 130_962


def test_mlperf_names(resnet50):
    names = mlperf_names(resnet50[1])
    assert len(names) == len(set(names)) == 161
    assert names[:4] == ["conv0_weight", "bn0_gamma", "bn0_beta", "stage1_unit1_conv1_weight"]
    assert names[-2:] == ["fc1_weight", "fc1_bias"]
    assert [name for name in names if name.endswith("sc_weight")] == [f"stage{s}_unit1_conv1sc_weight" for s in (1, 2, 3, 4)]
    for name in ("stage3_unit6_conv3_weight", "stage4_unit3_bn3_beta", "stage2_unit1_bnsc_gamma"):
        assert name in names


@pytest.mark.parametrize("padding", ["same", "symmetric"])
def test_shapes_of_the_stages(padding):
    shapes = []

    def forward(images):
        model = ResNet(rngs=nnx.Rngs(params=0), padding=padding, width=8, stage_sizes=(1, 1, 1, 1))
        x = model.stem_features(images, train=True, weights=None)
        for blocks in model.stages:
            shapes.append(x.shape[1:])
            for block in blocks:
                x = block(x, train=True, weights=None)
        shapes.append(x.shape[1:])

    jax.eval_shape(forward, IMAGE)
    assert shapes == [(56, 56, 8), (56, 56, 32), (28, 28, 64), (14, 14, 128), (7, 7, 256)]


def test_space_to_depth_is_the_7x7_convolution():
    rng = np.random.default_rng(0)
    images, kernel = rng.normal(size=(2, 16, 12, 3)), rng.normal(size=(7, 7, 3, 5)) / 12
    images, kernel = np.float32(images), np.float32(kernel)
    plain = jax.lax.conv_general_dilated(images, kernel, (2, 2), ((3, 3), (3, 3)), dimension_numbers=("NHWC", "HWIO", "NHWC"))
    np.testing.assert_allclose(jax.jit(space_to_depth_conv)(images, kernel), plain, atol=1e-5)

    def features(stem):
        model = ResNet(rngs=nnx.Rngs(params=0), stage_sizes=(1,), width=4, stem=stem, dtype=jnp.float32)
        return model.stem_features(images, train=False, weights=None)

    np.testing.assert_allclose(*jax.jit(lambda: (features("conv7"), features("space_to_depth")))(), atol=1e-5)


@pytest.mark.parametrize("name, row, pooled", [("same", [63, 81, 63], [[10, 11], [14, 15]]),
                                               ("tf1", [14, 30, 42], [[10, 11], [14, 15]]),
                                               ("symmetric", [14, 30, 42], [[5, 7], [13, 15]])])
def test_padding_by_name(name, row, pooled):
    model = nnx.eval_shape(lambda: ResNet(rngs=nnx.Rngs(params=0), padding=name, stage_sizes=(1, 1), width=8))
    strided = model.stages[1][0].conv2
    assert strided.stride == 2
    conv = Conv(1, 1, 3, stride=2, padding=strided.padding, kernel_init=nnx.initializers.ones_init(), dtype=jnp.float32,
                rngs=nnx.Rngs(params=0))
    np.testing.assert_array_equal(conv(jnp.arange(36.0).reshape(1, 6, 6, 1))[0, 0, :, 0], row)
    np.testing.assert_array_equal(model.pool(jnp.arange(16.0).reshape(1, 4, 4, 1))[0, :, :, 0], pooled)


@functools.cache
def tiny(**options):
    """A tiny model's parameters and statistics, and its training pass: -> logits, statistics, parameter gradients."""
    def make():
        return ResNet(rngs=nnx.Rngs(params=0), stage_sizes=(1,), width=4, num_classes=3, dtype=jnp.float32, **options)

    graph, params, stats = nnx.split(nnx.jit(make)(), nnx.Param, nnx.BatchStat)

    @jax.jit
    def step(params, stats, images, weights):
        def loss(params):
            model = nnx.merge(graph, params, stats, copy=True)
            logits = model(images, train=True, weights=weights)
            return (logits[:, 0] * weights).sum(), (logits, nnx.split(model, nnx.Param, nnx.BatchStat)[2])

        gradients, (logits, moved) = jax.grad(loss, has_aux=True)(params)
        return logits, moved, gradients

    return params, stats, step


def test_padding_rows_change_nothing():
    params, stats, step = tiny()
    images = np.random.default_rng(0).normal(size=(4, 16, 16, 3)).astype(np.float32)
    weights = np.float32([1, 1, 0, 1])
    logits, moved, gradients = step(params, stats, images, weights)
    images[2] = 5.0
    again, *others = step(params, stats, images, weights)
    np.testing.assert_allclose(np.delete(again, 2, axis=0), np.delete(logits, 2, axis=0), rtol=1e-6)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), others, [moved, gradients])
    assert all(np.abs(leaf).max() > 0 for leaf in jax.tree.leaves(gradients))
    assert not any(np.array_equal(a, b) for a, b in zip(*map(jax.tree.leaves, (stats, moved)), strict=True))


def test_zero_gamma_makes_a_block_its_shortcut():
    model = nnx.jit(lambda: ResNet(rngs=nnx.Rngs(params=0), stage_sizes=(2,), width=4, dtype=jnp.float32, zero_gamma=True))()
    block = model.stages[0][1]
    assert not block.bn3.scale[...].any() and block.bn2.scale[...].all() and model.stages[0][0].bnsc.scale[...].all()
    x = np.random.default_rng(0).uniform(size=(1, 4, 4, 16)).astype(np.float32)
    np.testing.assert_array_equal(block(x, train=False, weights=None), x)


def test_unknown_names():
    for option in ("stem", "padding", "conv_init"):
        with pytest.raises(ValueError, match=f"{option} 'none' is unknown; there are: "):
            ResNet(rngs=nnx.Rngs(params=0), **{option: "none"})
