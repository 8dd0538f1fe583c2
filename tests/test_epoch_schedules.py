"""Schedules by epochs at the specification's test points."""

import numpy as np
import pytest

from jax_mlperf.epoch_schedules import linear_to_zero, multi_step, triangle


def test_paper_mode():
    schedule = multi_step(0.1, 391, boundaries=(82, 123))
    steps = [0, 82 * 391 - 1, 82 * 391, 123 * 391 - 1, 123 * 391, 164 * 391]
    np.testing.assert_allclose([schedule(step) for step in steps], [0.1, 0.1, 0.01, 0.01, 0.001, 0.001], rtol=1e-5)


def test_warmup_of_five_epochs():
    schedule = multi_step(0.05, 98, boundaries=(82, 109), workers=4, warmup_epochs=5)
    epochs = np.array([0, 1, 2, 5, 81, 82, 108, 109])
    expected = [0.05, 0.08, 0.11, 0.20, 0.20, 0.02, 0.02, 0.002]
    np.testing.assert_allclose([schedule(98 * epoch) for epoch in epochs], expected, rtol=1e-5)
    np.testing.assert_allclose([schedule(98 * epoch + 97) for epoch in epochs], expected, rtol=1e-5)


def test_airbench_schedules():
    assert float(0.24 * linear_to_zero(200)(100)) == pytest.approx(0.12)
    assert [float(linear_to_zero(75)(step)) for step in (0, 75, 200)] == [1, 0, 0]
    steps, factors = (0, 50, 109, 110, 300, 475), (0.2, 0.56697, 1.0, 0.99747, 0.51599, 0.07253)
    np.testing.assert_allclose([triangle(476)(step) for step in steps], factors, atol=1e-5)
