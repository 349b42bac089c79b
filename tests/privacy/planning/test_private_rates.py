"""Rates and lower bounds of private regression, and the two constants behind them."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.privacy import hard_threshold_nu, information_contraction, nldp_lower_bound, rate

MODELS = ("noninteractive", "public_covariates", "interactive")


def slopes(model, end):
    """Measure the exponents of n, k and eps by doubling each."""
    base = {"n_samples": 10**6, "n_features": 512, "n_nonzero": 8, "eps": 0.5}
    start = getattr(rate(model, **base), end)
    doubled = [{**base, name: 2 * base[name]} for name in ("n_samples", "n_nonzero", "eps")]
    return [math.log2(getattr(rate(model, **changed), end) / start) for changed in doubled]


@pytest.mark.parametrize("model", MODELS)
def test_orders_have_the_exponents_of_the_table(model):
    np.testing.assert_allclose(slopes(model, "lower"), [-0.5, 0.5, -1.0])
    np.testing.assert_allclose(slopes(model, "upper"), [-0.5, 1.0 if model == "interactive" else 0.5, -1.0])


def test_orders_of_three_models_at_one_place():
    # sqrt(n) eps = 100; d = 16, k = 4.
    plain, public, interactive = (rate(model, 10**4, 16, 4, 1.0) for model in MODELS)
    assert plain.lower == public.lower == pytest.approx(8 * math.sqrt(math.log(16)) / 100)
    assert (plain.upper, public.upper) == pytest.approx((0.32, 0.08))
    assert (interactive.lower, interactive.upper) == pytest.approx((0.08, 0.16))


def test_the_lower_bound_is_as_derived_and_never_above_that_of_zero():
    n, d, k, eps = 10**6, 64, 2, 0.5
    assert nldp_lower_bound(n, d, k, eps) == pytest.approx(d * k * math.log(64) / (16 * n * math.sinh(0.25) ** 2))
    # Answering zero costs at most gamma^2 = 1 / k.
    assert nldp_lower_bound(1, d, k, eps) == 1 / (4 * k)
    # Beyond a certain eps the channel passes all there is.
    assert nldp_lower_bound(n, d, k, 20.0) == pytest.approx(k * math.log(64) / (16 * n))


@given(st.integers(1, 10**9), st.integers(1, 8), st.integers(8, 40), st.floats(0.01, 19.0))
def test_the_lower_bound_falls_with_users_and_eps(n, k, block, eps):
    bound = nldp_lower_bound(n, k * block, k, eps)
    assert 0 < nldp_lower_bound(2 * n, k * block, k, eps) <= bound
    assert nldp_lower_bound(n, k * block, k, eps + 1) <= bound
    # Its order is that of the rate, for small eps: the ratio of the squares lies between constants.
    if eps <= 1 and bound < 1 / (4 * k):
        squared = rate("noninteractive", n, k * block, k, eps).lower ** 2
        assert 1 / 200 < bound / squared < 1


@pytest.mark.parametrize(("d", "k"), [(63, 2), (14, 2), (7, 1), (100, 30)])
def test_the_lower_bound_needs_equal_blocks_of_at_least_eight(d, k):
    with pytest.raises(ValueError, match=r"^n_features must be a multiple of n_nonzero and at least 8 times as large"):
        nldp_lower_bound(100, d, k, 1.0)


def test_information_contraction_is_the_maximum_over_two_valued_channels():
    # A channel that says yes with odds e^eps on a share t: its information relative to the score that knows the share.
    eps = 1.3
    t = np.linspace(0, 1, 100_001)
    a = math.expm1(eps)
    assert np.max(a**2 * t * (1 - t) / (1 + a * t) ** 2) == pytest.approx(information_contraction(eps), rel=1e-8)


@pytest.mark.parametrize(("kept", "root"), [(80, 1.1923), (20, 1.4142), (10, 1.6180)])
def test_reference_constants_of_hard_thresholds(kept, root):
    assert math.sqrt(hard_threshold_nu(1000, 10, kept)) == pytest.approx(root, abs=5e-5)


def test_nothing_is_lost_where_nothing_can_be_missed():
    assert hard_threshold_nu(10, 3, 10) == hard_threshold_nu(10, 10, 10) == 1


@given(st.integers(1, 30), st.integers(0, 30), st.integers(1, 60), st.integers(0, 2**32 - 1))
def test_hard_thresholds_keep_their_constant(k, more, rest, seed):
    kept, d = k + more, k + more + rest
    rng = np.random.default_rng(seed)
    truth = np.zeros(d)
    truth[rng.permutation(d)[:k]] = rng.standard_normal(k)
    v = truth + rng.standard_normal(d) * rng.choice([0.1, 1.0])
    thresholded = np.zeros(d)
    largest = np.argsort(-np.abs(v), kind="stable")[:kept]
    thresholded[largest] = v[largest]
    error, before = np.sum((thresholded - truth) ** 2), np.sum((v - truth) ** 2)
    assert error <= hard_threshold_nu(d, k, kept) * before * (1 + 1e-12)


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"model": "central"}, "model"),
        ({"n_samples": 0}, "n_samples"),
        ({"n_features": 1}, "n_features"),
        ({"n_nonzero": 0}, "n_nonzero"),
        ({"n_nonzero": 65}, "n_nonzero"),
        ({"eps": 0.0}, "eps"),
        ({"eps": math.nan}, "eps"),
        ({"eps": 20.5}, "eps"),
    ],
)
def test_bad_arguments_of_rates_are_named(changed, name):
    good = {"model": "interactive", "n_samples": 100, "n_features": 64, "n_nonzero": 2, "eps": 1.0}
    with pytest.raises(ValueError, match=f"^{name} must be"):
        rate(**{**good, **changed})


def test_bad_arguments_of_constants_are_named():
    with pytest.raises(ValueError, match=r"^n_kept must be"):
        hard_threshold_nu(10, 2, 11)
    with pytest.raises(ValueError, match=r"^n_nonzero must be an integer from 1 to 3; got 4"):
        hard_threshold_nu(10, 4, 3)
    with pytest.raises(ValueError, match=r"^eps must be"):
        information_contraction(-1.0)
    with pytest.raises(ValueError, match=r"^n_samples must be"):
        nldp_lower_bound(0, 64, 2, 1.0)
