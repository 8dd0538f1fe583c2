"""The training step of every benchmark that learns from batches with a differentiable loss."""

import dataclasses
import math
from collections.abc import Callable, Hashable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jax.sharding import Mesh, PartitionSpec

from jax_mlperf.benchmark import TrainState
from jax_mlperf.errors import UserError
from jax_mlperf.parallel.mesh import BATCH_AXES, state_shardings
from jax_mlperf.types import PyTree


class LossOutput(NamedTuple):
    """What a loss function returns.

    Attributes:
      loss_sum: float32 [], the loss summed over the weights.
      weight_sum: float32 [], what to divide by for the mean (examples or tokens).
      model_state: the new untrained state (batch statistics).
    """

    loss_sum: jax.Array
    weight_sum: jax.Array
    model_state: PyTree


WHOLE = PartitionSpec()

LossFn = Callable[[PyTree, PyTree, PyTree, jax.Array, PyTree], LossOutput]
GradientFn = Callable[[PyTree, PyTree, PyTree, jax.Array, PyTree], tuple[PyTree, LossOutput]]
TrainStep = Callable[[TrainState, PyTree, PyTree], tuple[TrainState, dict[str, jax.Array]]]


def fewest_microbatches(rows: Sequence[int], devices: int, limit: int) -> int:
    """The fewest microbatches that keep every device within `limit` rows (0: no limit), for batches of so many rows.

    Raises:
      UserError: the batches do not split into as many microbatches each.
    """
    if not limit:
        return 1
    per_device = [max(1, count // devices) for count in rows]
    for steps in range(math.ceil(max(per_device) / limit), max(per_device) + 1):
        if all(count % steps == 0 for count in per_device):
            return steps
    raise UserError(f"batches of {', '.join(map(str, rows))} rows over {devices} devices do not split alike into microbatches of "
                    f"at most {limit} rows; set --config.microbatch_per_device=0")


def supervised_step(loss_fn: LossFn, optimizer: optax.GradientTransformation, *, rng_impl: Hashable,
                    accumulation_steps: int = 1, mesh: Mesh | None = None,
                    model_state_spec: PartitionSpec = WHOLE) -> TrainStep:
    """A pure training step: the gradient of the mean loss over the whole global batch, and one optimizer update.

    The mean is exact: gradients of sums are added over devices and microbatches and divided once by the total weight (a batch
    whose total weight is below 1 is divided by 1). Every device adds up the gradients of its own rows, with its own random
    numbers, and they are all-reduced once, at the end: left to itself the partitioner reduces the parts of a gradient that is
    used in several places one by one, and all of them in every microbatch. Sharded parameters ("fsdp") are gathered at the
    start, and their gradients reduced into shards: the partitioner would shard the activations too, and move those.

    Args:
      loss_fn: (params, model_state, batch, key, data) -> LossOutput; batch and model_state are a device's own part.
      optimizer: the optax optimizer.
      rng_impl: implementation of the keys in `TrainState.rng` (`key_implementation`).
      accumulation_steps: microbatches that the batch is cut into; only one of them is in flight.
      mesh: the mesh that the batch is split over; None for one device.
      model_state_spec: `Benchmark.model_state_spec`: a replicated state is made the same on all devices after each step (the mean
        over them), one that is split is left to them.
    """
    def sums(params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> tuple[PyTree, LossOutput]:
        def objective(params: PyTree) -> tuple[jax.Array, LossOutput]:
            output = loss_fn(params, model_state, batch, key, data)
            return output.loss_sum, output

        return jax.grad(objective, has_aux=True)(params)

    def accumulated(params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array,
                    data: PyTree) -> tuple[PyTree, LossOutput]:
        def add(carry: tuple[PyTree, LossOutput], part: tuple[PyTree, jax.Array]) -> tuple[tuple[PyTree, LossOutput], None]:
            gradients, total = carry
            more, output = sums(params, total.model_state, part[0], part[1], data)
            total = LossOutput(total.loss_sum + output.loss_sum, total.weight_sum + output.weight_sum, output.model_state)
            return (jax.tree.map(jnp.add, gradients, more), total), None

        zero = jnp.zeros((), jnp.float32)
        start = (jax.tree.map(jnp.zeros_like, params), LossOutput(zero, zero, model_state))
        parts = (jax.tree.map(lambda leaf: _interleaved(leaf, accumulation_steps), batch),
                 jax.random.split(key, accumulation_steps))
        return jax.lax.scan(add, start, parts)[0]

    gradient_fn: GradientFn = sums if accumulation_steps == 1 else accumulated
    if mesh is not None and mesh.size > 1:
        gradient_fn = _on_every_device(gradient_fn, mesh, model_state_spec)

    def train_step(state: TrainState, batch: PyTree, data: PyTree = ()) -> tuple[TrainState, dict[str, jax.Array]]:
        key = jax.random.fold_in(jax.random.wrap_key_data(state.rng, impl=rng_impl), state.step)
        gradients, output = gradient_fn(state.params, state.model_state, batch, key, data)
        weight = jnp.maximum(output.weight_sum, 1.0)
        gradients = jax.tree.map(lambda gradient: gradient / weight, gradients)
        updates, opt_state = optimizer.update(gradients, state.opt_state, state.params)
        params = optax.apply_updates(state.params, updates)
        metrics = {"loss": output.loss_sum / weight, "gradient_norm": optax.global_norm(gradients)}
        return dataclasses.replace(state, step=state.step + 1, params=params, model_state=output.model_state,
                                   opt_state=opt_state), metrics

    return train_step


def _on_every_device(gradient_fn: GradientFn, mesh: Mesh, model_state_spec: PartitionSpec) -> GradientFn:
    """The same function of the global batch, computed on each device for its rows and summed over the devices."""
    def mapped(params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array, data: PyTree) -> tuple[PyTree, LossOutput]:
        specs = jax.tree.map(lambda sharding: sharding.spec, state_shardings(mesh, params))

        def local(params: PyTree, model_state: PyTree, batch: PyTree, key: jax.Array,
                  data: PyTree) -> tuple[PyTree, tuple]:
            key = jax.random.fold_in(key, jax.lax.axis_index(BATCH_AXES))
            gradients, output = gradient_fn(jax.tree.map(_gather, params, specs), model_state, batch, key, data)
            loss_sum, weight_sum = jax.lax.psum((output.loss_sum, output.weight_sum), BATCH_AXES)
            new_state = output.model_state if model_state_spec else jax.tree.map(_agree, output.model_state)
            return jax.tree.map(_reduce, gradients, specs), (loss_sum, weight_sum, new_state)

        rows = jax.tree.map(lambda leaf: PartitionSpec(BATCH_AXES) if leaf.ndim else PartitionSpec(), batch)
        function = jax.shard_map(local, mesh=mesh, in_specs=(specs, model_state_spec, rows, WHOLE, WHOLE),
                                 out_specs=(specs, (WHOLE, WHOLE, model_state_spec)), check_vma=False)
        gradients, total = function(params, model_state, batch, key, data)
        return gradients, LossOutput(*total)

    return mapped


def _agree(leaf: jax.Array) -> jax.Array:
    """One value of the untrained state for all devices: the mean, or of whole numbers (counters) the largest."""
    reduce = jax.lax.pmean if jnp.issubdtype(leaf.dtype, jnp.floating) else jax.lax.pmax
    return reduce(leaf, BATCH_AXES)


def _gather(shard: jax.Array, spec: PartitionSpec) -> jax.Array:
    """The whole array from this device's shard of it."""
    return jax.lax.all_gather(shard, "fsdp", axis=spec.index("fsdp"), tiled=True) if "fsdp" in spec else shard


def _reduce(gradient: jax.Array, spec: PartitionSpec) -> jax.Array:
    """This device's shard of the sum over all devices."""
    if "fsdp" not in spec:
        return jax.lax.psum(gradient, BATCH_AXES)
    shard = jax.lax.psum_scatter(gradient, "fsdp", scatter_dimension=spec.index("fsdp"), tiled=True)
    return jax.lax.psum(shard, "data")


def _interleaved(leaf: jax.Array, parts: int) -> jax.Array:
    """[B, ...] -> [parts, B / parts, ...], microbatch i taking rows i, i + parts, ...: every device keeps its own rows.

    A scalar goes to every microbatch.
    """
    if not leaf.ndim:
        return jnp.broadcast_to(leaf, (parts,))
    return leaf.reshape(-1, parts, *leaf.shape[1:]).swapaxes(0, 1)
