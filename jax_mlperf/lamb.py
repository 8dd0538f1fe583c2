"""LAMB as BERT's reference has it, and AdamW with the same exclusions."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax

from jax_mlperf.optim import MomentsState, zero_moments
from jax_mlperf.types import PyTree

# (rate, adaptive step [...], parameter [...]) -> change of the parameter [...]; for parameters that decay.
_Rule = Callable[[jax.Array, jax.Array, jax.Array], jax.Array]


def lamb(schedule: optax.Schedule, b1: float, b2: float, eps: float, weight_decay: float,
         clip_norm: float) -> optax.GradientTransformation:
    """Layer-wise adaptive moments (You et al. 2020) as MLPerf's BERT reference has them; not `optax.lamb`.

    With t the number of this update, from 1, w a parameter array and g its gradient:

      m <- b1 m + (1 - b1) g,  v <- b2 v + (1 - b2) g^2
      u = (m / (1 - b1^t)) / (sqrt(v / (1 - b2^t)) + eps) + weight_decay w
      w <- w - rate ||w|| / ||u|| u          (ratio 1 where ||w|| or ||u|| is 0)

    Arrays of one axis (biases, LayerNorm: what the reference's pattern "LayerNorm|layer_norm|bias" names) take neither decay nor
    ratio (lamb_optimizer_v1.py and optimization.py of `mlcommons/training:retired_benchmarks/bert`; optax.lamb has the ratio for
    all). Every array has a ratio of its own: layers and q, k, v must not be stacked.

    Args:
      schedule: the learning rate, from the number of updates made before.
      b1, b2, eps: of the moments; eps stands outside the root, behind the bias correction.
      weight_decay: lambda.
      clip_norm: gradients are scaled down to this global norm first; 0: they are not. MLPerf's 1.0 is clipped here after the
        all-reduce; the rules allow either order.

    Returns:
      a transformation whose `update` needs the parameters; on sharded arrays under jit the norms are those of whole arrays.
    """
    def scaled(rate: jax.Array, step: jax.Array, parameter: jax.Array) -> jax.Array:
        change = step + weight_decay * parameter
        size, length = (jnp.sqrt(jnp.sum(jnp.square(array))) for array in (parameter, change))
        known = (size > 0) & (length > 0)
        return -rate * jnp.where(known, size / jnp.where(known, length, 1.0), 1.0) * change

    return _with_moments(schedule, b1, b2, eps, clip_norm, scaled)


def adamw(schedule: optax.Schedule, b1: float, b2: float, eps: float, weight_decay: float,
          clip_norm: float) -> optax.GradientTransformation:
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019) of all arrays but those of one axis; see `lamb`.

    With bias correction; "adamw" of the reference (optimization.py) has none, which makes the first updates larger.
    """
    return _with_moments(schedule, b1, b2, eps, clip_norm,
                         lambda rate, step, parameter: -rate * (step + weight_decay * parameter))


def _with_moments(schedule: optax.Schedule, b1: float, b2: float, eps: float, clip_norm: float,
                  decayed: _Rule) -> optax.GradientTransformation:
    def update(updates: PyTree, state: MomentsState, params: PyTree | None = None) -> tuple[PyTree, MomentsState]:
        count = (state.updates_made + 1).astype(jnp.float32)
        rate = jnp.asarray(schedule(state.updates_made), jnp.float32)
        mean_scale, variance_scale = 1 / _bias(b1, count), 1 / _bias(b2, count)
        clip = clip_norm / jnp.maximum(optax.global_norm(updates), clip_norm) if clip_norm else None

        def one(gradient: jax.Array, mean: jax.Array, variance: jax.Array, parameter: jax.Array) -> tuple[jax.Array, ...]:
            gradient = gradient if clip is None else clip * gradient
            mean = b1 * mean + (1 - b1) * gradient
            variance = b2 * variance + (1 - b2) * jnp.square(gradient)
            step = mean_scale * mean / (jnp.sqrt(variance_scale * variance) + eps)
            return decayed(rate, step, parameter) if parameter.ndim > 1 else -rate * step, mean, variance

        triples = jax.tree.map(one, updates, state.mean, state.variance, params)
        change, mean, variance = jax.tree.transpose(jax.tree.structure(updates), jax.tree.structure((0, 0, 0)), triples)
        return change, MomentsState(state.updates_made + 1, mean, variance)

    return optax.GradientTransformation(zero_moments, update)


def _bias(decay: float, count: jax.Array) -> jax.Array:
    """1 - decay^count, without the rounding of a decay near 1 to float32 (1e-5 of the first values at 0.999)."""
    return -jnp.expm1(count * math.log(decay)) if decay else jnp.ones_like(count)
