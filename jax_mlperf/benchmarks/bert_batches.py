"""The arrays of BERT's batches: how many rows, and what lies in them."""

import math

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from input_pipelines.pretraining import predictions_per_row
from jax_mlperf.models.bert import Packed
from jax_mlperf.types import PyTree


def rows_multiple(config: ConfigDict, devices: int, rows: int) -> int:
    """What a batch of so many rows is rounded up to a multiple of, so that it splits evenly over devices and microbatches."""
    limit = config.microbatch_per_device
    return devices * (math.ceil(rows / devices / limit) if limit else 1)


def expected_rows(config: ConfigDict, devices: int) -> int:
    """The rows of a training batch while there are no data whose lengths would tell."""
    data = config.data
    rows = math.ceil(data.batch_size / (data.expected.sequences_per_row if data.packed else 1))
    multiple = rows_multiple(config, devices, rows)
    return math.ceil(rows / multiple) * multiple


def batch_spec(config: ConfigDict, rows: int) -> dict[str, jax.ShapeDtypeStruct]:
    """Shapes and dtypes of a batch of so many rows; see `input_pipelines.pretraining.PretrainingData`."""
    data = config.data
    slots, sequences = data.max_sequence_length, data.sequences_per_row if data.packed else 1
    predictions = predictions_per_row(slots, data.max_predictions, data.masked_lm_prob, sequences)

    def array(*shape: int, dtype: jax.typing.DTypeLike = jnp.int32) -> jax.ShapeDtypeStruct:
        return jax.ShapeDtypeStruct(shape, dtype)

    return {
        **{name: array(rows, slots) for name in ("input_ids", "segmentation", "token_type_ids", "position_ids")},
        "masked_lm_positions": array(rows, predictions), "masked_lm_ids": array(rows, predictions),
        "masked_lm_weights": array(rows, predictions, dtype=jnp.float32),
        "sequence_starts": array(rows, sequences), "next_sentence_labels": array(rows, sequences),
        "next_sentence_weights": array(rows, sequences, dtype=jnp.float32),
        "predictions": array(dtype=jnp.float32), "sequences": array(dtype=jnp.float32),
    }


def packed_rows(batch: PyTree) -> Packed:
    """What the model reads of a batch."""
    return Packed(**{name: batch[name] for name in Packed._fields})
