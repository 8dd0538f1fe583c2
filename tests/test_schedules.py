"""The Transformer schedule against known rates."""

import pytest

from jax_mlperf.schedules import lamb_schedule, piecewise_schedule, polynomial_schedule, transformer_schedule

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


# (base, warm-up, decay steps, rates): TF2 at batch 4096, NVIDIA with 8 x 400 samples, JAX 0.7 at batch 65,536.
POLYNOMIALS = [
    (10.0, 1560, 11545, {0: 0.0, 780: 5.0, 1560: 10.0, 1561: 9.998268, 7332: 2.500508, 13104: 0.0001, 99999: 0.0001}),
    (11.0, 802, 14837 - 802, {401: 5.5, 802: 11.0, 803: 10.998433, 7819: 2.750467, 14837: 0.0001}),
    (23.080977304670448, 651.75, 1166.25, {100: 3.541385, 652: 23.071083, 1000: 11.354798}),
]


@pytest.mark.parametrize("base, warmup, decay, rates", POLYNOMIALS)
def test_polynomial(base, warmup, decay, rates):
    schedule = polynomial_schedule(base, 1e-4, warmup, decay)
    for step, rate in rates.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-6, abs=1e-7)  # known to 1e-6, the last ones to 1e-4


def test_polynomial_without_warmup_starts_at_the_base():
    assert float(polynomial_schedule(0.5, 0.0, 0, 10)(0)) == 0.5


@pytest.mark.parametrize("warmup, decay", [(-1, 10), (0, 0)])
def test_polynomial_refuses(warmup, decay):
    with pytest.raises(ValueError, match="decay_steps above 0, got"):
        polynomial_schedule(1.0, 0.0, warmup, decay)


@pytest.mark.parametrize("batch, rates", [
    (1024, {0: 0.0, 3127: 0.255959, 6255: 0.512, 37534: 0.512, 37535: 0.0512, 75069: 0.00512, 112603: 5.12e-5}),
    (256, {12511: 0.064}),
])
def test_piecewise_of_the_first_reference(batch, rates):
    epoch = 1_281_167 / batch
    boundaries = [int(epochs * epoch) for epochs in (30, 60, 80, 90)]
    schedule = piecewise_schedule(0.128 * batch / 256, int(5 * epoch), boundaries, [0.1, 0.01, 0.001, 1e-4])
    if batch == 1024:
        assert (int(5 * epoch), boundaries) == (6255, [37534, 75068, 100091, 112602])
    for step, rate in rates.items():
        assert float(schedule(step)) == pytest.approx(rate, rel=2e-6)


@pytest.mark.parametrize("boundaries, factors", [([3, 2], [0.1, 0.01]), ([3], [])])
def test_piecewise_refuses(boundaries, factors):
    with pytest.raises(ValueError, match="must increase and have one factor each"):
        piecewise_schedule(1.0, 0, boundaries, factors)


# base, T, W, S0: Google's 8192 and 3072, the reference's 448, NVIDIA's 4608 (flat for 330 steps, then a drop).
LAMB_RATES = [
    ((0.00288293, 600, 287, -76), {0: 7.6342397e-4, 100: 1.7679292e-3, 210: 2.8728849e-3, 211: 1.8690996e-3, 300: 1.441465e-3,
                                   599: 4.8048833e-6, 600: 0.0, 900: 0.0}),
    ((0.002, 1141, 100, 0), {0: 0.0, 10: 2e-4, 99: 1.98e-3, 100: 1.8247152e-3, 570: 1.0008764e-3}),
    ((0.000425, 6700, 0, 0), {0: 4.25e-4, 100: 4.1865672e-4, 3350: 2.125e-4}),
    ((0.00258, 700, 200_330, -200_000), {0: 2.57575e-3, 329: 2.5799871e-3, 330: 1.3637143e-3}),
]


@pytest.mark.parametrize("arguments, rates", LAMB_RATES)
def test_lamb_rates(arguments, rates):
    schedule = lamb_schedule(*arguments)
    for step, rate in rates.items():
        # known to eight digits; 1 - s / T in float32 loses some near the end
        assert float(schedule(step)) == pytest.approx(rate, rel=1e-5 if step == 599 else 2e-7)


@pytest.mark.parametrize("start", [-700, 0, 50])
def test_lamb_without_warmup_ignores_the_start(start):
    schedule = lamb_schedule(0.0029293, 700, 0, start)
    assert [float(schedule(step)) for step in (0, 350)] == pytest.approx([0.0029293, 0.0029293 / 2], rel=1e-6)


@pytest.mark.parametrize("steps, warmup, start", [(0, 0, 0), (10, -1, 0), (10, 5, 1)])
def test_lamb_refuses(steps, warmup, start):
    with pytest.raises(ValueError, match=f"start_warmup_step at most 0, got {steps}, {warmup} and {start}"):
        lamb_schedule(1.0, steps, warmup, start)
