"""The Transformer schedule against known rates."""

import pytest

from jax_mlperf.schedules import transformer_schedule

BIG = 1024

RATES = [
    (2.0, 16000, {1: 3.088162e-8, 1000: 3.088162e-5, 8000: 2.470529e-4, 16000: 4.941059e-4}),
    (2.0, 16000, {32000: 3.493856e-4, 100000: 1.976424e-4}),
    (2.0, 1000, {1: 1.976424e-6, 500: 9.882118e-4, 1000: 1.976424e-3, 2214: 1.328285e-3}),
    (1.875, 1107, {1107: 1.761074e-3, 2214: 1.245267e-3, 3321: 1.016756e-3}),
    (3.3092157691415953, 664, {1: 6.043980e-6, 277: 1.674182e-3, 664: 4.013202e-3, 1108: 3.106742e-3}),
]


@pytest.mark.parametrize(("base", "warmup", "rates"), RATES)
def test_rates(base, warmup, rates):
    schedule = transformer_schedule(base, BIG, warmup)
    for step, rate in rates.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=5e-7)


def test_first_update_has_rate_zero():
    assert float(transformer_schedule(2.0, BIG, 16000)(0)) == 0.0


def test_nvidia_peak():
    """NVIDIA's logs give the peak rate: base = peak * sqrt(W d)."""
    schedule = transformer_schedule(1.9e-3 * (750 * BIG) ** 0.5, BIG, 750)
    for step, rate in {375: 9.5e-4, 750: 1.9e-3, 1500: 1.343503e-3, 3000: 9.5e-4}.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=5e-7)


@pytest.mark.parametrize(
    ("peak", "warmup", "base"), [(1.9e-3, 750, 1.6651), (1.732e-3, 400, 1.1085), (1.976e-3, 1000, 1.9996)]
)
def test_nvidia_peaks_are_reached(peak, warmup, base):
    assert float(transformer_schedule(base, BIG, warmup)(warmup)) == pytest.approx(peak, rel=5e-5)


def test_no_warmup_is_refused():
    with pytest.raises(ValueError, match="at least 1, got 0"):
        transformer_schedule(2.0, BIG, 0)
