"""tied_logits: value and gradients equal a plain product; products stay in the inputs' dtype."""

import jax
import jax.numpy as jnp
import numpy as np

from jax_mlperf.ops.matmul import tied_logits


def arrays():
    rng = np.random.default_rng(0)
    return [jnp.asarray(rng.normal(size=shape), jnp.float32) for shape in ((2, 3, 8), (11, 8), (2, 3, 11))]


def test_value_and_gradients():
    decoded, table, probe = arrays()
    ours = jax.value_and_grad(lambda y, e: (tied_logits(y, e) * probe).sum(), argnums=(0, 1))(decoded, table)
    plain = jax.value_and_grad(lambda y, e: ((y @ e.T) * probe).sum(), argnums=(0, 1))(decoded, table)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5), ours, plain)


def test_half_precision_result_is_not_rounded():
    decoded, table, probe = arrays()
    half = decoded.astype(jnp.bfloat16)
    logits = tied_logits(half, table)
    exact = half.astype(jnp.float32) @ table.astype(jnp.bfloat16).astype(jnp.float32).T
    assert logits.dtype == jnp.float32
    np.testing.assert_allclose(logits, exact, rtol=1e-5, atol=1e-5)
    gradients = jax.grad(lambda y, e: (tied_logits(y, e) * probe).sum(), argnums=(0, 1))(half, table)
    assert [gradient.dtype for gradient in gradients] == [jnp.bfloat16, jnp.float32]
