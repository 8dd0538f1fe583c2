"""NeuMF's training loss with its gradient taken block by block, while the activations of a block are still in the caches."""

from collections.abc import Callable

import jax
import jax.numpy as jnp

from jax_mlperf.losses import sigmoid_cross_entropy
from jax_mlperf.models.neumf import TABLES, NeuMF, joined, parted
from jax_mlperf.types import PyTree


def blocked_loss(bind: Callable[[PyTree], NeuMF], params: PyTree, pairs: tuple[jax.Array, ...], *, from_tables: bool,
                 block: int) -> jax.Array:
    """The sum over pairs of the weighted cross-entropy, float32 []; see `sigmoid_cross_entropy`.

    Value and gradient are computed together, and the gradients of the rows of a block are added to those of the tables at once.
    On two CPU cores a gradient of 4,096 pairs (8 factors) takes 0.8 of the plain form's time, one of 65,536 pairs 1.2 of it, and
    a step of the closed benchmark (1,048,576 pairs) 0.5 of it.

    Args:
      bind: parameters -> model.
      params: of the model.
      pairs: users, items, labels, weights [B].
      from_tables: see `NeuMF.__call__`.
      block: pairs at a time; divides B.
    """
    blocks = tuple(leaf.reshape(-1, block) for leaf in pairs)

    def tables(params: PyTree) -> tuple[jax.Array, jax.Array]:
        model = bind(params)
        user, item = model.user_embedding[...], model.item_embedding[...]
        return (joined(model.user_part(user)), joined(model.item_part(item))) if from_tables else (user, item)

    def value_and_gradient(params: PyTree) -> tuple[jax.Array, PyTree]:
        (user_table, item_table), to_params = jax.vjp(tables, params)
        dense = {name: leaf for name, leaf in params.items() if name not in TABLES}

        def loss(dense: PyTree, user: jax.Array, item: jax.Array, labels: jax.Array, weights: jax.Array) -> jax.Array:
            model = bind({**params, **dense})
            parts = ((parted(user, model.factors), parted(item, model.factors)) if from_tables
                     else (model.user_part(user), model.item_part(item)))
            return sigmoid_cross_entropy(model.score(*parts), labels, weights)[0]

        def add(total: tuple, rows: tuple[jax.Array, ...]) -> tuple[tuple, None]:
            users, items, labels, weights = rows
            value, (of_dense, of_user, of_item) = jax.value_and_grad(loss, argnums=(0, 1, 2))(
                dense, user_table[users], item_table[items], labels, weights)
            return (total[0] + value, jax.tree.map(jnp.add, total[1], of_dense),
                    total[2].at[users].add(of_user), total[3].at[items].add(of_item)), None

        start = (jnp.zeros((), jnp.float32), *jax.tree.map(jnp.zeros_like, (dense, user_table, item_table)))
        (value, of_dense, *of_tables), _ = jax.lax.scan(add, start, blocks)
        (gradient,) = to_params(tuple(of_tables))
        return value, {**gradient, **{name: jax.tree.map(jnp.add, gradient[name], of_dense[name]) for name in of_dense}}

    total = jax.custom_vjp(lambda params: value_and_gradient(params)[0])
    total.defvjp(value_and_gradient, lambda gradient, seed: (jax.tree.map(lambda leaf: seed * leaf, gradient),))
    return total(params)
