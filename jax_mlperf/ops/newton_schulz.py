"""Newton-Schulz iteration: the orthogonal factor of a matrix by products alone, approximately."""

import jax
import jax.numpy as jnp

# Largest slope at 0 rather than convergence to 1 (`KellerJordan/cifar10-airbench:airbench94_muon.py`).
_COEFFICIENTS = (3.4445, -4.7750, 2.0315)
_STEPS = 3
_EPSILON = 1e-7


def newton_schulz(matrices: jax.Array, *, dtype: jax.typing.DTypeLike = jnp.bfloat16) -> jax.Array:
    """Drives the singular values of each matrix towards 1 and keeps its singular vectors.

    X = G / (|G| + 1e-7), then three times X <- a X + (b A + c A A) X with A = X X^T: every singular value s becomes
    a s + b s**3 + c s**5 (a, b, c: 3.4445, -4.7750, 2.0315). Of a tall matrix the transposed one is taken, so that A is the
    smaller of the two products.

    Args:
      matrices: any float dtype, [..., rows, columns].
      dtype: of the products.

    Returns:
      Array of the same shape in `dtype`.
    """
    wide = jnp.promote_types(dtype, jnp.float32)

    def times(factor: float, x: jax.Array) -> jax.Array:
        """Multiplies by the factor itself; in bfloat16 JAX would round 3.4445 to 3.4375 first, which PyTorch does not."""
        return (factor * x.astype(wide)).astype(dtype)

    a, b, c = _COEFFICIENTS
    x = matrices.astype(dtype)
    x = x / (jnp.linalg.norm(x.astype(wide), axis=(-2, -1), keepdims=True).astype(dtype) + _EPSILON)
    tall = x.shape[-2] > x.shape[-1]
    x = x.mT if tall else x
    for _ in range(_STEPS):
        gram = x @ x.mT
        x = times(a, x) + (times(b, gram) + times(c, gram) @ gram) @ x
    return x.mT if tall else x
