"""Rate, scale, independence and sharding of the hashed dropout."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_mlperf.ops.dropout import dropout, hash_bits

IMPLEMENTATIONS = ["threefry2x32", "rbg"]


def mask(seed: int, shape: tuple[int, ...], rate: float = 0.1) -> np.ndarray:
    return np.asarray(dropout(jnp.ones(shape), rate, jax.random.key(seed)) > 0)


@pytest.mark.parametrize("rate", [0.1, 0.3, 0.5])
def test_rate_and_expectation(rate):
    x = dropout(jnp.ones((512, 2048)), rate, jax.random.key(3))
    deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert abs(float((x == 0).mean()) - rate) < 4 * deviation
    np.testing.assert_allclose(np.unique(x), [0.0, 1 / (1 - rate)], rtol=1e-6)


def test_rows_and_columns_are_not_favoured():
    kept = mask(0, (1024, 1024))
    for axis in (0, 1):
        z = (kept.mean(axis) - 0.9) / np.sqrt(0.09 / 1024)
        assert abs(np.mean(z**2) - 1) < 0.2 and np.abs(z).max() < 5  # a chi-square of 1024 binomial counts


@pytest.mark.parametrize("lag", [1, 2, 3, 64, 1024, 65536])
def test_neighbours_are_independent(lag):
    kept = mask(1, (2**20,)).astype(float)
    assert abs(np.corrcoef(kept[:-lag], kept[lag:])[0, 1]) < 5 / np.sqrt(kept.size)


def test_keys_are_independent_and_not_shifted_copies():
    key = jax.random.key(0)
    first = np.asarray(hash_bits(jax.random.fold_in(key, 0), (2**18,)))
    second = np.asarray(hash_bits(jax.random.fold_in(key, 1), (2**18,)))
    kept, other = (first > 2**28).astype(float), (second > 2**28).astype(float)
    assert abs(np.corrcoef(kept, other)[0, 1]) < 5 / np.sqrt(kept.size)
    # 2**18 of 2**32 values each: 16 common ones are expected by chance; a shifted copy shares far more.
    assert np.intersect1d(first, second).size < 60


def test_every_bit_is_balanced():
    bits = np.asarray(hash_bits(jax.random.key(5), (2**18,)))
    ones = ((bits[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(bits.size)


@pytest.mark.parametrize("implementation", IMPLEMENTATIONS)
def test_a_sharded_batch_gets_the_same_mask_without_communication(implementation):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    key = jax.random.key(7, impl=implementation)
    x = jnp.ones((16, 4, 32))
    lowered = jax.jit(lambda x, key: dropout(x, 0.5, key), out_shardings=sharding)
    compiled = lowered.lower(jax.device_put(x, sharding), key).compile()
    text = compiled.as_text()
    for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute"):
        assert collective not in text
    assert "[16,4,32]" not in text  # nobody makes the bits of the whole batch
    np.testing.assert_array_equal(compiled(jax.device_put(x, sharding), key), dropout(x, 0.5, key))


def test_gradient_passes_where_kept_and_dtype_stays():
    x = jnp.ones((64, 64), jnp.bfloat16)
    key = jax.random.key(0)
    kept = dropout(x, 0.25, key)
    gradient = jax.grad(lambda x: dropout(x, 0.25, key).astype(jnp.float32).sum())(x)
    assert kept.dtype == gradient.dtype == jnp.bfloat16
    np.testing.assert_array_equal(kept, gradient)


def test_off_without_key_or_rate():
    x = jnp.arange(4.0)
    assert dropout(x, 0.5, None) is x
    assert dropout(x, 0.0, jax.random.key(0)) is x


@pytest.mark.parametrize("rate", [-0.1, 1.0])
def test_impossible_rate_is_refused(rate):
    with pytest.raises(ValueError, match="must be in"):
        dropout(jnp.ones(2), rate, jax.random.key(0))
