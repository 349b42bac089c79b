"""The exact law of Gaussian privacy, against mpmath and against published values."""

import math

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.special import log_ndtr

from sparsetheory.privacy import gaussian_delta, gaussian_mu

_DELTAS = st.floats(-12, -0.05).map(lambda power: 10.0**power)
_EPS = st.floats(1e-3, 20.0)


def exact_delta(eps, mu):
    with mpmath.workdps(60):
        eps, mu = mpmath.mpf(eps), mpmath.mpf(mu)
        return mpmath.ncdf(mu / 2 - eps / mu) - mpmath.exp(eps) * mpmath.ncdf(-mu / 2 - eps / mu)


@pytest.mark.parametrize(
    ("eps", "delta", "mu"),
    [
        (0.1, 1e-6, 0.0275446502),
        (0.5, 1e-6, 0.1241061490),
        (1, 1e-6, 0.2367043807),
        (2, 1e-6, 0.4483347404),
        (4, 1e-6, 0.8378587571),
        (8, 1e-6, 1.5315451176),
        (1, 1e-9, 0.1819748073),
    ],
)
def test_reference_values(eps, delta, mu):
    assert abs(gaussian_mu(eps, delta) - mu) <= 0.5001e-10


@given(_EPS, _DELTAS)
def test_calibration_inverts_the_law(eps, delta):
    mu = gaussian_mu(eps, delta)
    assert gaussian_delta(eps, mu) <= delta
    assert abs(exact_delta(eps, mu) / mpmath.mpf(delta) - 1) <= 1e-9


@given(_EPS, _DELTAS)
def test_against_logarithms_of_the_normal_law(eps, delta):
    mu = gaussian_mu(eps, delta)
    a, b = log_ndtr(mu / 2 - eps / mu), eps + log_ndtr(-mu / 2 - eps / mu)
    # Logarithms near 100 lose seven digits where a and b are close.
    assert abs(-math.expm1(b - a) * math.exp(a) - gaussian_delta(eps, mu)) <= 1e-6 * delta


@given(_EPS, _DELTAS, st.floats(1e-3, 0.5))
def test_delta_falls_with_eps_and_grows_with_mu(eps, delta, share):
    mu = gaussian_mu(eps, delta)
    assert gaussian_delta(eps * (1 + share), mu) < gaussian_delta(eps, mu) < gaussian_delta(eps, mu * (1 + share))


@given(st.floats(1e-8, 30.0))
def test_total_variation_at_eps_zero(mu):
    assert gaussian_delta(0.0, mu) == pytest.approx(math.erf(mu / math.sqrt(8)), rel=1e-14)


@given(st.floats(1e-3, 0.999), st.floats(-12, -1).map(lambda power: 10.0**power))
def test_the_classical_noise_is_larger_below_one(eps, delta):
    classical = math.sqrt(2 * math.log(1.25 / delta)) / eps
    assert classical >= 1 / gaussian_mu(eps, delta)


@pytest.mark.parametrize(("delta", "first"), [(1e-3, 7.5), (1e-5, 8.45), (1e-6, 8.8), (1e-8, 9.4), (1e-10, 9.85)])
def test_where_the_classical_noise_fails_first(delta, first):
    grid = np.arange(0.05, 12.0, 0.05)
    fails = [gaussian_delta(eps, eps / math.sqrt(2 * math.log(1.25 / delta))) > delta for eps in grid.tolist()]
    assert abs(grid[fails.index(True)] - first) <= 0.0501  # published with steps of 0.05


def test_the_classical_noise_fails_by_much_at_eps_20():
    assert gaussian_delta(20.0, 20 / math.sqrt(2 * math.log(1.25e6))) == pytest.approx(1.6e-4, rel=0.05)


@pytest.mark.parametrize("eps", [-1.0, math.nan, math.inf, 101.0])
def test_eps_out_of_range(eps):
    with pytest.raises(ValueError, match=r"eps must be a number in \[0, 100\]"):
        gaussian_delta(eps, 1.0)
    with pytest.raises(ValueError, match="eps must be"):
        gaussian_mu(eps, 0.1)


@pytest.mark.parametrize("mu", [-1.0, math.nan, math.inf])
def test_mu_out_of_range(mu):
    with pytest.raises(ValueError, match="mu must be a finite non-negative number"):
        gaussian_delta(1.0, mu)


@pytest.mark.parametrize("delta", [0.0, 1.0, -0.1, math.nan])
def test_delta_out_of_range(delta):
    with pytest.raises(ValueError, match=r"delta must be a number in \(0, 1\)"):
        gaussian_mu(1.0, delta)


def test_edges():
    assert gaussian_delta(1.0, 0.0) == 0.0
    assert gaussian_delta(0.0, 1e6) == 1.0
    with pytest.raises(ValueError, match="delta must be larger"):
        gaussian_mu(0.0, 1e-15)
