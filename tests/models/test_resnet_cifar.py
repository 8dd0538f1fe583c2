"""The CIFAR-10 ResNets: sizes of every layout, initial values, block order against NumPy, workers."""

import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.errors import UserError
from jax_mlperf.flops import count_flops
from jax_mlperf.models.batch_norm import BatchNorm
from jax_mlperf.models.resnet_cifar import ResNetCifar

# Depth -> parameters of (mlbench v1, v2, tensorflow v1, v2, he v1 and v2), multiply-adds of mlbench.
SIZES = {
    20: ((272_474, 272_378, 272_762, 272_538, 269_722), 40_813_184),
    32: ((466_906, 466_810, 467_194, 466_970, 464_154), 69_124_736),
    44: ((661_338, 661_242, 661_626, 661_402, 658_586), 97_436_288),
    56: ((855_770, 855_674, 856_058, 855_834, 853_018), 125_747_840),
}


KINDS = (("mlbench", 1), ("mlbench", 2), ("tensorflow", 1), ("tensorflow", 2), ("he", 1))


def abstract(**arguments):
    return nnx.eval_shape(lambda: ResNetCifar(rngs=nnx.Rngs(0), **arguments))


def build(rng, **arguments) -> ResNetCifar:
    """With values from NumPy, every batch norm its own: the model's own initial values take seconds to compile."""
    graphdef, state = nnx.split(abstract(**arguments))

    def value(path, leaf):
        name = next(key.key for key in reversed(path) if isinstance(getattr(key, "key", None), str) and key.key != "value")
        draw = rng.uniform(0.5, 2, leaf.shape) if name in ("var", "scale") else rng.normal(size=leaf.shape)
        fan_in = math.prod(leaf.shape[:-1]) if name == "kernel" else 1
        return jnp.asarray(draw * fan_in**-0.5, jnp.float32)

    return nnx.merge(graphdef, jax.tree_util.tree_map_with_path(value, state))


def parameter_count(**arguments) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(abstract(**arguments), nnx.Param)))


def multiply_adds(**arguments) -> float:
    graphdef, state = nnx.split(abstract(**arguments))

    def forward(state, images):
        return nnx.merge(graphdef, state, copy=True)(images, train=False)

    return count_flops(forward, state, jax.ShapeDtypeStruct((1, 32, 32, 3), jnp.float32)) / 2


def all_depths(size) -> dict[int, int]:
    """What `size` is at every depth, from two small depths: n blocks more in each group are n times as much more."""
    first, second = size(depth=8), size(depth=14)
    return {depth: first + (depth - 8) // 6 * (second - first) for depth in SIZES}


@pytest.mark.parametrize(("layout", "version"), KINDS)
def test_parameter_counts(layout, version):
    counts = all_depths(lambda depth: parameter_count(depth=depth, layout=layout, version=version))
    assert counts == {depth: expected[KINDS.index((layout, version))] for depth, (expected, _) in SIZES.items()}


def test_he_has_as_many_parameters_in_version_2():
    assert parameter_count(depth=8, layout="he", version=2) == parameter_count(depth=8, layout="he")


@pytest.mark.slow
@pytest.mark.parametrize("depth", SIZES)
def test_parameter_counts_of_whole_models(depth):
    counts = tuple(parameter_count(depth=depth, layout=layout, version=version) for layout, version in KINDS)
    assert counts == SIZES[depth][0]
    assert multiply_adds(depth=depth) == SIZES[depth][1]


def test_tiny_parameter_counts():
    assert parameter_count(depth=8, width=8) == 19_954
    assert parameter_count(depth=8, width=16) == 78_042


@pytest.mark.parametrize("version", [1, 2])
def test_multiply_adds(version):
    counts = all_depths(lambda depth: multiply_adds(depth=depth, version=version))
    assert counts == {depth: expected for depth, (_, expected) in SIZES.items()}


@pytest.mark.parametrize(("arguments", "message"), [
    ({"depth": 21}, "depth is 21"), ({"depth": 2}, "depth is 2,"),
    ({"depth": 20, "version": 3}, "version is 3"), ({"depth": 20, "layout": "torch"}, "layout is 'torch'")])
def test_what_is_no_resnet_is_refused(arguments, message):
    with pytest.raises(UserError, match=message):
        abstract(**arguments)


def initial_values(**arguments):
    """Kernel of the last widening convolution (fan-in and fan-out differ there), and the linear layer."""
    @jax.jit
    def values():
        model = ResNetCifar(depth=8, rngs=nnx.Rngs(0), **arguments)
        return model.blocks[2].conv1.kernel[...], model.head.kernel[...], model.head.bias[...]

    return [np.asarray(value) for value in values()]


def test_initial_values_of_pytorch():
    kernel, *linear = initial_values()
    assert kernel.std() == pytest.approx((2 / (9 * 64)) ** 0.5, rel=0.02)
    assert np.abs(kernel).max() > 3.5 * kernel.std()  # not truncated
    for values in linear:
        assert 0.1 < np.abs(values).max() <= 1 / 8


def test_initial_values_of_tensorflow():
    kernel, linear, bias = initial_values(layout="tensorflow")
    assert kernel.std() == pytest.approx((1 / (9 * 32)) ** 0.5, rel=0.02)
    assert np.abs(kernel).max() <= 2 * (1 / (9 * 32)) ** 0.5 / 0.879  # truncated at two deviations
    assert 0.28 < np.abs(linear).max() <= (6 / 74) ** 0.5 and not bias.any()


def numpy_conv(x, kernel, stride):
    size = kernel.shape[0]
    pad = size // 2
    x = np.pad(x, ((0, 0), (pad, pad), (pad, pad), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(x, (size, size), axis=(1, 2))[:, ::stride, ::stride]
    return np.einsum("nhwcij,ijco->nhwo", windows, kernel)


def numpy_forward(model, x, version, layout):
    """Evaluation of a ResNet-8 in the order that the layout's reference has."""

    def norm(layer, x):
        return (x - layer.mean[...]) / np.sqrt(np.asarray(layer.var[...]) + 1e-5) * layer.scale[...] + layer.bias[...]

    def relu(x):
        return np.maximum(x, 0)

    def conv(layer, x, stride=1):
        return numpy_conv(x, np.asarray(layer.kernel[...]), stride)

    x = conv(model.stem, x)
    if version == 1 or layout == "mlbench":
        x = relu(norm(model.stem_norm, x))
    for block, stride in zip(model.blocks, (1, 2, 2), strict=True):
        entry = relu(norm(block.norm1, x)) if version == 2 else x
        if layout == "tensorflow" and version == 2:
            shortcut = conv(block.projection, entry, stride)
        elif layout == "tensorflow" or (layout == "mlbench" and stride == 2):
            shortcut = norm(block.projection_norm, conv(block.projection, x, stride))
        else:
            shortcut = x[:, ::stride, ::stride]
            shortcut = np.concatenate([shortcut, *[np.zeros_like(shortcut)] * (stride - 1)], axis=-1)
        y = conv(block.conv1, entry, stride)
        y = conv(block.conv2, relu(norm(block.norm1 if version == 1 else block.norm2, y)))
        x = relu(norm(block.norm2, y) + shortcut) if version == 1 else y + shortcut
    if version == 2 and layout != "mlbench":
        x = relu(norm(model.final_norm, x))
    return x.mean(axis=(1, 2)) @ np.asarray(model.head.kernel[...]) + model.head.bias[...]


@nnx.jit
def evaluate(model, images):
    return model(images, train=False)


@pytest.mark.parametrize(("layout", "version"), [*KINDS, ("he", 2)])
def test_order_of_layers(layout, version):
    rng = np.random.default_rng(0)
    model = build(rng, depth=8, width=4, layout=layout, version=version)
    images = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    logits = evaluate(model, jnp.asarray(images))
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, numpy_forward(model, images, version, layout), rtol=1e-4, atol=1e-4)


def test_bfloat16_is_near_float32():
    rng = np.random.default_rng(0)
    model = build(rng, depth=8, width=4, dtype=jnp.bfloat16)
    images = rng.normal(size=(2, 8, 8, 3)).astype(np.float32)
    logits = evaluate(model, jnp.asarray(images))
    difference = np.abs(logits - numpy_forward(model, images, 1, "mlbench")).max()
    assert logits.dtype == jnp.float32 and 0 < difference < 0.1


@nnx.jit
def train_and_evaluate(model, images, weights):
    return model(images, train=True, weights=weights), model(images, train=False)


def test_workers_are_independent():
    """What a worker computes hangs neither on the others' images nor on the padding rows; nor which of them it is."""
    rng = np.random.default_rng(1)
    images = (rng.normal(size=(6, 8, 8, 3)) * np.repeat([1, 5], 3)[:, None, None, None]).astype(np.float32)
    weights = np.array([1, 1, 1, 1, 1, 0], np.float32)
    model = build(rng, depth=8, width=4, bn_group_size=3, workers=2)
    others = nnx.clone(model)
    for _, layer in nnx.iter_modules(others):
        if isinstance(layer, BatchNorm):
            layer.mean[...], layer.var[...] = layer.mean[...][::-1], layer.var[...][::-1]
    first = train_and_evaluate(model, images, weights)
    images[5] = 100.0
    swapped = train_and_evaluate(others, np.concatenate([images[3:], images[:3]]), np.roll(weights, 3))
    for found, wanted in zip(swapped, first, strict=True):
        assert (np.abs(wanted[:3] - wanted[3:]) > 1e-3).all()
        np.testing.assert_allclose(found[:2], wanted[3:5], rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(found[3:], wanted[:3], rtol=1e-5, atol=1e-5)
    layers = [model.blocks[2].norm2, others.blocks[2].norm2]
    np.testing.assert_allclose(layers[0].var[...], layers[1].var[...][::-1], rtol=1e-5)
