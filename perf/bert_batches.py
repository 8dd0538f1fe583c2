"""Batches of random sequences with the lengths of Wikipedia's, packed or one a row, and the benchmark for a size."""

import dataclasses
from pathlib import Path

import numpy as np

from jax_mlperf.benchmark import Topology
from jax_mlperf.benchmarks.bert import BertBenchmark
from jax_mlperf.config import load_config
from jax_mlperf.data.packing import balanced

Batch = dict[str, np.ndarray]
# Share of sequences by length of 512 slots, 16,279,552 sequences of Wikipedia
# (`graphcore/examples:tutorials/blogs_code/packedBERT/histograms.py`): (shortest, longest, share).
_LENGTHS = ((5, 64, 0.176), (65, 128, 0.194), (129, 192, 0.114), (193, 256, 0.083), (257, 304, 0.05), (305, 384, 0.068),
            (385, 511, 0.082), (512, 512, 0.234))
_HISTOGRAM_SLOTS = 512
_MASKED = 0.15
_SEQUENCES_PER_ROW = 4
_FIRST_WORD = 999  # the ids below are special or unused in the benchmark's vocabulary


@dataclasses.dataclass(frozen=True)
class Size:
    """One model with the shape of its batches; `sequences` of a batch."""

    vocab_size: int
    hidden_size: int
    num_layers: int
    num_heads: int
    intermediate_size: int
    slots: int
    predictions: int
    sequences: int
    max_positions: int = 512
    dropout_rate: float = 0.1


SIZES = {
    "4layer": Size(8192, 256, 4, 4, 1024, slots=128, predictions=20, sequences=32),
    "large": Size(30_522, 1024, 24, 16, 4096, slots=512, predictions=76, sequences=64),
}


def draw_lengths(size: Size, count: int, rng: np.random.Generator) -> np.ndarray:
    """int64 [count], as many of each length as Wikipedia has, to scale."""
    shares = np.array([share for *_, share in _LENGTHS])
    kinds = rng.choice(len(_LENGTHS), count, p=shares / shares.sum())
    bounds = np.array([bound[:2] for bound in _LENGTHS])[kinds]
    return np.maximum(rng.integers(bounds[:, 0], bounds[:, 1] + 1) * size.slots // _HISTOGRAM_SLOTS, 5)


def make_batch(size: Size, packed: bool, seed: int) -> Batch:
    """What the input pipeline makes: the same sequences for the same seed, packed or one a row."""
    rng = np.random.default_rng(seed)
    lengths = draw_lengths(size, size.sequences, rng)
    if packed:
        packing = balanced(lengths, np.ones_like(lengths), size.slots, _SEQUENCES_PER_ROW)
        rows = np.split(packing.pair_ids, packing.row_offsets[1:-1])
    else:
        rows = [np.array([sequence]) for sequence in range(size.sequences)]
    masked = np.clip(np.round(_MASKED * lengths).astype(int), 1, size.predictions)
    per_row = max(max(int(masked[row].sum()) for row in rows), size.predictions)
    sequences = _SEQUENCES_PER_ROW if packed else 1
    batch = {name: np.zeros((len(rows), width), dtype) for name, width, dtype in (
        *((name, size.slots, np.int32) for name in ("input_ids", "segmentation", "token_type_ids", "position_ids")),
        ("masked_lm_positions", per_row, np.int32), ("masked_lm_ids", per_row, np.int32),
        ("masked_lm_weights", per_row, np.float32),
        ("sequence_starts", sequences, np.int32), ("next_sentence_labels", sequences, np.int32),
        ("next_sentence_weights", sequences, np.float32))}
    for row, members in enumerate(rows):
        _fill(batch, row, members, lengths, masked, size)
    return batch | {"predictions": np.float32(masked.sum()), "sequences": np.float32(size.sequences)}


def _fill(batch: Batch, row: int, members: np.ndarray, lengths: np.ndarray, masked: np.ndarray, size: Size) -> None:
    start = predicted = 0
    for number, sequence in enumerate(members):
        rng = np.random.default_rng(int(sequence))
        length, count = int(lengths[sequence]), int(masked[sequence])
        slots, places = slice(start, start + length), slice(predicted, predicted + count)
        batch["input_ids"][row, slots] = rng.integers(_FIRST_WORD, size.vocab_size, length)
        batch["segmentation"][row, slots] = number + 1
        batch["token_type_ids"][row, slots] = np.arange(length) >= length // 2
        batch["position_ids"][row, slots] = np.arange(length)
        batch["masked_lm_positions"][row, places] = start + 1 + np.sort(rng.permutation(length - 2)[:count])
        batch["masked_lm_ids"][row, places] = rng.integers(_FIRST_WORD, size.vocab_size, count)
        batch["masked_lm_weights"][row, places] = 1
        batch["sequence_starts"][row, number] = start
        batch["next_sentence_labels"][row, number] = rng.integers(2)
        batch["next_sentence_weights"][row, number] = 1
        start, predicted = start + length, predicted + count


def make_benchmark(size: Size, dtype: str, attention: str = "auto") -> BertBenchmark:
    """The benchmark of this size on one device, without data; the large one draws from the closed division's generator."""
    closed = size == SIZES["large"]
    values = {
        **{f"model.{key}": getattr(size, key) for key in (
            "vocab_size", "hidden_size", "num_layers", "num_heads", "intermediate_size", "max_positions")},
        "model.hidden_dropout_rate": size.dropout_rate, "model.attention_dropout_rate": size.dropout_rate,
        "model.initial_weights": "", "model.attention_implementation": attention,
        "data.max_sequence_length": size.slots, "data.max_predictions": size.predictions, "data.batch_size": size.sequences,
        "data.packed": False, "microbatch_per_device": size.sequences, "compute_dtype": dtype, "division": "open",
        "rng_impl": "threefry2x32" if closed else "hash32",
    }
    return BertBenchmark(load_config("bert", [f"{key}={value}" for key, value in values.items()]), Topology(1), Path("no data"))
