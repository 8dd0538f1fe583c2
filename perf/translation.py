"""What the Transformer's speed scripts share: sizes, packed batches of realistic text, our training step."""

import dataclasses
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from flax import nnx

from jax_mlperf.losses import smoothed_cross_entropy
from jax_mlperf.models.transformer import Transformer
from jax_mlperf.optim import adam
from jax_mlperf.schedules import transformer_schedule

Batch = dict[str, np.ndarray]
BATCH_KEYS = (
    "inputs",
    "inputs_position",
    "inputs_segmentation",
    "targets",
    "targets_position",
    "targets_segmentation",
)
SMOOTHING = 0.1
# Mean length of a WMT17 training pair with EOS, from 8.1 pairs in a packed row of 256 + 256 (spec section 3).
_MEAN_LENGTH = 28


@dataclasses.dataclass(frozen=True)
class Size:
    """One model with the shape of its batches; `rows` are those of one device."""

    d_model: int
    ffn_dim: int
    num_heads: int
    num_layers: int
    vocab_size: int
    rows: int
    row_length: int
    dropout_rate: float = 0.1

    @property
    def slots(self) -> int:
        """Source plus target slots of one batch."""
        return 2 * self.rows * self.row_length


SIZES: dict[str, Size] = {
    "tiny": Size(64, 128, 4, 2, 512, rows=16, row_length=64),
    "multi30k": Size(256, 1024, 4, 3, 8079, rows=32, row_length=128),
    "base": Size(512, 2048, 8, 6, 33_708, rows=64, row_length=256),
    "big": Size(1024, 4096, 16, 6, 33_708, rows=64, row_length=256),
}


def packed_batch(size: Size, seed: int = 0) -> Batch:
    """Rows filled with random pairs of segments, as packing makes them: int32 [rows, row_length] each."""
    rng = np.random.default_rng(seed)
    sides = {side: np.zeros((3, size.rows, size.row_length), np.int32) for side in ("inputs", "targets")}
    for row in range(size.rows):
        place = {"inputs": 0, "targets": 0}
        for segment in range(1, size.row_length):
            mean = min(_MEAN_LENGTH, size.row_length // 2)
            source = int(np.clip(rng.gamma(3.0, mean / 3.0), 2, size.row_length))
            lengths = {"inputs": source, "targets": max(2, source + int(rng.integers(-2, 4)))}
            if any(place[side] + lengths[side] > size.row_length for side in sides):
                break
            for side, (ids, positions, segments) in sides.items():
                start, stop = place[side], place[side] + lengths[side]
                ids[row, start:stop] = rng.integers(2, size.vocab_size, stop - start)
                ids[row, stop - 1] = 1  # EOS
                positions[row, start:stop] = np.arange(stop - start)
                segments[row, start:stop] = segment
                place[side] = stop
    return {
        side + suffix: array
        for side, arrays in sides.items()
        for suffix, array in zip(("", "_position", "_segmentation"), arrays, strict=True)
    }


def make_model(size: Size, dtype: Any, seed: int = 0, dropout_rate: float | None = None) -> Transformer:
    """Our model with fresh parameters."""
    rate = size.dropout_rate if dropout_rate is None else dropout_rate
    return Transformer(
        vocab_size=size.vocab_size,
        d_model=size.d_model,
        ffn_dim=size.ffn_dim,
        num_heads=size.num_heads,
        num_layers=size.num_layers,
        dropout_rate=rate,
        dtype=jnp.dtype(dtype),
        rngs=nnx.Rngs(params=seed),
    )


def make_optimizer(size: Size) -> optax.GradientTransformation:
    """MLPerf's Adam with the schedule of the 512-row recipe."""
    return adam(transformer_schedule(1.875, size.d_model, 1107), b1=0.9, b2=0.98)


def mean_loss(graph: Any, params: Any, batch: Any, dropout_key: jax.Array | None) -> jax.Array:
    """Smoothed cross-entropy per target subtoken of one batch; no dropout without a key."""
    rngs = None if dropout_key is None else nnx.Rngs(dropout=dropout_key)
    logits = nnx.merge(graph, params)(*(batch[key] for key in BATCH_KEYS), rngs=rngs)
    total, weight = smoothed_cross_entropy(logits, batch["targets"], batch["targets"] > 0, SMOOTHING)
    return total / weight


def make_step(
    size: Size, dtype: Any, dropout_rate: float | None = None
) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(init, step), both pure: init() -> state, step(state, batch) -> (state, loss)."""
    optimizer = make_optimizer(size)
    graph = nnx.graphdef(nnx.eval_shape(lambda: make_model(size, dtype, dropout_rate=dropout_rate)))

    def init() -> Any:
        params = nnx.state(make_model(size, dtype, dropout_rate=dropout_rate))
        return params, optimizer.init(params), jnp.zeros((), jnp.int32)

    def step(state: Any, batch: Any) -> Any:
        params, moments, count = state
        key = jax.random.fold_in(jax.random.key(1), count)
        loss, gradients = jax.value_and_grad(lambda p: mean_loss(graph, p, batch, key))(params)
        updates, moments = optimizer.update(gradients, moments, params)
        return (optax.apply_updates(params, updates), moments, count + 1), loss

    return init, step
