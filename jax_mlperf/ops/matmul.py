"""Matrix products whose automatic derivative would be slow."""

import jax
import jax.numpy as jnp


@jax.custom_vjp
def tied_logits(decoded: jax.Array, table: jax.Array) -> jax.Array:
    """decoded [..., d] times the transpose of the float32 table [V, d]: float32 [..., V].

    The product is in decoded's dtype with float32 accumulation and a float32 result. Autodiff would multiply
    the float32 gradient of the result with 16-bit operands, in float32, and on the CPU transpose it ([N, V],
    the largest array of the model) for the table's gradient. Here all three products are in decoded's dtype;
    the table's gradient is float32 and comes from the small operand's transpose.
    """
    return jnp.einsum(
        "...d,vd->...v", decoded, table.astype(decoded.dtype), preferred_element_type=jnp.float32
    )


def _tied_logits_forward(
    decoded: jax.Array, table: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return tied_logits(decoded, table), (decoded, table)


def _tied_logits_backward(
    residuals: tuple[jax.Array, jax.Array], gradient: jax.Array
) -> tuple[jax.Array, jax.Array]:
    decoded, table = residuals
    gradient = gradient.astype(decoded.dtype)
    gradient_decoded = jnp.einsum("...v,vd->...d", gradient, table.astype(decoded.dtype))
    rows = decoded.reshape(-1, decoded.shape[-1])
    flat = gradient.reshape(-1, gradient.shape[-1])
    gradient_table = jnp.einsum("nd,nv->dv", rows, flat, preferred_element_type=jnp.float32)
    return gradient_decoded, gradient_table.T


tied_logits.defvjp(_tied_logits_forward, _tied_logits_backward)
