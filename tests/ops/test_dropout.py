"""Rate, scale, independence and sharding of dropout, and the statistics of its own generator."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from jax_mlperf.ops import hash_rng
from jax_mlperf.ops.dropout import dropout

# JAX's "rbg" makes the bits of the whole batch on every device, so no config here takes it.
SHARDED_IMPLEMENTATIONS = ["threefry2x32", "hash32"]


def hash_bits(key: jax.Array, shape: tuple[int, ...]) -> np.ndarray:
    return np.asarray(jax.random.bits(key, shape, jnp.uint32))


def mask(seed: int, shape: tuple[int, ...], rate: float = 0.1) -> np.ndarray:
    return np.asarray(dropout(jnp.ones(shape), rate, jax.random.key(seed, impl=hash_rng.HASH32)) > 0)


@pytest.mark.parametrize("implementation", ["hash32", "threefry2x32", "rbg"])
@pytest.mark.parametrize("rate", [0.1, 0.5])
def test_rate_and_expectation(rate, implementation):
    x = dropout(jnp.ones((512, 2048)), rate, jax.random.key(3, impl=hash_rng.key_implementation(implementation)))
    deviation = np.sqrt(rate * (1 - rate) / x.size)
    assert abs(float((x == 0).mean()) - rate) < 4 * deviation
    np.testing.assert_allclose(np.unique(x), [0.0, 1 / (1 - round(rate * 2**16) / 2**16)], rtol=1e-6)


def test_the_expectation_of_half_precision():
    """1 / 0.9 itself, rounded to bfloat16, is 0.16 % too small."""
    x = jnp.linspace(1.0, 2.0, 2**14, dtype=jnp.bfloat16)
    kept = dropout(x, 0.1, jax.random.key(0, impl=hash_rng.HASH32))
    ratios = np.asarray(kept, np.float64)[np.asarray(kept > 0)] / np.asarray(x, np.float64)[np.asarray(kept > 0)]
    assert ratios.mean() == pytest.approx(1 / 0.9, rel=2e-4)


@pytest.mark.parametrize("implementation", SHARDED_IMPLEMENTATIONS)
def test_the_halves_of_a_row_share_words_but_no_bits(implementation):
    key = jax.random.key(2, impl=hash_rng.key_implementation(implementation))
    kept = np.asarray(dropout(jnp.ones((512, 2048)), 0.1, key) > 0).astype(float)
    assert abs(np.corrcoef(kept[:, :1024].ravel(), kept[:, 1024:].ravel())[0, 1]) < 5 / np.sqrt(kept.size / 2)
    words = np.asarray(jax.random.bits(key, (512, 1, 1024), jnp.uint32))[:, 0]
    np.testing.assert_array_equal(kept[:, :1024], words >> 16 >= round(0.1 * 2**16))
    np.testing.assert_array_equal(kept[:, 1024:], words & 0xFFFF >= round(0.1 * 2**16))


@pytest.mark.parametrize("shape", [(), (1,), (3, 99_999)])
def test_odd_shapes(shape):
    x = dropout(jnp.ones(shape), 0.25, jax.random.key(0, impl=hash_rng.HASH32))
    assert x.shape == shape and set(np.unique(x)) <= {np.float32(0), np.float32(4 / 3)}
    if x.size > 1:
        assert abs(float((x == 0).mean()) - 0.25) < 4 * np.sqrt(0.25 * 0.75 / x.size)


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
    key = jax.random.key(0, impl=hash_rng.HASH32)
    first = hash_bits(jax.random.fold_in(key, 0), (2**18,))
    second = hash_bits(jax.random.fold_in(key, 1), (2**18,))
    kept, other = (first > 2**28).astype(float), (second > 2**28).astype(float)
    assert abs(np.corrcoef(kept, other)[0, 1]) < 5 / np.sqrt(kept.size)
    # 2**18 of 2**32 values each: 16 common ones are expected by chance; a shifted copy shares far more.
    assert np.intersect1d(first, second).size < 60


def test_every_bit_is_balanced():
    bits = hash_bits(jax.random.key(5, impl=hash_rng.HASH32), (2**18,))
    ones = ((bits[:, None] >> np.arange(32, dtype=np.uint32)) & 1).mean(0)
    assert np.abs(ones - 0.5).max() < 5 * 0.5 / np.sqrt(bits.size)


@pytest.mark.parametrize("implementation", SHARDED_IMPLEMENTATIONS)
def test_a_sharded_batch_gets_the_same_mask_without_communication(implementation):
    mesh = Mesh(np.array(jax.devices()), ("data",))
    sharding = NamedSharding(mesh, PartitionSpec("data"))
    key = jax.random.key(7, impl=hash_rng.key_implementation(implementation))
    x = jnp.ones((16, 4, 32))
    lowered = jax.jit(lambda x, key: dropout(x, 0.5, key), out_shardings=sharding)
    compiled = lowered.lower(jax.device_put(x, sharding), key).compile()
    text = compiled.as_text()
    for collective in ("all-reduce", "all-gather", "all-to-all", "collective-permute"):
        assert collective not in text
    assert "[16,4," not in text  # nobody makes the bits of the whole batch
    np.testing.assert_array_equal(compiled(jax.device_put(x, sharding), key), dropout(x, 0.5, key))


@pytest.mark.parametrize("bit_width", [8, 16, 32])
def test_narrow_bits_are_the_upper_ones(bit_width):
    key = jnp.array([1, 2], jnp.uint32)
    narrow = hash_rng.hash_bits(key, bit_width, (8, 4))
    np.testing.assert_array_equal(narrow, np.asarray(hash_rng.hash_bits(key, 32, (8, 4))) >> (32 - bit_width))
    with pytest.raises(ValueError, match="not 64"):
        hash_rng.hash_bits(key, 64, (2,))


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
