"""Regression in private rounds."""

import warnings

import numpy as np
import pytest
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.privacy import (
    LDPIHT,
    BudgetExceededError,
    ClippingWarning,
    PrivacyLedger,
    UselessReleaseWarning,
    sphere_scale,
)

CLIPS = {"clip_x": 6.0, "clip_residual": 3.0}
SIMULATED = {"simulation": True, "random_state": 0}


@parametrize_with_checks(
    [
        LDPIHT(8.0, **CLIPS, **SIMULATED),
        LDPIHT(8.0, gradient_clip="paper", clip_entries=2.0, clip_y=3.0, **SIMULATED),
    ]
)
@pytest.mark.filterwarnings("ignore::sparsetheory.privacy.errors.UselessReleaseWarning")
@pytest.mark.filterwarnings("ignore::sparsetheory.privacy.errors.ClippingWarning")
def test_scikit_learn_conventions(estimator, check):
    check(estimator)


def _data(rng, n, d=10):
    X = rng.standard_normal((n, d))
    coef = np.zeros(d)
    coef[[2, 7]] = 0.8, -0.6
    return X, X @ coef + 0.5 * rng.standard_normal(n), coef


def test_errors_are_those_predicted(rng):
    X, y, coef = _data(rng, 60_000)
    model = LDPIHT(2.0, n_nonzero=2, n_kept=2, random_state=1, simulation=True, clip_x=6.0, clip_residual=3.5).fit(X, y)
    assert model.support_.tolist() == [2, 7]
    assert model.n_iter_ == 1
    per_entry = sphere_scale(10, 2.0, 6.0 * 3.5) / np.sqrt(10 * 60_000)
    assert model.predicted_error_ == pytest.approx(np.sqrt(2) * per_entry)
    # Two normal errors of this size, apart from clipping: four times their norm is left once in 3000 seeds.
    assert np.linalg.norm(model.coef_ - coef) < 4 * model.predicted_error_ < 0.8
    assert not model.privacy_.private


def test_rounds_mend_a_bad_first_answer(rng):
    # One step along the gradient is wrong for correlated features; later rounds correct it.
    n = 100_000
    X = rng.standard_normal((n, 6))
    X[:, 1] = 0.7 * X[:, 0] + np.sqrt(1 - 0.49) * X[:, 1]
    y = X[:, 0] - 0.8 * X[:, 1] + 0.1 * rng.standard_normal(n)
    options = {"n_nonzero": 2, "n_kept": 2, "step": 0.6, "norm_bound": 1.5, **CLIPS, **SIMULATED}
    coef = np.array([1.0, -0.8, 0, 0, 0, 0])
    one, many = (LDPIHT(8.0, n_rounds=T, **options).fit(X, y) for T in (1, 12))
    assert np.linalg.norm(one.coef_ - coef) > 0.8
    assert np.linalg.norm(many.coef_ - coef) < 0.5
    options |= {"step": "auto", "eigenvalue_range": (0.3, 1.7)}
    assert LDPIHT(8.0, **options).fit(X, y).certificate_.step == pytest.approx(1 / 1.7)


def test_screening_keeps_features_and_shortens_messages(rng):
    X, y, _ = _data(rng, 20_000, d=30)
    model = LDPIHT(8.0, n_nonzero=2, n_rounds=1, screen=8, clip_x=8.0, clip_residual=3.0, **SIMULATED).fit(X, y)
    assert model.support_.tolist() == [2, 7]
    assert len(model.history_.features) == 8
    assert set(np.flatnonzero(model.history_.gradients[1])) <= set(model.history_.features)
    plain = LDPIHT(8.0, n_nonzero=2, n_rounds=2, clip_x=8.0, clip_residual=3.0, **SIMULATED).fit(X, y)
    assert model.predicted_error_ < plain.predicted_error_
    assert model.certificate_.check(X, y).valid


def test_a_private_fit_tosses_its_own_coins(rng):
    X, y, _ = _data(rng, 3000)
    options = {"n_nonzero": 2, "public_seed": 5, "random_state": 0, **CLIPS}
    first, second = (LDPIHT(8.0, **options).fit(X, y) for _ in range(2))
    assert first.privacy_.private
    assert first.privacy_.eps == 8.0
    assert not np.array_equal(first.history_.totals, second.history_.totals)
    assert first.certificate_.check(X, y).valid
    assert first.certificate_.coin_seed is None


def test_certificates_of_private_fits_notice_what_exceeds_the_noise(rng):
    X, y, _ = _data(rng, 20_000)
    certificate = LDPIHT(8.0, n_nonzero=2, n_rounds=2, clip_x=4.5, clip_residual=3.0).fit(X, y).certificate_
    assert certificate.check(X, y).valid
    # The mean gradient of these moves by 2.4 in one entry. Noise has a standard deviation of 0.17, and 1.0 is allowed.
    other = certificate.check(X, -5 * y)
    assert not other.valid
    assert "too far from that of these data" in other.reason
    assert not certificate.check(X[:-1], y[:-1]).valid


def test_every_user_speaks_once(rng):
    X, y, _ = _data(rng, 2000)
    with pytest.raises(BudgetExceededError, match="a user speaks once"):
        LDPIHT(8.0, **CLIPS).fit(X, y, user_ids=np.zeros(2000, dtype=int))
    with PrivacyLedger(":memory:", eps=12.0) as ledger:
        LDPIHT(8.0, ledger=ledger, **CLIPS).fit(X, y, user_ids=np.arange(len(y)))
        assert ledger.total(1999) == 8.0
        with pytest.raises(BudgetExceededError):
            LDPIHT(8.0, ledger=ledger, **CLIPS).fit(X, y, user_ids=np.arange(len(y)))
        LDPIHT(4.0, ledger=ledger, **CLIPS).fit(X, y, user_ids=np.arange(len(y)))


def test_a_hopeless_fit_warns_before_anyone_is_charged(rng):
    X, y, _ = _data(rng, 200)
    with PrivacyLedger(":memory:", eps=1.0) as ledger:
        model = LDPIHT(1.0, ledger=ledger, **CLIPS)
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            with pytest.raises(UselessReleaseWarning, match="answering zero is no worse; about"):
                model.fit(X, y, user_ids=np.arange(len(y)))
        broken = y.copy()
        broken[0] = np.nan
        with pytest.raises(ValueError, match="y contains NaN"):
            model.fit(X, broken, user_ids=np.arange(len(y)))
        assert ledger.total(0) == 0.0


def test_simulations_say_what_they_clip(rng):
    X, y, _ = _data(rng, 5000)
    with pytest.warns(ClippingWarning, match="clip_x cuts"):
        LDPIHT(8.0, n_nonzero=2, clip_x=2.0, clip_residual=3.0, **SIMULATED).fit(X, y)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        LDPIHT(8.0, n_nonzero=2, clip_x=2.0, clip_residual=3.0).fit(X, y)  # nobody may know


def test_no_features_ask_nobody(rng):
    X, y, _ = _data(rng, 50)
    with PrivacyLedger(":memory:", eps=1.0) as ledger:
        model = LDPIHT(1.0, n_nonzero=0, ledger=ledger, **CLIPS).fit(X, y, user_ids=np.arange(len(y)))
        assert ledger.total(0) == 0.0
    assert not model.coef_.any()
    assert model.privacy_.eps == 0.0
    assert model.n_iter_ == 0
    assert model.certificate_.check(X, y).valid


@pytest.mark.filterwarnings("ignore::sparsetheory.privacy.errors.UselessReleaseWarning")
@pytest.mark.parametrize("screen", [None, 5])
def test_rounds_may_be_empty(screen, rng):
    X, y, _ = _data(rng, 4)
    model = LDPIHT(8.0, n_nonzero=1, n_rounds=4, screen=screen, **CLIPS, **SIMULATED).fit(X, y)
    assert np.count_nonzero(model.history_.counts == 0)
    assert model.history_.counts.sum() == 4
    assert model.certificate_.check(X, y).valid


def test_a_constant_response_is_as_private_as_others(rng):
    # Zeros for sure would tell that nobody differs.
    X = rng.standard_normal((2000, 4))
    model = LDPIHT(8.0, n_nonzero=2, **CLIPS, **SIMULATED).fit(X, np.zeros(2000))
    assert model.coef_.any()
    assert np.linalg.norm(model.coef_) < 4 * model.predicted_error_


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"clip_x": None}, "clip_x or clip_entries must be given: clipping bounds must be public"),
        ({"clip_residual": None}, "clip_residual or clip_y must be given: clipping bounds must be public"),
        ({"n_nonzero": 11}, "n_nonzero must be at most the number of features 10; got 11"),
        ({"n_nonzero": 3, "n_kept": 2}, "n_kept must be an integer from n_nonzero, 3, to 10; got 2"),
        ({"n_nonzero": 3, "screen": 2}, "screen must be None or an integer from 3 to 10; got 2"),
        ({"n_rounds": 51}, "n_rounds must be at most the number of users, 50, so that m = n / T is at least 1; got 51"),
        ({"eigenvalue_range": (2.0, 1.0)}, "eigenvalue_range must be two positive numbers, the smaller one first"),
        ({"scale_x": [1.0, 2.0]}, "scale_x must be a positive number, or 10 of them; got shape (2,)"),
        ({"eps": 20.5}, "eps must be a number in (0, 20]; got 20.5"),
    ],
)
def test_what_cannot_be_is_refused(wrong, message, rng):
    X, y, _ = _data(rng, 50)
    with pytest.raises(ValueError) as caught:  # noqa: PT011
        LDPIHT(**{"eps": 1.0, **CLIPS, **wrong}).fit(X, y)
    assert message in str(caught.value)


def test_numbers_beyond_63_bits_are_charged_as_for_moments(rng):
    X, y, _ = _data(rng, 3)
    users = np.array([5, 2**63, 2**64 - 1], dtype=np.uint64)
    with PrivacyLedger(":memory:", eps=8.0) as ledger, warnings.catch_warnings():
        warnings.simplefilter("ignore", UselessReleaseWarning)
        LDPIHT(8.0, ledger=ledger, **CLIPS).fit(X, y, user_ids=users)
        assert ledger.total(str(2**63)) == ledger.total(5) == 8.0
