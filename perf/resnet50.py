"""What the speed scripts of ResNet-50 share: sizes, batches, our training step, and the same step in XLA's own gradients."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jax_mlperf.losses import softmax_cross_entropy
from jax_mlperf.models import batch_norm as batch_norm_layer
from jax_mlperf.models import resnet
from jax_mlperf.models.resnet import ResNet
from jax_mlperf.optim import lars
from jax_mlperf.schedules import polynomial_schedule

MEAN, DEVIATION = (123.675, 116.28, 103.53), (58.395, 57.12, 57.375)
SMOOTHING = 0.1
Batch = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Size:
    """One model with the shape of its batches."""

    stage_sizes: tuple[int, ...]
    width: int
    num_classes: int
    image: int
    rows: int

    @property
    def model(self) -> dict[str, Any]:
        """What both frameworks' models take."""
        return {"stage_sizes": self.stage_sizes, "width": self.width, "num_classes": self.num_classes}


SIZES = {
    "tiny": Size((1, 1, 1, 1), 8, 10, image=64, rows=100),
    "resnet50": Size((3, 4, 6, 3), 64, 1000, image=224, rows=256),
}


def random_batch(size: Size, seed: int) -> Batch:
    """Images uint8 [rows, image, image, 3] and labels int32 [rows]."""
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (size.rows, size.image, size.image, 3), np.uint8)
    return {"image": images, "label": rng.integers(0, size.num_classes, size.rows).astype(np.int32)}


def plain_batch_norm(x: jax.Array, scale: jax.Array, bias: jax.Array, *, group_size: int, epsilon: float, weights: None,
                     group_devices: int, shortcut: jax.Array | None, relu: bool) -> tuple[jax.Array, jax.Array, jax.Array]:
    """The same function left to autodiff, as a user would write it: what ops.batch_norm replaces."""
    if group_size or group_devices != 1 or weights is not None:
        raise ValueError("the plain batch norm has one group and no padding")
    wide = x.astype(jnp.float32)
    mean = wide.mean(axis=(0, 1, 2))
    variance = jnp.maximum(jnp.square(wide).mean(axis=(0, 1, 2)) - jnp.square(mean), 0.0)
    y = ((wide - mean) * (jax.lax.rsqrt(variance + epsilon) * scale) + bias).astype(x.dtype)
    y = y if shortcut is None else y + shortcut
    return (jax.nn.relu(y) if relu else y), mean[None], variance[None]


def plain_max_pool(x: jax.Array, window: int, stride: int, padding: Any) -> jax.Array:
    """What ops.max_pool replaces."""
    return jax.lax.reduce_window(x, -np.inf, jax.lax.max, (1, window, window, 1), (1, stride, stride, 1),
                                 ((0, 0), *padding, (0, 0)))


@contextlib.contextmanager
def plain() -> Iterator[None]:
    """While this is open, models are traced with XLA's gradients of batch norm, ReLU and max-pool."""
    with (mock.patch.object(batch_norm_layer, "batch_norm", plain_batch_norm),
          mock.patch.object(resnet, "max_pool", plain_max_pool)):
        yield


def make_step(size: Size, dtype: Any, **model: Any) -> tuple[Callable[[], Any], Callable[[Any, Batch], tuple[Any, jax.Array]]]:
    """() -> state and (state, batch) -> (state, loss): forward, backward and LARS as in the closed division at batch 3,200."""
    def make() -> ResNet:
        return ResNet(dtype=dtype, rngs=nnx.Rngs(params=0), **size.model, **model)

    optimizer = lars(polynomial_schedule(11.0, 1e-4, 802, 14035), 0.9, 5e-5)
    graph = nnx.split(nnx.eval_shape(make), nnx.Param, nnx.BatchStat)[0]

    def init() -> Any:
        _, params, statistics = nnx.split(make(), nnx.Param, nnx.BatchStat)
        return params, statistics, optimizer.init(params)

    def step(state: Any, batch: Batch) -> tuple[Any, jax.Array]:
        params, statistics, opt_state = state

        def loss_fn(params: Any) -> tuple[jax.Array, Any]:
            bound = nnx.merge(graph, params, statistics, copy=True)
            images = (batch["image"].astype(jnp.float32) - jnp.array(MEAN)) / jnp.array(DEVIATION)
            total, weight = softmax_cross_entropy(bound(images, train=True), batch["label"], jnp.ones(size.rows), SMOOTHING)
            return total / weight, nnx.state(bound, nnx.BatchStat)

        (loss, statistics), gradients = jax.value_and_grad(loss_fn, has_aux=True)(params)
        updates, opt_state = optimizer.update(gradients, opt_state, params)
        return (optax.apply_updates(params, updates), statistics, opt_state), loss

    return init, step
