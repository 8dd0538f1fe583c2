"""Learning-rate schedules by MLPerf's names: functions from the step counter before the update to a rate."""

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
