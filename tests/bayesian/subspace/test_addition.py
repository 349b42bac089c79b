"""Scores of addition: the gain of the evidence bound, and arguments."""

import mpmath
import numpy as np
import pytest

from sparsetheory.bayesian import addition_score


def test_gain_is_the_best_rise_of_the_bound_over_all_laws():
    rng = np.random.default_rng(0)
    grad, curvature, prior_std = rng.normal(size=5) * 4, 10 ** rng.uniform(-1, 2, 5), 0.6
    gain = addition_score(grad, curvature, prior_std=prior_std, rule="gain")

    def rise(mean, variance, g, h):
        divergence = (variance + mean**2) / prior_std**2 - 1 - np.log(variance / prior_std**2)
        return g * mean - h * (mean**2 + variance) / 2 - divergence / 2

    for i in range(5):
        best = 1 / (curvature[i] + prior_std**-2)
        means, variances = np.meshgrid(best * grad[i] + np.linspace(-1, 1, 41), best * np.linspace(0.5, 2, 61))
        surface = rise(means, variances, grad[i], curvature[i])
        assert surface.max() <= gain[i] + 1e-12
        assert rise(best * grad[i], best, grad[i], curvature[i]) == pytest.approx(gain[i], rel=1e-12)


@pytest.mark.parametrize(("prior_std", "h"), [(1e-6, 1e9), (1e-3, 1e-9), (1.0, 1.0), (1e5, 1e-12), (1e6, 1e12)])
def test_gain_agrees_with_many_digits(prior_std, h):
    for g in (0.0, 1e-6, 1.0, 1e6):
        with mpmath.workdps(60):
            prior, curvature = mpmath.mpf(prior_std), mpmath.mpf(h)
            fit = mpmath.mpf(g) ** 2 / (2 * (curvature + prior**-2))
            price = mpmath.log1p(prior**2 * curvature) / 2
        found = float(addition_score(-g, h, prior_std=prior_std, rule="gain"))
        assert abs(found - (fit - price)) <= 4e-15 * max(fit, price)


def test_columns_of_zeros_gain_nothing():
    assert addition_score([0.0, 0.0], [0.0, 1.0], prior_std=2.0, rule="gain").tolist()[0] == 0.0
    assert addition_score(0.0, 1.0, prior_std=2.0, rule="gain") < 0


def test_equal_curvatures_sort_as_gradients_and_others_need_not():
    grad = np.array([0.5, -3.0, 1.0, 2.0])
    equal = addition_score(grad, np.full(4, 2.0), prior_std=1.0, rule="gain")
    assert equal.argsort().tolist() == addition_score(grad).argsort().tolist() == [0, 2, 3, 1]
    unequal = addition_score(grad, [0.1, 90.0, 0.1, 0.1], prior_std=1.0, rule="gain")
    assert unequal.argmax() == 3


def test_loss_of_one_sample_is_not_in_nats():
    # A strong column and a weak one, and many samples: with gradients of the mean loss nothing seems to pay.
    n, grad, curvature = 1000, np.array([0.3, 0.01]), np.array([1.0, 1.0])
    nats = addition_score(n * grad, n * curvature, prior_std=1.0, rule="gain")
    assert nats[0] > 0 > nats[1]
    assert (addition_score(grad, curvature, prior_std=1.0, rule="gain") < 0).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_precision_stays_and_shapes_broadcast(dtype):
    grad, curvature = np.ones((2, 3), dtype), np.ones(3, dtype)
    assert addition_score(grad).dtype == dtype
    gain = addition_score(grad, curvature, prior_std=1.0, rule="gain")
    assert gain.dtype == dtype
    assert gain.shape == (2, 3)
    assert addition_score([1, -2]).tolist() == [1.0, 2.0]


@pytest.mark.parametrize(
    ("arguments", "options", "words"),
    [
        (([1.0],), {"rule": "curvature"}, "rule must be one of 'grad', 'gain'"),
        (([1.0],), {"rule": "gain", "prior_std": 1.0}, "curvature must be given for rule 'gain'; got None"),
        (([1.0], [1.0]), {"rule": "gain"}, "prior_std must be a finite positive number; got None"),
        (([1.0], [-1.0]), {"rule": "gain", "prior_std": 1.0}, "curvature must not be negative; got -1"),
        (([1.0], [np.nan]), {"rule": "gain", "prior_std": 1.0}, "curvature must be finite"),
        (([1.0, 2.0], [1.0, 1.0, 1.0]), {"rule": "gain", "prior_std": 1.0}, "curvature must have a shape"),
        (([np.nan],), {}, "grad must be finite"),
    ],
)
def test_errors_name_the_argument(arguments, options, words):
    with pytest.raises(ValueError, match=words):
        addition_score(*arguments, **options)
