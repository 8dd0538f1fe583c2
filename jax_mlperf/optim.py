"""MLPerf's optimizers by MLPerf's names."""

from collections.abc import Callable, Collection
from typing import Any, Literal, NamedTuple

import jax
import jax.numpy as jnp
import optax

from jax_mlperf.types import PyTree

Decayed = Literal["not_batch_norm", "not_biases", "not_biases_nor_offsets", "all"]


class MomentumState(NamedTuple):
    """State of `lars` and `momentum_sgd`.

    Attributes:
      updates_made: int32 [].
      momentum: the buffers, float32 arrays of the parameters' shapes.
    """

    updates_made: jax.Array
    momentum: PyTree


class MomentsState(NamedTuple):
    """State of `lazy_adam`, and of `lamb.lamb` and `lamb.adamw`.

    Attributes:
      updates_made: int32 [].
      mean, variance: the moments, float32 arrays of the parameters' shapes.
    """

    updates_made: jax.Array
    mean: PyTree
    variance: PyTree


def adam(schedule: optax.Schedule, b1: float, b2: float, eps: float = 1e-9,
         weight_decay: float = 0.0) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2015), both moments float32, `eps` outside the root and after bias correction.

    For the transformer (eps 1e-9 in the closed division) it is also the "lazy" Adam of the reference's transformer_main.py
    (`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`): with the output matrix tied to the embedding
    every row has a gradient, and eps before bias correction makes no difference at 1e-9.

    `weight_decay` is decoupled (Loshchilov and Hutter 2019): an update also takes rate * weight_decay of each parameter.
    """
    if weight_decay:
        return optax.adamw(schedule, b1=b1, b2=b2, eps=eps, weight_decay=weight_decay)
    return optax.adam(schedule, b1=b1, b2=b2, eps=eps)


def lazy_adam(schedule: optax.Schedule, b1: float, b2: float, eps: float,
              tables: Collection[str]) -> optax.GradientTransformation:
    """Adam that leaves the rows of embedding tables alone, moments and all, when a batch does not use them.

    With t the number of this update, counted for all rows alike:

      w <- w - rate sqrt(1 - b2^t) / (1 - b1^t) m / (sqrt(v) + eps)

    `eps` is added before bias correction ("epsilon hat"), as TensorFlow and Paddle do (TensorFlow's LazyAdamOptimizer;
    `PaddlePaddle/Paddle:paddle/fluid/operators/adam_op.h`). A row whose gradient is zero throughout counts as not used.

    Args:
      schedule: the learning rate.
      b1, b2, eps: as Adam's.
      tables: names of the parameters [rows, ...] that are updated by rows; all others are dense.
    """
    def update(updates: PyTree, state: MomentsState, params: PyTree | None = None) -> tuple[PyTree, MomentsState]:
        count = (state.updates_made + 1).astype(jnp.float32)
        rate = schedule(state.updates_made) * jnp.sqrt(1 - b2**count) / (1 - b1**count)

        def one(path: tuple, gradient: jax.Array, mean: jax.Array, variance: jax.Array) -> tuple[jax.Array, ...]:
            new_mean = b1 * mean + (1 - b1) * gradient
            new_variance = b2 * variance + (1 - b2) * jnp.square(gradient)
            change = -rate * new_mean / (jnp.sqrt(new_variance) + eps)
            if path[-1].key not in tables:
                return change, new_mean, new_variance
            used = jnp.any(gradient != 0, axis=tuple(range(1, gradient.ndim)), keepdims=True)
            return jnp.where(used, change, 0.0), jnp.where(used, new_mean, mean), jnp.where(used, new_variance, variance)

        triples = jax.tree_util.tree_map_with_path(one, updates, state.mean, state.variance)
        change, mean, variance = jax.tree.transpose(jax.tree.structure(updates), jax.tree.structure((0, 0, 0)), triples)
        return change, MomentsState(state.updates_made + 1, mean, variance)

    return optax.GradientTransformation(zero_moments, update)


def adagrad(schedule: optax.Schedule) -> optax.GradientTransformation:
    """Adagrad (Duchi et al. 2011) from a sum of squares of zero and without epsilon: G <- G + g^2, w <- w - rate g / sqrt(G)."""
    return optax.adagrad(schedule, initial_accumulator_value=0.0, eps=0.0)


def lars(schedule: optax.Schedule, momentum: float, weight_decay: float, trust_coefficient: float = 0.001,
         eps: float = 0.0) -> optax.GradientTransformation:
    """Layer-wise adaptive rate scaling (You et al. 2017) as MLPerf's ResNet reference has it; not `optax.lars`.

    For arrays of more than one axis, with g the gradient and w the parameter:

      trust = trust_coefficient ||w|| / (||g|| + weight_decay ||w|| + eps), 1 where ||w|| or ||g|| is 0
      m <- momentum m + rate trust (g + weight_decay w)
      w <- w - m

    The rate is inside the buffer. The others (batch norm, biases: the reference's skip list) take trust 1 and no decay
    (lars_optimizer.py of `mlcommons/training:retired_benchmarks/resnet-tf2`; optax.lars has ||g + weight_decay w|| in the
    denominator). The closed division requires eps 0.
    """
    def step(rate: jax.Array, gradient: jax.Array, parameter: jax.Array) -> jax.Array:
        if parameter.ndim <= 1:
            return rate * gradient
        size, slope = (jnp.sqrt(jnp.sum(jnp.square(array))) for array in (parameter, gradient))
        known = (size > 0) & (slope > 0)
        denominator = jnp.where(known, slope + weight_decay * size + eps, 1.0)
        trust = jnp.where(known, trust_coefficient * size / denominator, 1.0)
        return rate * trust * (gradient + weight_decay * parameter)

    def update(updates: PyTree, state: MomentumState, params: PyTree | None = None) -> tuple[PyTree, MomentumState]:
        rate = jnp.asarray(schedule(state.updates_made), jnp.float32)
        buffers = jax.tree.map(lambda buffer, gradient, parameter: momentum * buffer + step(rate, gradient, parameter),
                               state.momentum, updates, params)
        return jax.tree.map(jnp.negative, buffers), MomentumState(state.updates_made + 1, buffers)

    return optax.GradientTransformation(_zero_momentum, update)


def momentum_sgd(schedule: optax.Schedule, momentum: float, weight_decay: float, *, decayed: Decayed,
                 nesterov: bool = False) -> optax.GradientTransformation:
    """Stochastic gradient descent with momentum on the loss plus weight_decay / 2 times the sum of squared parameters.

    m <- momentum m + g, w <- w - rate m, as TF1 and PyTorch; with the rate inside the buffer (Keras, `lars`) the steps differ
    whenever it changes.

    Args:
      schedule: the learning rate.
      momentum: 0.9 in every reference.
      weight_decay: what is added to the gradient per unit of the parameter: 1e-4 in TF1's resnet_run_loop.py; a penalty
        without the half (Keras, TF2) decays by twice its coefficient.
      decayed: "not_batch_norm": kernels (arrays of more than one axis) and biases beside one, as the SGD references; "all":
        batch norm too, as PyTorch's optimizer does; "not_biases": all but biases, batch norm's scale and offset among
        what decays (dual_net.py of `mlcommons/training@ea50328d:reinforcement/tensorflow/minigo`);
        "not_biases_nor_offsets": kernels and batch norm's scales (its later versions).
      nesterov: the update is that of the buffer one step ahead.
    """
    def update(updates: PyTree, state: MomentumState, params: PyTree | None = None) -> tuple[PyTree, MomentumState]:
        rate = jnp.asarray(schedule(state.updates_made), jnp.float32)
        gradients = jax.tree.map(lambda gradient, parameter, decays: gradient + weight_decay * parameter if decays else gradient,
                                 updates, params, decay_mask(params, decayed))
        buffers = jax.tree.map(lambda buffer, gradient: momentum * buffer + gradient, state.momentum, gradients)
        moved = buffers
        if nesterov:
            moved = jax.tree.map(lambda buffer, gradient: momentum * buffer + gradient, buffers, gradients)
        return jax.tree.map(lambda array: -rate * array, moved), MomentumState(state.updates_made + 1, buffers)

    return optax.GradientTransformation(_zero_momentum, update)


def decay_mask(params: PyTree, decayed: Decayed) -> PyTree:
    """Which parameters weight decay shrinks: a pytree of bool; see `momentum_sgd`.

    Raises:
      ValueError: `decayed` is none of the names.
    """
    leaves = jax.tree_util.tree_leaves_with_path(params)
    with_kernel = {path[:-1] for path, leaf in leaves if leaf.ndim > 1}
    with_scale = {path[:-1] for path, leaf in leaves if path and path[-1].key == "scale"}
    rules: dict[str, Callable[[Any, jax.Array], bool]] = {
        "not_batch_norm": lambda path, leaf: path[:-1] in with_kernel,
        "not_biases": lambda path, leaf: path[-1].key != "bias" or path[:-1] in with_scale,
        "not_biases_nor_offsets": lambda path, leaf: path[-1].key != "bias",
        "all": lambda path, leaf: True,
    }
    if decayed not in rules:
        raise ValueError(f"decayed {decayed!r} is unknown; there are: {', '.join(rules)}")
    return jax.tree_util.tree_map_with_path(rules[decayed], params)


def zero_moments(params: PyTree) -> MomentsState:
    """The state before the first update."""
    mean, variance = (jax.tree.map(jnp.zeros_like, params) for _ in range(2))
    return MomentsState(jnp.zeros((), jnp.int32), mean, variance)


def _zero_momentum(params: PyTree) -> MomentumState:
    return MomentumState(jnp.zeros((), jnp.int32), jax.tree.map(jnp.zeros_like, params))
