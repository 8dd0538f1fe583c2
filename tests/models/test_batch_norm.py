"""The batch-norm layer: running statistics of the whole batch, of groups and of workers."""

import jax.numpy as jnp
import numpy as np
import pytest
from flax import nnx

from jax_mlperf.models.batch_norm import BatchNorm

X = np.float32([[1], [3], [5], [11]])


def layer(features=1, **options):
    return BatchNorm(features, rngs=nnx.Rngs(params=0), **options)


def test_running_statistics_of_the_spec():
    norm = layer()
    norm(X, train=True)
    np.testing.assert_allclose([norm.mean[...], norm.var[...]], [[0.5], [2.3]], rtol=1e-6)


def test_running_statistics_are_the_mean_over_groups():
    norm = layer(group_size=2)
    y = norm(X, train=True)
    np.testing.assert_allclose([norm.mean[...], norm.var[...]], [[0.5], [1.4]], rtol=1e-6)  # 0.1 (2 + 8) / 2, 0.9 + 0.1 (1 + 9) / 2
    np.testing.assert_allclose(y, [[-1], [1], [-1], [1]], atol=1e-4)


def test_groups_of_padding_do_not_move_them():
    norm = layer(group_size=2)
    norm(X, train=True, weights=jnp.array([1.0, 1, 0, 0]))
    np.testing.assert_allclose([norm.mean[...], norm.var[...]], [[0.2], [1.0]], rtol=1e-6)
    workers = layer(group_size=2, workers=2)
    workers(X, train=True, weights=jnp.array([1.0, 1, 0, 0]))
    np.testing.assert_allclose(workers.mean[...], [[0.2], [0]], rtol=1e-6)


def test_every_worker_has_its_own():
    norm = layer(group_size=2, workers=2, momentum=0.0)
    trained = norm(X, train=True)
    np.testing.assert_allclose([norm.mean[...], norm.var[...]], [[[2], [8]], [[1], [9]]], rtol=1e-6)
    np.testing.assert_allclose(norm(X, train=False), trained, rtol=1e-6)
    with pytest.raises(ValueError, match="2 workers on this device need as many groups of the batch, got 1"):
        layer(workers=2)(X, train=True)


def test_evaluation_uses_running_statistics_scale_bias_shortcut_and_relu():
    norm = layer(2, epsilon=0.0, scale_init=nnx.initializers.constant(3.0), dtype=jnp.bfloat16)
    norm.mean[...], norm.var[...], norm.bias[...] = jnp.array([1.0, 2]), jnp.array([4.0, 1]), jnp.array([0.5, 0])
    y = norm(jnp.array([[3.0, 1]]), train=False, shortcut=jnp.array([[1.0, 1]]), relu=True)
    assert y.dtype == jnp.bfloat16
    np.testing.assert_array_equal(y, np.float32([[4.5, 0]]))  # 1.5 (3 - 1) + 0.5 + 1, max(3 (1 - 2) + 1, 0)
    np.testing.assert_array_equal(norm.mean[...], [1, 2])


def test_without_scale():
    norm = layer(use_scale=False)
    assert norm.scale is None
    np.testing.assert_allclose(norm(X, train=True)[:, 0], (X[:, 0] - 5) / 14**0.5, rtol=1e-4)


def test_without_scale_and_bias_there_is_no_parameter():
    norm = layer(use_scale=False, use_bias=False)
    assert not nnx.state(norm, nnx.Param)
    np.testing.assert_allclose(norm(X, train=True)[:, 0], (X[:, 0] - 5) / 14**0.5, rtol=1e-4)
    norm.mean[...], norm.var[...] = jnp.array([1.0]), jnp.array([4.0])
    np.testing.assert_allclose(norm(X, train=False)[:, 0], (X[:, 0] - 1) / 2, rtol=1e-4)
