"""MLPerf's optimizers by MLPerf's names."""

import optax


def adam(schedule: optax.Schedule, b1: float, b2: float, eps: float = 1e-9) -> optax.GradientTransformation:
    """Adam (Kingma and Ba 2015), both moments float32, `eps` outside the root and after bias correction.

    The "lazy" Adam of the reference's transformer_main.py
    (`mlcommons/training:retired_benchmarks/transformer/tensorflow/transformer`) skips rows absent from the
    batch; with the output matrix tied to the embedding every row has a gradient, and both are the same. It adds
    eps before bias correction: at 1e-9 the difference vanishes. The closed division requires eps 1e-9.
    """
    return optax.adam(schedule, b1=b1, b2=b2, eps=eps)
