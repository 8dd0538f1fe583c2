"""Batch norm against NumPy, its gradient against autodiff of the definition, its groups across devices."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, PartitionSpec

from jax_mlperf.ops.batch_norm import batch_norm
from jax_mlperf.plan import collectives

EPSILON = 1e-3
WEIGHTS = np.array([1.0, 0, 1, 1, 1, 1, 1, 0], np.float32)


def definition(x, scale, bias, groups, weights, shortcut, relu, xp=jnp):
    """The formulas as they stand, with whichever of jax.numpy and numpy; returns y and the groups' mean and variance."""
    rows = x.reshape(groups, -1, *x.shape[1:])
    weights = xp.ones(x.shape[0]) if weights is None else weights
    weights = weights.reshape(groups, -1, 1, 1, 1)
    samples = weights.sum(axis=1, keepdims=True) * x.shape[1] * x.shape[2]
    mean = (rows * weights).sum(axis=(1, 2, 3), keepdims=True) / samples
    var = (weights * (rows - mean) ** 2).sum(axis=(1, 2, 3), keepdims=True) / samples
    y = ((rows - mean) / xp.sqrt(var + EPSILON) * scale + bias).reshape(x.shape)
    y = y if shortcut is None else y + shortcut
    return (xp.maximum(y, 0) if relu else y), mean.reshape(groups, -1), var.reshape(groups, -1)


def arrays(seed=0, rows=8):
    rng = np.random.default_rng(seed)
    x, shortcut, cotangent = (rng.normal(size=(rows, 3, 2, 5)) for _ in range(3))
    return [np.asarray(a, np.float32) for a in (2 * x + 1.5, rng.normal(size=5), rng.normal(size=5), shortcut, cotangent)]


CASES = [(0, False, False, False), (4, True, True, False), (2, False, True, True), (4, True, False, True)]


@pytest.mark.parametrize("size, weighted, relu, with_shortcut", CASES)
def test_values_and_gradients(size, weighted, relu, with_shortcut):
    x, scale, bias, shortcut, cotangent = arrays()
    weights = WEIGHTS if weighted else None
    groups = 8 // (size or 8)

    def ours(x, scale, bias, shortcut):
        return batch_norm(x, scale, bias, group_size=size, epsilon=EPSILON, weights=weights, relu=relu,
                          shortcut=shortcut if with_shortcut else None)

    def theirs(x, scale, bias, shortcut, xp=jnp):
        return definition(x, scale, bias, groups, weights, shortcut if with_shortcut else None, relu, xp)

    inputs = (x, scale, bias, shortcut)
    for ours_, theirs_ in zip(jax.jit(ours)(*inputs), theirs(*(a.astype(float) for a in inputs), np), strict=True):
        np.testing.assert_allclose(ours_, theirs_, atol=2e-5)

    def gradients(f):
        return jax.jit(jax.grad(lambda inputs: (f(*inputs)[0] * cotangent).sum()))(inputs)

    for ours_, theirs_ in zip(gradients(ours), gradients(theirs), strict=True):
        np.testing.assert_allclose(ours_, theirs_, atol=5e-5)


def test_spec_point():
    x, one, zero = np.float32([[1], [3], [5], [11]]), np.ones(1, np.float32), np.zeros(1, np.float32)
    run = jax.jit(functools.partial(batch_norm, epsilon=0.0), static_argnames="group_size")
    _, mean, var = run(x, one, zero, group_size=2)
    np.testing.assert_array_equal(mean, [[2], [8]])
    np.testing.assert_array_equal(var, [[1], [9]])
    assert run(x, one, zero, group_size=0)[2] == 14.0


def test_padding_rows_do_not_count_and_a_group_of_padding_stays_finite():
    x, scale, bias, *_ = arrays()
    run = jax.jit(functools.partial(batch_norm, scale=scale, bias=bias, group_size=4, epsilon=EPSILON))
    weights = np.array([1, 1, 0, 1, 0, 0, 0, 0])
    garbage = x.copy()
    garbage[2] = 1e3
    y, mean, var = run(x, weights=weights)
    again, *statistics = run(garbage, weights=weights)
    np.testing.assert_array_equal(np.delete(again, 2, axis=0), np.delete(y, 2, axis=0))
    np.testing.assert_array_equal(statistics, [mean, var])
    assert np.isfinite(y).all() and not mean[1].any() and not var[1].any()


def test_statistics_are_float32_whatever_x_is():
    x = jnp.asarray(arrays()[0], jnp.bfloat16)
    run = jax.jit(functools.partial(batch_norm, group_size=0, epsilon=EPSILON))
    y, mean, var = run(x, np.ones(5, np.float32), np.zeros(5, np.float32))
    assert (y.dtype, mean.dtype, var.dtype) == (jnp.bfloat16, jnp.float32, jnp.float32)
    np.testing.assert_allclose(mean[0], np.asarray(x, np.float64).mean(axis=(0, 1, 2)), rtol=1e-6)


@pytest.mark.parametrize("options, message", [({"group_size": 3}, "must divide the 8 rows"),
                                              ({"group_size": 4, "group_devices": 2}, "needs all their rows")])
def test_groups_that_do_not_fit(options, message):
    x, scale, bias, *_ = arrays()
    with pytest.raises(ValueError, match=message):
        batch_norm(x, scale, bias, epsilon=EPSILON, **options)


@functools.cache
def on_devices(group_size, group_devices, count=8):
    """Compiled forward and backward pass over rows on `count` devices, with the inputs it was compiled for."""
    x, scale, bias, _, cotangent = arrays(rows=16)

    def local(x, scale, bias, cotangent):
        def loss(x, scale, bias):
            y, *statistics = batch_norm(x, scale, bias, group_size=group_size, epsilon=EPSILON, relu=True,
                                        group_devices=group_devices)
            return (y * cotangent).sum(), (y, *statistics)

        (gx, gs, gb), outputs = jax.grad(loss, (0, 1, 2), has_aux=True)(x, scale, bias)
        return gx, gs[None], gb[None], outputs

    rows, whole = PartitionSpec("data"), PartitionSpec()
    mapped = jax.shard_map(local, mesh=Mesh(jax.devices()[:count], "data"), in_specs=(rows, whole, whole, rows),
                           out_specs=rows, check_vma=False)
    inputs = (x, scale, bias, cotangent)
    return jax.jit(mapped).lower(*inputs).compile(), inputs


@pytest.mark.parametrize("group_size", [0, 1])
def test_groups_within_a_device_need_no_collective(group_size):
    assert collectives(on_devices(group_size, 1)[0]) == []


def test_group_of_two_devices_is_the_group_of_the_joined_batch():
    compiled, (x, scale, bias, cotangent) = on_devices(0, 2)
    found = collectives(compiled)
    assert found and {comm.group for comm in found} == {(0, 1)}
    gx, gs, gb, (y, mean, var) = compiled(x, scale, bias, cotangent)

    def joined(x, scale, bias):
        y, mean, var = definition(x, scale, bias, 4, None, None, True)
        return (y * cotangent).sum(), (y, mean, var)

    (gx_, gs_, gb_), (y_, mean_, var_) = jax.jit(jax.grad(joined, (0, 1, 2), has_aux=True))(x, scale, bias)
    for ours, theirs in ((y, y_), (mean[::2], mean_), (mean[1::2], mean_), (var[::2], var_), (gx, gx_), (gs.sum(0), gs_),
                         (gb.sum(0), gb_)):
        np.testing.assert_allclose(ours, theirs, atol=5e-5)


def test_devices_that_do_not_split_into_groups():
    with pytest.raises(ValueError, match="4 devices on mesh axis 'data' do not split into groups of 3"):
        on_devices.__wrapped__(0, 3, 4)
