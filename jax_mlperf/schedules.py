"""Learning-rate schedules by MLPerf's names: functions from the step counter before the update to a rate."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax


def transformer_schedule(base: float, d_model: int, warmup_steps: int) -> optax.Schedule:
    """Linear warm-up, then decay with the inverse square root of the step (Vaswani et al. 2017, equation 3).

    lr(s) = base * d_model**-0.5 * min(1, s / W) * max(s, W)**-0.5, s = updates made before this one, so the
    first update has rate 0 (transformer_main.py of the reference,
    `mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`).

    Raises:
      ValueError: warmup_steps is below 1.
    """
    if warmup_steps < 1:
        raise ValueError(f"warmup_steps must be at least 1, got {warmup_steps}")

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(step, jnp.float32)
        warmup = jnp.minimum(1.0, count / warmup_steps)
        return base * d_model**-0.5 * warmup * jax.lax.rsqrt(jnp.maximum(count, warmup_steps))

    return schedule


def polynomial_schedule(base: float, end: float, warmup_steps: float, decay_steps: float) -> optax.Schedule:
    """Linear warm-up, then polynomial decay of power 2: the schedule of MLPerf's LARS and of its fast SGD.

    lr(s) = base s / W for s <= W, then end + (base - end) (1 - (s - W) / D)**2, and `end` behind W + D. The TF2 reference
    and JAX 0.7 evaluate it at the number of updates made before this one (`optimizer.iterations` in lars_util.py and
    lars_optimizer.py of `mlcommons/training:retired_benchmarks/resnet-tf2`), so that the first update has rate 0; so does
    the counter of this project's optimizers. NVIDIA's MXNet code counts from 1 (`Optimizer._update_count`): its update after s
    others has the rate lr(s + 1).

    Args:
      base: rate at the end of the warm-up.
      end: last rate; 1e-4 in the closed division.
      warmup_steps: W, at least 0, not necessarily whole.
      decay_steps: D: total - W + 1 in TF2 and JAX 0.7, total - W in NVIDIA's code.

    Raises:
      ValueError: warmup_steps is negative, or decay_steps is not positive.
    """
    if warmup_steps < 0 or decay_steps <= 0:
        raise ValueError(f"warmup_steps must be at least 0 and decay_steps above 0, got {warmup_steps} and {decay_steps}")

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(step, jnp.float32)
        remaining = jnp.clip(1.0 - (count - warmup_steps) / decay_steps, 0.0, 1.0)
        decayed = end + (base - end) * jnp.square(remaining)
        return jnp.where(count < warmup_steps, base * count / (warmup_steps or 1.0), decayed)

    return schedule


def piecewise_schedule(base: float, warmup_steps: int, boundaries: Sequence[int], factors: Sequence[float]) -> optax.Schedule:
    """Linear warm-up, then steps down: the schedule of MLPerf's first SGD reference.

    lr(s) = base s / W for s < W, then base, and base * factors[i] for s > boundaries[i]: the boundary itself still has the
    old rate; s = updates made before this one (`global_step` in resnet_run_loop.py of
    `mlcommons/training:retired_benchmarks/resnet-tf1`).

    Args:
      base: rate at the end of the warm-up.
      warmup_steps: W, at least 0.
      boundaries: increasing.
      factors: of the base rate, one for each boundary.

    Raises:
      ValueError: the boundaries do not increase, or there are more or fewer factors.
    """
    if len(factors) != len(boundaries) or list(boundaries) != sorted(set(boundaries)):
        raise ValueError(f"boundaries must increase and have one factor each, got {list(boundaries)} and {list(factors)}")
    rates = [base, *(base * factor for factor in factors)]

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(step, jnp.int32)
        passed = jnp.sum(count > jnp.asarray(boundaries, jnp.int32))
        rate = jnp.asarray(rates, jnp.float32)[passed]
        return jnp.where(count < warmup_steps, base * count / max(warmup_steps, 1), rate)

    return schedule


def lamb_schedule(base: float, training_steps: int, warmup_steps: int, start_warmup_step: int) -> optax.Schedule:
    """Linear warm-up, then linear decay to zero that is counted from the first step: the schedule of MLPerf's BERT.

    lr(s) = base (s - S0) / W for s - S0 < W, then base (1 - min(s, T) / T); s = updates made before this one. The rate jumps
    down where the warm-up ends, at s = W + S0: recipes are tuned with the jump. Without warm-up S0 means nothing (optimization.py
    of `mlcommons/training:retired_benchmarks/bert`).

    Args:
      base: rate that the warm-up aims at.
      training_steps: T, at least 1: where the rate reaches zero.
      warmup_steps: W, at least 0.
      start_warmup_step: S0, at most 0 where there is a warm-up: it begins in the middle.

    Raises:
      ValueError: one of them is out of its bounds; S0 > 0 would begin with negative rates.
    """
    if training_steps < 1 or warmup_steps < 0 or (warmup_steps and start_warmup_step > 0):
        raise ValueError("training_steps must be at least 1, warmup_steps at least 0 and start_warmup_step at most 0, got "
                         f"{training_steps}, {warmup_steps} and {start_warmup_step}")

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(step, jnp.int32)
        decayed = base * (1.0 - jnp.minimum(count, training_steps) / training_steps)
        since_start = count - start_warmup_step
        return jnp.where(since_start < warmup_steps, base * since_start / warmup_steps, decayed) if warmup_steps else decayed

    return schedule
