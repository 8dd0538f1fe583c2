"""Learning rates of the CIFAR-10 recipes: functions from the step counter before the update to a rate."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import optax


def multi_step(
    base: float, steps_per_epoch: float, *, boundaries: Sequence[int], workers: int = 1, warmup_epochs: float = 0.0
) -> optax.Schedule:
    """Steps down at epoch boundaries, behind a linear warm-up from base to base * workers; constant within an epoch.

    rate(e) = base * (1 + (workers - 1) * min(1, e / warmup_epochs)) * 0.1**(boundaries at or before e). He et al. 2015:
    base 0.1, boundaries 82 and 123 of 164 epochs (32k and 48k steps at batch 128). MLBench's documents until 2020: warm-up of
    5 epochs, boundaries 82 and 109.

    Args:
      base: learning rate of one worker.
      steps_per_epoch: of the run.
      boundaries: epochs, counted from 0, that are the first with a tenth of the rate before.
      workers: what the warm-up multiplies the rate by.
      warmup_epochs: 0 starts at base * workers.
    """

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        epoch = jnp.asarray(step) // steps_per_epoch
        warmed = jnp.minimum(1.0, epoch / warmup_epochs) if warmup_epochs else 1.0
        passed = sum((epoch >= boundary).astype(jnp.float32) for boundary in boundaries)
        return jnp.asarray(base * (1 + (workers - 1) * warmed) * 0.1**passed, jnp.float32)

    return schedule


def linear_to_zero(steps: int) -> optax.Schedule:
    """1 at step 0, 0 from `steps` on (airbench94_muon.py of `KellerJordan/cifar10-airbench`)."""

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        return jnp.maximum(0.0, 1 - jnp.asarray(step, jnp.float32) / steps)

    return schedule


def triangle(steps: int) -> optax.Schedule:
    """From 0.2 to 1 over int(0.23 * steps) steps, then to 0.07, both linearly.

    `KellerJordan/cifar10-airbench:legacy/airbench94_compiled.py`, get_lr.
    """
    start, end, warmup = 0.2, 0.07, int(0.23 * steps)

    def schedule(step: jax.typing.ArrayLike) -> jax.Array:
        count = jnp.asarray(step, jnp.float32)
        rise = start + (1 - start) * count / max(1, warmup)
        fall = 1 + (end - 1) * (count - warmup) / (steps - warmup)
        return jnp.where(count < warmup, rise, fall)

    return schedule
