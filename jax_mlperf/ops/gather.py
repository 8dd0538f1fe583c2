"""Look-ups whose automatic derivative, a scatter-add, would be slow or differ from run to run on a GPU."""

from functools import partial

import jax
import jax.numpy as jnp


@partial(jax.custom_vjp, nondiff_argnums=(2,))
def _take_slots(x: jax.Array, slots: jax.Array, length: int) -> jax.Array:
    return jnp.take_along_axis(x, slots[..., None], axis=1, mode="promise_in_bounds")


def _take_slots_forward(x: jax.Array, slots: jax.Array, length: int) -> tuple[jax.Array, jax.Array]:
    return _take_slots(x, slots, length), slots


def _take_slots_backward(length: int, slots: jax.Array, gradient: jax.Array) -> tuple[jax.Array, None]:
    one_hot = jax.nn.one_hot(slots, length, dtype=gradient.dtype)
    return jnp.einsum("bpt,bph->bth", one_hot, gradient, precision="highest"), None


_take_slots.defvjp(_take_slots_forward, _take_slots_backward)


def take_slots(x: jax.Array, slots: jax.Array) -> jax.Array:
    """Some slots of every row.

    The gradient is a product with one-hot rows instead of a scatter-add: its sums have one order, many zeros that meet in
    slot 0 (the padding's) cost nothing, and its FLOPs are less than a thousandth of one BERT layer's.

    Args:
      x: float [B, T, H].
      slots: int [B, P] in 0 ... T - 1 (clipped); a slot may occur more than once.

    Returns:
      [B, P, H] in x's dtype.
    """
    return _take_slots(x, jnp.clip(slots, 0, x.shape[1] - 1), x.shape[1])


@jax.custom_vjp
def take_rows(table: jax.Array, ids: jax.Array) -> jax.Array:
    """Rows of a table of very few rows (token types); its gradient is one masked sum for each row.

    Args:
      table: float32 [V, H].
      ids: int [...] in 0 ... V - 1 (clipped).

    Returns:
      [..., H] in the table's dtype.
    """
    return jnp.take(table, ids, axis=0, mode="clip")


def _take_rows_forward(table: jax.Array, ids: jax.Array) -> tuple[jax.Array, tuple[jax.Array, jax.Array]]:
    return take_rows(table, ids), (table, ids)


def _take_rows_backward(residuals: tuple[jax.Array, jax.Array], gradient: jax.Array) -> tuple[jax.Array, None]:
    table, ids = residuals
    flat = jnp.clip(ids, 0, len(table) - 1).reshape(-1, 1)
    rows = gradient.reshape(-1, gradient.shape[-1])
    return jnp.stack([jnp.where(flat == row, rows, 0.0).sum(axis=0) for row in range(len(table))]), None


take_rows.defvjp(_take_rows_forward, _take_rows_backward)
