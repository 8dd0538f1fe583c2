"""Checkpoint averaging (open division): evaluate the mean of the parameters at the last few points of training."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax

from jax_mlperf.types import PyTree


class AveragingState(NamedTuple):
    """The optimizer's own state `inner`, `snapshots` with a leading axis [k], and the number of `updates`, int32 []."""

    inner: optax.OptState
    snapshots: PyTree
    updates: jax.Array


def with_snapshots(optimizer: optax.GradientTransformation, k: int, every_steps: int) -> optax.GradientTransformation:
    """The same optimizer, which also keeps the parameters after every `every_steps`-th update, the last `k` of them.

    They live in the optimizer state, so that they are sharded, checkpointed and resumed like it. Memory: k copies. With k = 0 it
    is the optimizer itself.

    Raises:
      ValueError: k is below 0, or every_steps below 1.
    """
    if k < 0 or every_steps < 1:
        raise ValueError(f"averaging needs 0 or more snapshots and at least 1 step between two, not {k} and {every_steps}")
    if not k:
        return optimizer

    def init(params: PyTree) -> AveragingState:
        snapshots = jax.tree.map(lambda leaf: jnp.zeros((k, *leaf.shape), leaf.dtype), params)
        return AveragingState(optimizer.init(params), snapshots, jnp.zeros((), jnp.int32))

    def update(gradients: PyTree, state: AveragingState, params: PyTree) -> tuple[PyTree, AveragingState]:
        updates, inner = optimizer.update(gradients, state.inner, params)
        count = state.updates + 1
        slot = (count // every_steps - 1) % k

        def store(snapshots: PyTree) -> PyTree:
            new = optax.apply_updates(params, updates)
            return jax.tree.map(lambda ring, leaf: ring.at[slot].set(leaf), snapshots, new)

        snapshots = jax.lax.cond(count % every_steps == 0, store, lambda ring: ring, state.snapshots)
        return updates, AveragingState(inner, snapshots, count)

    return optax.GradientTransformation(init, update)


def averaged(params: PyTree, state: optax.OptState, every_steps: int) -> PyTree:
    """The mean of the snapshots taken so far; `params` itself while there is none, or none is ever taken."""
    if not isinstance(state, AveragingState):
        return params

    def mean(leaf: jax.Array, ring: jax.Array) -> jax.Array:
        taken = jnp.minimum(state.updates // every_steps, ring.shape[0])
        return jnp.where(taken > 0, ring.sum(axis=0) / jnp.maximum(taken, 1), leaf)

    return jax.tree.map(mean, params, state.snapshots)
