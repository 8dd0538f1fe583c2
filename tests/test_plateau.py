"""MLBench's plateau rule at the specification's test points."""

import numpy as np
import pytest

from jax_mlperf.plateau import Plateau

LOSSES = (2.0, 1.5, 1.2, 1.195, 1.193, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0, 1.0)
RATES = {
    1: [0.02] * 13,
    2: [0.02, 0.04, 0.04, 0.04, 0.04] + [0.02] * 8,
    4: [0.02, 0.05, 0.08, 0.08, 0.08, 0.04, 0.04, 0.04] + [0.02] * 5,
    16: [0.02, 0.095, 0.17, 0.245, 0.32, 0.32, 0.32, 0.32, 0.16, 0.16, 0.08, 0.08, 0.04],
}


def rates(rule: Plateau, losses) -> list[float]:
    state = rule.initial()
    used = [float(state.learning_rate)]
    for loss in losses:
        state = rule.update(state, loss)
        used.append(float(state.learning_rate))
    assert state.epoch == len(losses)
    return used


@pytest.mark.parametrize("workers", RATES)
def test_rates_of_the_epochs(workers):
    np.testing.assert_allclose(rates(Plateau(0.02, workers), LOSSES), RATES[workers], rtol=1e-6)


@pytest.mark.parametrize(("workers", "epochs", "peak"), [(1, 0, 0.02), (2, 1, 0.04), (4, 2, 0.08), (8, 3, 0.16), (16, 4, 0.32), (32, 5, 0.64)])
def test_warmup_ends_at_the_peak(workers, epochs, peak):
    rule = Plateau(0.02, workers)
    falling = rates(rule, [10.0 - epoch for epoch in range(9)])
    assert rule.warmup_epochs == epochs
    np.testing.assert_allclose(falling[epochs:], peak, rtol=1e-6)
    assert all(rate < 0.999 * peak for rate in falling[:epochs])


def test_three_workers_reach_their_peak():
    np.testing.assert_allclose(rates(Plateau(0.02, 3), [3.0, 2.0, 1.0])[1:], [0.02 * (1 + 2 / np.log2(3)), 0.06, 0.06], rtol=1e-6)


def test_state_is_scalars_of_fixed_dtype():
    rule = Plateau(0.02, 2)
    before, after = rule.initial(), rule.update(rule.initial(), 1.0)
    assert [(leaf.dtype, leaf.shape) for leaf in before] == [(leaf.dtype, leaf.shape) for leaf in after]
    assert [leaf.dtype.name for leaf in after] == ["float32", "int32", "float32", "int32"]


def test_equal_to_the_threshold_is_not_better():
    assert 1.0 - 0.01 == 0.99
    assert rates(Plateau(1.0, 1, min_learning_rate=0.0), [1.0, 0.99, 0.99])[-1] == 0.5
    assert rates(Plateau(1.0, 1, min_learning_rate=0.0), [1.0, 0.98, 0.98])[-1] == 1.0
