"""The slow average that airbench94 copies back into the network.

Facts: `KellerJordan/cifar10-airbench:legacy/airbench94_compiled.py`, LookaheadState.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jax_mlperf.types import PyTree

_EVERY = 5  # steps between two averagings


class LookaheadState(NamedTuple):
    """int32 [] updates made, and the average of every parameter."""

    updates_made: jax.Array
    average: PyTree


def lookahead_keep(step: jax.typing.ArrayLike, total_steps: int) -> jax.Array:
    """Part of the average that the update after `step` steps keeps: 0.95**5 (step / total_steps)**3."""
    return 0.95**5 * (jnp.asarray(step, jnp.float32) / total_steps) ** 3


def lookahead(total_steps: int) -> optax.GradientTransformation:
    """Chained behind an optimizer: every five steps the parameters move into their average, and then become it.

    After the last step they become the average as it is. The reference averages the running statistics of batch norm in the
    same way; here these stay as they are.

    Args:
      total_steps: of the run.

    Returns:
      a transformation whose `update` needs the parameters.
    """

    def init(params: PyTree) -> LookaheadState:
        return LookaheadState(jnp.zeros((), jnp.int32), params)

    def update(updates: PyTree, state: LookaheadState, params: PyTree | None = None) -> tuple[PyTree, LookaheadState]:
        if params is None:
            raise ValueError("lookahead averages the parameters: give them to update")
        step = state.updates_made + 1
        averaging = step % _EVERY == 0
        ends = step == total_steps
        keep = jnp.where(averaging, lookahead_keep(step, total_steps), 1.0)

        def averaged(average: jax.Array, param: jax.Array, change: jax.Array) -> jax.Array:
            return keep * average + (1 - keep) * (param + change)

        average = jax.tree.map(averaged, state.average, params, updates)
        updates = jax.tree.map(lambda change, mean, param: jnp.where(averaging | ends, mean - param, change),
                               updates, average, params)
        return updates, LookaheadState(step, average)

    return optax.GradientTransformation(init, update)
