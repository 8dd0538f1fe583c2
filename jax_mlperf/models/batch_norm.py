"""Batch norm as a layer: parameters, running statistics, statistics per group or per worker."""

import jax
import jax.numpy as jnp
from flax import nnx

from jax_mlperf.ops.batch_norm import batch_norm

Initializer = jax.nn.initializers.Initializer
_ONES = nnx.initializers.ones_init()


class BatchNorm(nnx.Module):
    """`ops.batch_norm` in training, the running statistics in evaluation.

    Args:
      features: C, channels of the last axis.
      momentum: of the running statistics: running = momentum * running + (1 - momentum) * batch, with the biased variance
        (PyTorch calls 1 - momentum its momentum).
      epsilon: added to the variance.
      group_size: samples on this device that share statistics in training, 0 for all of them.
      group_devices: neighbouring devices that share statistics (see `ops.batch_norm`).
      workers: 0: one set of running statistics [C], which takes the mean over the groups. Otherwise every group is a worker
        with its own running statistics [workers, C] (under shard_map: those of this device).
      use_scale: whether there is a trained scale; 1 otherwise.
      use_bias: whether there is a trained bias; 0 otherwise.
      scale_init: of the scale; ones by default, zeros for the last batch norm of a residual branch that starts as identity.
      dtype: of the result.
      rngs: stream "params", for scale_init.
    """

    def __init__(
        self, features: int, *, momentum: float = 0.9, epsilon: float = 1e-5, group_size: int = 0, group_devices: int = 1,
        workers: int = 0, use_scale: bool = True, use_bias: bool = True, scale_init: Initializer = _ONES,
        dtype: jax.typing.DTypeLike = jnp.float32, rngs: nnx.Rngs,
    ):
        self.momentum, self.epsilon = momentum, epsilon
        self.group_size, self.group_devices, self.workers = group_size, group_devices, workers
        self.dtype = jnp.dtype(dtype)
        self.scale = nnx.Param(scale_init(rngs.params(), (features,), jnp.float32)) if use_scale else None
        self.bias = nnx.Param(jnp.zeros((features,), jnp.float32)) if use_bias else None
        shape = (workers, features) if workers else (features,)
        self.mean = nnx.BatchStat(jnp.zeros(shape, jnp.float32))
        self.var = nnx.BatchStat(jnp.ones(shape, jnp.float32))

    def __call__(
        self, x: jax.Array, *, train: bool, weights: jax.Array | None = None, shortcut: jax.Array | None = None,
        relu: bool = False,
    ) -> jax.Array:
        """x [B, ..., C] -> [B, ..., C]; in training the running statistics move.

        Args:
          x: activations.
          train: statistics of the batch (True), or the running ones.
          weights: [B], 0 for padding rows; see `ops.batch_norm`.
          shortcut: array of x's shape to add to the result, before the ReLU.
          relu: whether negative results become 0.

        Raises:
          ValueError: in training with workers, the number of groups differs from the number of workers on this device.
        """
        x = x.astype(self.dtype)
        shortcut = None if shortcut is None else shortcut.astype(self.dtype)
        scale = jnp.ones(x.shape[-1]) if self.scale is None else self.scale[...]
        bias = jnp.zeros(x.shape[-1]) if self.bias is None else self.bias[...]
        if not train:
            return self._normalised(x, scale, bias, shortcut, relu)
        y, mean, variance = batch_norm(
            x, scale, bias, group_size=self.group_size, epsilon=self.epsilon, weights=weights,
            group_devices=self.group_devices, shortcut=shortcut, relu=relu)
        self._update(mean, variance, weights)
        return y

    def _normalised(
        self, x: jax.Array, scale: jax.Array, bias: jax.Array, shortcut: jax.Array | None, relu: bool
    ) -> jax.Array:
        """With the running statistics; of worker b // (B / workers) for row b where every worker has its own."""
        factor = scale * jax.lax.rsqrt(self.var[...] + self.epsilon)
        offset = bias - self.mean[...] * factor
        if self.workers:
            rows = (factor.shape[0], x.shape[0] // factor.shape[0], *[1] * (x.ndim - 2), factor.shape[1])
            wide = x.reshape(*rows[:2], *x.shape[1:]).astype(jnp.float32)
            wide = wide * factor.reshape(rows[0], 1, *rows[2:]) + offset.reshape(rows[0], 1, *rows[2:])
        else:
            wide = x.astype(jnp.float32) * factor + offset
        wide = wide.reshape(x.shape)
        wide = wide if shortcut is None else wide + shortcut.astype(jnp.float32)
        return (jnp.maximum(wide, 0.0) if relu else wide).astype(x.dtype)

    def _update(self, mean: jax.Array, variance: jax.Array, weights: jax.Array | None) -> None:
        """Moves the running statistics towards those of the groups that have samples."""
        groups = mean.shape[0]
        if self.workers and groups != self.mean.shape[0]:
            raise ValueError(f"{self.mean.shape[0]} workers on this device need as many groups of the batch, got {groups}")
        counts = jnp.ones((groups, 1)) if weights is None else weights.reshape(groups, -1).sum(axis=1, keepdims=True)
        present = (counts > 0).astype(jnp.float32)
        for running, batch in ((self.mean, mean), (self.var, variance)):
            if self.workers:
                target, rate = batch, (1.0 - self.momentum) * present
            else:
                target = (batch * present).sum(axis=0) / jnp.maximum(present.sum(), 1.0)
                rate = (1.0 - self.momentum) * present.max()
            running[...] = running[...] + rate * (target - running[...])
