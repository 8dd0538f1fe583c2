"""minigo's network: sizes of every round, initial values, the forward pass against NumPy, gradients."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.flops import count_flops
from jax_mlperf.models.go_net import GoNet
from jax_mlperf.models.go_net_inference import fold, infer

V05 = {"size": 9, "planes": 17, "filters": 32, "blocks": 9, "conv_bias": True}
V06 = {**V05, "conv_bias": False}
V07 = {"size": 19, "planes": 13, "filters": 64, "blocks": 6, "conv_bias": False}
V07_SMALL_BOARD = {**V07, "size": 9, "blocks": 9}
SMALL = {"size": 5, "planes": 4, "filters": 6, "blocks": 1, "value_width": 8}


def count(model, kind) -> int:
    return sum(leaf.size for leaf in jax.tree.leaves(nnx.state(model, kind)))


@pytest.mark.parametrize(("arguments", "parameters", "statistics", "multiply_adds"), [
    (V05, 191_386, 1_222, 13_859_812), (V06, 190_775, 1_222, 13_859_812),
    (V07, 736_671, 1_670, 162_751_860), (V07_SMALL_BOARD, 692_343, 2_438, 54_388_324)])
def test_sizes_of_every_round(arguments, parameters, statistics, multiply_adds):
    model = nnx.eval_shape(lambda: GoNet(rngs=nnx.Rngs(0), **arguments))
    assert (count(model, nnx.Param), count(model, nnx.BatchStat)) == (parameters, statistics)
    graphdef, state = nnx.split(model)
    planes = jax.ShapeDtypeStruct((1, arguments["size"], arguments["size"], arguments["planes"]), jnp.bool_)
    forward = count_flops(lambda state, planes: nnx.merge(graphdef, state, copy=True)(planes, train=False), state, planes)
    assert forward == 2 * multiply_adds


@nnx.jit
def new_net():
    return GoNet(**SMALL, dtype=jnp.float32, rngs=nnx.Rngs(0))


@nnx.jit
def evaluate(model, planes):
    return model(planes, train=False)


def planes_of(rng, rows: int) -> np.ndarray:
    return rng.random((rows, 5, 5, 4)) < 0.4


@pytest.fixture(scope="module")
def untrained():
    return new_net()


@pytest.fixture(scope="module")
def drawn(untrained):
    """The small network with values from NumPy, none of them special; in float32 and bfloat16."""
    rng = np.random.default_rng(0)
    graphdef, state = nnx.split(untrained)

    def value(path, leaf):
        name = jax.tree_util.keystr(path)
        if "kernel" in name:
            return jnp.asarray(rng.normal(size=leaf.shape) * np.prod(leaf.shape[:-1]) ** -0.5, jnp.float32)
        return jnp.asarray(rng.uniform(0.5, 1.5, leaf.shape) if "var" in name else rng.normal(size=leaf.shape), jnp.float32)

    state = jax.tree_util.tree_map_with_path(value, state)
    half = nnx.eval_shape(lambda: GoNet(**SMALL, rngs=nnx.Rngs(0)))
    return nnx.merge(graphdef, state, copy=True), nnx.merge(nnx.split(half)[0], state, copy=True)


def test_initial_values_are_the_framework_defaults(untrained):
    kernel = np.asarray(untrained.blocks[0][1].conv.kernel[...])
    limit = (6 / (9 * 6 + 9 * 6)) ** 0.5
    assert 0.95 * limit < np.abs(kernel).max() <= limit
    assert kernel.std() == pytest.approx(limit / 3**0.5, rel=0.1)
    assert 0.9 * (6 / 76) ** 0.5 < np.abs(untrained.policy.kernel[...]).max() <= (6 / (2 * 25 + 26)) ** 0.5
    norm = untrained.stem.norm
    for found, wanted in ((untrained.stem.bias, 0), (untrained.policy.bias, 0), (norm.scale, 1), (norm.bias, 0)):
        assert (found[...] == wanted).all()


def test_untrained_network_prefers_nothing_much(untrained):
    logits, value = evaluate(untrained, planes_of(np.random.default_rng(1), 3))
    assert logits.shape == (3, 26) and value.shape == (3,)
    assert logits.std() < 2 and np.abs(value).max() < 1  # unfitted heads: no move near certain, no game decided


def numpy_unit(unit, x, shortcut=None):
    """Convolution, bias, the batch norm as an affine map, shortcut, ReLU."""
    kernel = np.asarray(unit.conv.kernel[...], np.float64)
    edge = kernel.shape[0] // 2
    padded = np.pad(x, ((0, 0), (edge, edge), (edge, edge), (0, 0)))
    windows = np.lib.stride_tricks.sliding_window_view(padded, kernel.shape[:2], axis=(1, 2))
    y = np.einsum("nhwcij,ijco->nhwo", windows, kernel) + np.asarray(unit.bias[...])
    norm = unit.norm
    y = (y - np.asarray(norm.mean[...])) / np.sqrt(np.asarray(norm.var[...]) + 1e-5)
    if norm.scale is not None:
        y = y * np.asarray(norm.scale[...]) + np.asarray(norm.bias[...])
    return np.maximum(y if shortcut is None else y + shortcut, 0)


def numpy_forward(model, planes):
    x = numpy_unit(model.stem, planes.astype(np.float64))
    for first, second in model.blocks:
        x = numpy_unit(second, numpy_unit(first, x), x)

    def dense(layer, x):
        return x.reshape(len(x), -1) @ np.asarray(layer.kernel[...], np.float64) + np.asarray(layer.bias[...])

    hidden = np.maximum(dense(model.value_hidden, numpy_unit(model.value_conv, x)), 0)
    return dense(model.policy, numpy_unit(model.policy_conv, x)), np.tanh(dense(model.value, hidden)[:, 0])


def test_forward_pass_is_that_of_the_reference(drawn):
    planes = planes_of(np.random.default_rng(2), 3)
    wanted = numpy_forward(drawn[0], planes)
    for found, expected in zip(evaluate(drawn[0], planes), wanted, strict=True):
        np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-4)
    for found, expected in zip(evaluate(drawn[1], planes), wanted, strict=True):
        assert found.dtype == jnp.float32 and 0 < np.abs(found - expected).max() < 0.1


@nnx.jit
def evaluate_folded(model, planes):
    return infer(fold(model), planes)


def test_folded_network_computes_the_same(drawn):
    planes = planes_of(np.random.default_rng(2), 3)
    wanted = numpy_forward(drawn[0], planes)
    for model, tolerance in zip(drawn, (1e-4, 0.15), strict=True):
        for found, expected in zip(evaluate_folded(model, planes), wanted, strict=True):
            assert found.dtype == jnp.float32
            np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance)


def test_folded_convolution_without_bias():
    graphdef, state = nnx.split(nnx.eval_shape(lambda: GoNet(
        size=2, planes=1, filters=1, blocks=0, conv_bias=False, bn_epsilon=0.0, dtype=jnp.float32, rngs=nnx.Rngs(0))))
    model = nnx.merge(graphdef, jax.tree.map(lambda leaf: jnp.ones(leaf.shape), state))
    unit = model.stem
    for array, number in ((unit.conv.kernel, 6.0), (unit.norm.mean, 1.0), (unit.norm.var, 4.0), (unit.norm.scale, 3.0),
                          (unit.norm.bias, 0.5)):
        array[...] = jnp.full_like(array[...], number)
    kernel, bias = fold(model).stem
    assert (kernel == 9.0).all() and bias.tolist() == [-1.0]  # (6 x - 1) / 2 * 3 + 0.5


def test_heads_have_neither_scale_nor_centre(untrained):
    for head in (untrained.policy_conv, untrained.value_conv):
        assert set(nnx.to_pure_dict(nnx.state(head, nnx.Param))) == {"conv", "bias"}


@nnx.jit
def gradients(model, planes, policy, result):
    def loss(model):
        logits, value = model(planes, train=True)
        return -(policy * jax.nn.log_softmax(logits)).sum(axis=1).mean() + jnp.square(value - result).mean()

    return nnx.value_and_grad(loss)(model)


@pytest.mark.slow
def test_gradient_reaches_all_but_the_biases_that_batch_norm_takes_away(drawn):
    rng = np.random.default_rng(3)
    batch = planes_of(rng, 8), rng.dirichlet(np.ones(26), 8).astype(np.float32), rng.choice(np.float32([-1, 1]), 8)
    model = nnx.clone(drawn[0])
    before = np.asarray(model.stem.norm.mean[...])
    loss, slopes = gradients(model, *batch)
    moved = {jax.tree_util.keystr(path): np.abs(leaf).max() > 1e-6
             for path, leaf in jax.tree_util.tree_leaves_with_path(nnx.to_pure_dict(slopes))}
    assert {name for name, large in moved.items() if not large} == {
        f"{unit}['bias']" for unit in
        ("['stem']", "['policy_conv']", "['value_conv']", "['blocks'][0][0]", "['blocks'][0][1]")}
    assert not np.allclose(model.stem.norm.mean[...], before)
    other = nnx.clone(drawn[0])
    for unit in (other.stem, other.policy_conv, other.value_conv, *other.blocks[0]):
        unit.bias[...] += 1.0
    np.testing.assert_allclose(gradients(other, *batch)[0], loss, rtol=1e-4)
    np.testing.assert_allclose(other.stem.norm.mean[...] - model.stem.norm.mean[...], 0.003, rtol=1e-2)  # 1 - 0.997 of it
