"""What the Transformer's speed scripts share: sizes, packed batches of realistic text, our training step."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from flax import nnx

from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.transformer import TransformerBenchmark
from jax_mlperf.config import load_config
from jax_mlperf.models.transformer import Transformer
from jax_mlperf.ops.hash_rng import key_implementation

Batch = dict[str, np.ndarray]
CONFIG = Path(__file__).resolve().parents[1] / "configs" / "transformer.py"
WMT_VOCABULARY = 33_708
SMOOTHING = 0.1
# Mean length of a WMT17 training pair with EOS, from 4,590,101 pairs in 566,340 packed rows of 256 + 256,
# Google's v0.7 submission.
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
    "base": Size(512, 2048, 8, 6, WMT_VOCABULARY, rows=64, row_length=256),
    "big": Size(1024, 4096, 16, 6, WMT_VOCABULARY, rows=64, row_length=256),
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


def make_model(size: Size, dtype: Any, seed: int = 0) -> Transformer:
    """Our model with fresh parameters."""
    return Transformer(
        vocab_size=size.vocab_size,
        d_model=size.d_model,
        ffn_dim=size.ffn_dim,
        num_heads=size.num_heads,
        num_layers=size.num_layers,
        dropout_rate=size.dropout_rate,
        dtype=jnp.dtype(dtype),
        rngs=nnx.Rngs(params=seed),
    )


def make_benchmark(size: Size, dtype: Any) -> TransformerBenchmark:
    """The benchmark of this size, as run.py builds it; WMT's sizes draw from JAX's stock generator, as in the closed division."""
    closed = size.vocab_size == WMT_VOCABULARY
    values = {
        **{f"model.{key}": getattr(size, key)
           for key in ("d_model", "ffn_dim", "num_heads", "num_layers", "vocab_size", "dropout_rate")},
        "data.batch_size": size.rows, "data.source_length": size.row_length, "data.target_length": size.row_length,
        "optimizer.base_learning_rate": 1.875, "optimizer.warmup_steps": 1107, "compute_dtype": jnp.dtype(dtype).name,
        "rng_impl": "threefry2x32" if closed else "hash32",
    }  # fmt: skip
    config = load_config(f"{CONFIG}:tiny", [f"{key}={value}" for key, value in values.items()])
    return TransformerBenchmark(config, Topology(1), Path("no data"))


def make_step(size: Size, dtype: Any) -> tuple[Callable[..., Any], Callable[..., Any]]:
    """(init, step), both pure: init() -> state, step(state, batch) -> (state, loss)."""
    benchmark = make_benchmark(size, dtype)

    def init() -> Any:
        key = jax.random.key(0, impl=key_implementation(benchmark.config.rng_impl))
        return benchmark.init(jax.random.key_data(key))

    def step(state: Any, batch: Any) -> Any:
        state, metrics = benchmark.train_step(state, batch)
        return state, metrics["loss"]

    return init, step
