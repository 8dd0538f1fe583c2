"""Random numbers for dropout that cost little: "hash32", beside JAX's "threefry2x32" and "rbg".

JAX's generators run 20 rounds of threefry, or 10 of philox, and on the CPU threefry is a loop that writes its
words to memory. A dropout mask needs no cryptographic strength: one multiply-xorshift permutation of the
element's index is enough, is computed where the mask is used, needs no memory, no communication when the
array is sharded, and is recomputed in the backward pass. The closed division asks for stock generators, so
its configs take one.

Keys of it are made, split and folded as threefry's are.
"""

from collections.abc import Hashable

import jax
import jax.numpy as jnp
from jax import lax
from jax.extend.random import define_prng_impl

from jax_mlperf.errors import UserError

# The multipliers and shifts of Chris Wellons' "lowbias32" integer hash (bias 0.17, found by search over
# hashes of this form; https://nullprogram.com/blog/2018/07/31/). The second key word goes in between the two
# multiplications, so that the numbers of two keys are not shifted copies of one sequence.
_FIRST_MULTIPLIER = 0x7FEB352D
_SECOND_MULTIPLIER = 0x846CA68B


def hash_bits(key: jax.Array, bit_width: int, shape: tuple[int, ...]) -> jax.Array:
    """Uniform random bits [*shape], a pure function of the key and of each element's flat index modulo 2**32.

    Args:
      key: uint32 [2].
      bit_width: 8, 16 or 32; narrower numbers are the upper bits.
      shape: the values do not depend on how an array of this shape is sharded.

    Raises:
      ValueError: another bit width.
    """
    if bit_width not in (8, 16, 32):
        raise ValueError(f"hash32 makes 8, 16 or 32 bits, not {bit_width}")
    counter = jnp.full(shape, key[0])
    stride = 1
    for axis in reversed(range(len(shape))):
        counter += lax.broadcasted_iota(jnp.uint32, shape, axis) * jnp.uint32(stride % 2**32)
        stride *= shape[axis]
    bits = (counter ^ (counter >> 16)) * jnp.uint32(_FIRST_MULTIPLIER) + key[1]
    bits = (bits ^ (bits >> 15)) * jnp.uint32(_SECOND_MULTIPLIER)
    bits = bits ^ (bits >> 16)
    return (bits >> (32 - bit_width)).astype(jnp.dtype(f"uint{bit_width}"))


def _threefry(data: jax.Array) -> jax.Array:
    return jax.random.wrap_key_data(data, impl="threefry2x32")


HASH32 = define_prng_impl(
    key_shape=(2,),
    seed=lambda seed: jax.random.key_data(jax.random.key(seed, impl="threefry2x32")),
    split=lambda key, shape: jax.random.key_data(jax.random.split(_threefry(key), shape)),
    random_bits=hash_bits,
    fold_in=lambda key, data: jax.random.key_data(jax.random.fold_in(_threefry(key), data)),
    name="hash32",
    tag="hash",
)


def key_implementation(name: str) -> Hashable:
    """What `jax.random.key(seed, impl=...)` takes for a name in a config.

    Raises:
      UserError: there is no generator of that name.
    """
    implementations: dict[str, Hashable] = {"threefry2x32": "threefry2x32", "rbg": "rbg", "hash32": HASH32}
    if name not in implementations:
        raise UserError(f"config.rng_impl is {name!r}; there are: {', '.join(implementations)}")
    return implementations[name]


def key_data_shape(name: str) -> jax.ShapeDtypeStruct:
    """Shape of the raw data of one key of the generator of that name."""
    return jax.eval_shape(lambda: jax.random.key_data(jax.random.key(0, impl=key_implementation(name))))
