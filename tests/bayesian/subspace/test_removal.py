"""Scores of removal: values against many digits, orders, ends of the range, and arguments."""

import math

import mpmath
import numpy as np
import pytest

from sparsetheory.bayesian import addition_score, folded_normal_moments, removal_score

CRITERIA = ("mean", "snr", "mean_abs", "snr_abs", "exp_abs", "snr_exp_abs", "savage_dickey")


def log_moments(mu, sigma, rate):
    """Return the logarithms of the first two moments of the exponential."""
    below = lambda x: mpmath.erfc(-x / mpmath.sqrt(2)) / 2  # noqa: E731
    mu, sigma = abs(mpmath.mpf(mu)), mpmath.mpf(sigma)
    logs = []
    for power in (rate, 2 * rate):
        a, r = power * sigma, mu / sigma
        logs.append(a * r + a * a / 2 + mpmath.log(below(r + a) + mpmath.exp(-2 * a * r) * below(a - r)))
    return logs


def exponential_scores(mu, sigma, rate):
    with mpmath.workdps(120):
        first, second = log_moments(mu, sigma, mpmath.mpf(rate))
        k = second - 2 * first
        return first, -(k + mpmath.log(-mpmath.expm1(-k))) / 2


@pytest.mark.parametrize("rate", [0.01, 1.0, 30.0])
@pytest.mark.parametrize("sigma", [1e-12, 1e-6, 6e-4, 0.049, 0.051, 0.3, 2.0, 400.0])
def test_exponential_scores_agree_with_many_digits(sigma, rate):
    for r in (0.0, 1e-3, 0.5, 1.0, 2.0, 4.0, 7.9, 8.1, 20.0, 1e3):
        expected = exponential_scores(r * sigma, sigma, rate)
        log_mean = removal_score(r * sigma, sigma, "exp_abs", rate=rate)
        assert abs(float(log_mean) / expected[0] - 1) < 1e-13
        log_ratio = removal_score(r * sigma, sigma, "snr_exp_abs", rate=rate)
        assert abs(float(log_ratio) - expected[1]) < 3e-13 * max(1, abs(expected[1]))


@pytest.mark.parametrize("r", [0.0, 0.7, 1.3, 2.9])
def test_series_and_closed_form_meet_where_one_takes_over(r):
    sigma = 0.05 * (1 + np.array([-1e-9, 1e-9]))
    for criterion, slope in (("exp_abs", 4.0), ("snr_exp_abs", 30.0)):
        score = removal_score(r * sigma, sigma, criterion)
        assert abs(score[1] - score[0]) < slope * 1e-10
        # Half of the expected change or less would be a jump, too.
        assert score[1] != score[0]


def test_scores_by_hand():
    mu, sigma = np.array([-2.0, 0.5]), np.array([0.5, 1.0])
    assert removal_score(mu, sigma, "mean").tolist() == [2.0, 0.5]
    assert removal_score(mu, sigma).tolist() == [4.0, 0.5]
    assert removal_score(mu, sigma, "snr_abs").tolist() == [4.0, 0.5]
    np.testing.assert_allclose(removal_score(mu, sigma, "mean_abs"), folded_normal_moments(mu, sigma).mean, rtol=1e-15)
    np.testing.assert_allclose(
        removal_score(mu, sigma, "savage_dickey", prior_std=2.0), [8 - math.log(4), 0.125 - math.log(2)], rtol=1e-14
    )


def test_savage_dickey_is_the_log_density_ratio_at_zero():
    rng = np.random.default_rng(0)
    mu, sigma = rng.normal(size=50), 10 ** rng.uniform(-2, 1, 50)

    def log_density(mean, deviation):
        return -((mean / deviation) ** 2) / 2 - np.log(deviation)

    expected = log_density(0.0, 0.3) - log_density(mu, sigma)
    np.testing.assert_allclose(removal_score(mu, sigma, "savage_dickey", prior_std=0.3), expected, rtol=1e-11)


def test_savage_dickey_is_what_the_evidence_bound_loses():
    rng = np.random.default_rng(1)
    F, precision, prior_std = rng.normal(size=(9, 4)) * [1, 3, 0.2, 1], 2.5, 0.7
    y = F @ [1.0, 0.0, 2.0, -1.0] + rng.normal(size=9)

    def bound(mu, variance):
        fit = precision * (np.sum((y - F @ mu) ** 2) + np.sum(F**2 @ variance)) / 2
        active = variance > 0
        v, m = variance[active], mu[active]
        return -fit - np.sum((v + m**2) / prior_std**2 - 1 - np.log(v / prior_std**2)) / 2

    h = precision * np.sum(F**2, axis=0)
    variance = 1 / (h + prior_std**-2)
    mu = np.linalg.solve(precision * F.T @ F + np.eye(4) / prior_std**2, precision * F.T @ y)
    score = removal_score(mu, np.sqrt(variance), "savage_dickey", prior_std=prior_std)
    for i in range(4):
        without = np.where(np.arange(4) == i, 0, mu), np.where(np.arange(4) == i, 0, variance)
        assert score[i] == pytest.approx(bound(mu, variance) - bound(*without), rel=1e-10)
        # Adding it back gains as much.
        slope = precision * F[:, i] @ (y - F @ without[0])
        gain = addition_score(slope, h[i], prior_std=prior_std, rule="gain")
        assert float(gain) == pytest.approx(score[i], rel=1e-10)


def test_folded_ratio_is_sorted_as_r_where_its_values_tie():
    r = np.linspace(0, 1e-7, 400)
    sigma = np.ones(400)
    moments = folded_normal_moments(r, sigma)
    assert len(np.unique(moments.mean / np.sqrt(moments.variance))) < 400
    assert (np.diff(removal_score(r, sigma, "snr_abs")) > 0).all()


def test_small_scales_remove_the_widest_whatever_their_mean():
    rng = np.random.default_rng(2)
    mu, sigma = rng.normal(0, 0.01, 2000), np.abs(rng.normal(6e-4, 5e-4, 2000))
    by_ratio = removal_score(mu, sigma, "snr_exp_abs").argsort()[:600]
    widest = folded_normal_moments(mu, sigma).variance.argsort()[-600:]
    assert len(np.intersect1d(by_ratio, widest)) >= 599
    assert len(np.intersect1d(by_ratio, removal_score(mu, sigma).argsort()[:600])) < 450


@pytest.mark.parametrize("criterion", CRITERIA)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_scores_are_never_undefined(criterion, dtype):
    info = np.finfo(dtype)
    numbers = np.array([0, info.smallest_subnormal, info.tiny, 1e-20, 1e-3, 1, 1e3, 1e18, info.max], dtype)
    mu, sigma = np.meshgrid(numbers, numbers)
    score = removal_score(-mu, sigma, criterion, prior_std=0.1)
    assert score.dtype == (np.float64 if "exp" in criterion else dtype)
    assert score.shape == mu.shape
    assert not np.isnan(score).any()


def test_constants():
    mu, sigma = [0.0, 2.0], [0.0, 0.0]
    assert removal_score(mu, sigma).tolist() == [0.0, np.inf]
    assert removal_score(mu, sigma, "savage_dickey", prior_std=1.0).tolist() == [-np.inf, np.inf]
    assert removal_score(mu, sigma, "exp_abs", rate=3.0).tolist() == [0.0, 6.0]
    assert removal_score(mu, sigma, "snr_exp_abs").tolist() == [np.inf, np.inf]


def test_scores_rise_with_r_to_the_end_of_the_range():
    r = 10.0 ** np.arange(0, 308, 7)
    scores = removal_score(r, 1.0, "savage_dickey", prior_std=1.0)
    assert np.all(np.diff(scores[r < 1e150]) > 0)
    assert np.all(scores[r > 1e155] == np.inf)


def test_wide_exponentials_do_not_overflow():
    assert removal_score(1.0, 100.0, "exp_abs") == pytest.approx(5001 + math.log1p(math.exp(-2)), rel=1e-14)
    ratio = removal_score([1.0, 1.0], [100.0, 101.0], "snr_exp_abs")
    assert np.isfinite(ratio).all()
    assert ratio[0] > ratio[1]


def test_single_precision_is_as_good_as_double_for_exponentials():
    rng = np.random.default_rng(3)
    mu = rng.normal(0, 0.01, 500).astype(np.float32)
    sigma = np.abs(rng.normal(6e-4, 5e-4, 500)).astype(np.float32)
    for criterion in ("exp_abs", "snr_exp_abs"):
        single = removal_score(mu, sigma, criterion)
        assert np.array_equal(single, removal_score(mu.astype(float), sigma.astype(float), criterion))


def test_scores_do_not_change_their_arguments():
    mu, sigma = np.array([-1.0, 2.0]), np.array([0.0, 1.0])
    for criterion in CRITERIA:
        score = removal_score(mu, sigma, criterion, prior_std=1.0)
        score[...] = 7
    assert mu.tolist() == [-1.0, 2.0]
    assert sigma.tolist() == [0.0, 1.0]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"criterion": "SNR"}, "criterion must be one of 'mean', 'snr'"),
        ({"criterion": "savage_dickey"}, "prior_std must be a finite positive number; got None"),
        ({"criterion": "savage_dickey", "prior_std": 0.0}, "prior_std must be a finite positive number"),
        ({"prior_std": -1.0}, "prior_std must be None or a finite positive number"),
        ({"rate": 0.0}, "rate must be a finite positive number"),
        ({"criterion": "exp_abs", "rate": np.inf}, "rate must be a finite positive number"),
    ],
)
def test_errors_name_the_argument(options, words):
    with pytest.raises(ValueError, match=words):
        removal_score([1.0], [1.0], **options)


@pytest.mark.parametrize(("mu", "sigma", "name"), [([np.nan], [1.0], "mu"), ([1.0], [np.nan], "sigma")])
@pytest.mark.parametrize("criterion", CRITERIA)
def test_undefined_numbers_raise(mu, sigma, name, criterion):
    with pytest.raises(ValueError, match=f"{name} must be finite"):
        removal_score(mu, sigma, criterion, prior_std=1.0)
