"""Packed rows for BERT, made by hand."""

import jax.numpy as jnp
import numpy as np

from jax_mlperf.models.bert import Packed


def packed(rows, slots: int, predictions: int = 2, sequences: int = 2) -> Packed:
    """Rows of sequences (ids, first slots of segment A, masked positions), one after the other."""
    batch = {name: np.zeros((len(rows), size), np.int32) for name, size in (
        ("input_ids", slots), ("segmentation", slots), ("token_type_ids", slots), ("position_ids", slots),
        ("masked_lm_positions", predictions * sequences), ("sequence_starts", sequences))}
    for row, contents in enumerate(rows):
        start = 0
        for number, (ids, first, positions) in enumerate(contents):
            taken = slice(start, start + len(ids))
            batch["input_ids"][row, taken] = ids
            batch["segmentation"][row, taken] = number + 1
            batch["token_type_ids"][row, taken] = np.arange(len(ids)) >= first
            batch["position_ids"][row, taken] = np.arange(len(ids))
            batch["masked_lm_positions"][row, number * predictions:(number + 1) * predictions] = start + np.array(positions)
            batch["sequence_starts"][row, number] = start
            start += len(ids)
    return Packed(**{name: jnp.asarray(value) for name, value in batch.items()})
