"""Predicted errors: monotone, inverted by plans, and right where collections are simulated."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.privacy import LDPSchema, nldp_lower_bound, plan, predict_error, simulate_aggregate
from sparsetheory.privacy.planning.plan import prediction_of
from sparsetheory.privacy.solvers.moment_iht import moment_iht
from sparsetheory.privacy.solvers.weights import balanced_weight

SOLVERS = ("moment_iht", "ols_soft", "psd_lasso")
MECHANISMS = {"sphere_joint": 0.0, "sketch": 0.0, "onebit": 0.0, "gauss_tight": 1e-6, "paper": 1e-6}


@given(
    st.sampled_from(sorted(MECHANISMS)),
    st.sampled_from(SOLVERS),
    st.integers(3, 9),
    st.sampled_from([(10, 2), (20, 3), (64, 8)]),
    st.floats(0.1, 1.8),
)
@settings(max_examples=30)
def test_more_users_and_more_eps_never_hurt(mechanism, solver, log_n, size, eps):
    def error(n, epsilon):
        return predict_error(n, *size, epsilon, MECHANISMS[mechanism], mechanism, solver=solver).error

    here = error(10**log_n, eps)
    assert 0 < here <= math.sqrt(2)
    assert error(2 * 10**log_n, eps) <= here
    assert error(10**log_n, 1.05 * eps) <= here


@pytest.mark.parametrize("solver", SOLVERS)
def test_more_features_and_more_noise_never_help(solver):
    errors = [predict_error(10**9, d, 3, 1.0, solver=solver).error for d in (10, 20, 40, 80)]
    assert errors == sorted(errors)
    errors = [predict_error(10**9, 20, 3, 1.0, solver=solver, noise_std=std).error for std in (0.0, 0.5, 10.0)]
    assert errors == sorted(errors)


def test_a_public_covariance_helps():
    for mechanism, delta in (("sphere_joint", 0.0), ("onebit", 0.0), ("gauss_tight", 1e-6), ("paper", 1e-6)):
        private = predict_error(10**8, 40, 4, 0.5, delta, mechanism)
        public = predict_error(10**8, 40, 4, 0.5, delta, mechanism, public_covariance=True)
        assert public.error < private.error / 2, mechanism
        assert public.required_n < private.required_n


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_required_users_are_where_the_error_falls_below_zero(mechanism):
    found = predict_error(100, 20, 3, 1.0, MECHANISMS[mechanism], mechanism)
    enough = predict_error(found.required_n, 20, 3, 1.0, MECHANISMS[mechanism], mechanism)
    fewer = predict_error(round(0.99 * found.required_n), 20, 3, 1.0, MECHANISMS[mechanism], mechanism)
    assert enough.useful
    assert not fewer.useful
    assert (found.zero_error, found.n_samples, found.eps, found.mechanism) == (1.0, 100, 1.0, mechanism)


@pytest.mark.parametrize("solver", SOLVERS)
def test_plans_invert_predictions(solver):
    found = plan(20, 3, 0.2, eps=0.7, solver=solver)
    assert found.error <= 0.2
    assert found.required_n == found.n_samples
    assert predict_error(round(0.99 * found.n_samples), 20, 3, 0.7, solver=solver).error > 0.2
    back = plan(20, 3, 0.2, n_samples=found.n_samples, solver=solver)
    assert back.error <= 0.2
    assert back.eps == pytest.approx(0.7, rel=1e-6)


def test_a_schema_and_its_prediction_agree_with_the_numbers():
    schema = LDPSchema(
        mechanism="sketch", eps=1.0, n_features=20, clip_x=math.sqrt(20) + 2.5, clip_y=3 * math.sqrt(1.25)
    )
    schema = LDPSchema(**{**vars(schema), "response_weight": balanced_weight(schema, 1.0)})
    of_schema = prediction_of(schema, 10**7, 3, 1.0, noise_std=0.5)
    assert of_schema == predict_error(10**7, 20, 3, 1.0, mechanism="sketch")
    assert prediction_of(schema, 10**7, 3, 1.0, noise_std=0.5, wanted=0.1).required_n > of_schema.required_n


def test_units_of_the_response_do_not_matter():
    plain = predict_error(10**7, 20, 3, 1.0, norm_bound=1.0, noise_std=0.5)
    scaled = predict_error(10**7, 20, 3, 1.0, norm_bound=1e6, noise_std=0.5e6)
    assert scaled.error / 1e6 == pytest.approx(plain.error)
    assert scaled.required_n == pytest.approx(plain.required_n, rel=1e-6)


def test_the_lower_bound_stands_beside_the_prediction():
    prediction = predict_error(10**8, 64, 2, 0.5)
    assert prediction.lower_bound == pytest.approx(math.sqrt(nldp_lower_bound(10**8, 64, 2, 0.5)))
    assert prediction.lower_bound < prediction.error
    # Neither the sizes nor the mechanism of these obey the theorem.
    assert predict_error(10**8, 20, 3, 0.5).lower_bound is None
    assert predict_error(10**8, 64, 2, 0.5, 1e-6, "gauss_tight").lower_bound is None


def test_a_hopeless_collection_says_so():
    prediction = predict_error(1000, 100, 5, 0.1)
    assert not prediction.useful
    text = str(prediction)
    assert "answering zero 1" in text
    assert f"needs {prediction.required_n:.3g} users" in text
    assert predict_error(1000, 100, 5, 0.1, noise_std=1e9).required_n is None
    assert "more than 10^15 users" in str(predict_error(1000, 100, 5, 0.1, noise_std=1e9))


def test_no_coefficients_are_predicted_as_one_small_one():
    # Whatever is kept of pure noise is wrong, and one coefficient is the least a solver keeps.
    assert 0 < predict_error(10**8, 20, 0, 1.0).error <= predict_error(10**8, 20, 1, 1.0).error


@pytest.mark.parametrize(
    ("changed", "name"),
    [
        ({"n_samples": 0}, "n_samples"),
        ({"n_features": 0}, "n_features"),
        ({"n_nonzero": 21}, "n_nonzero"),
        ({"n_nonzero": -1}, "n_nonzero"),
        ({"eps": 0.0}, "eps"),
        ({"eps": math.nan}, "eps"),
        ({"eps": 20.5}, "eps"),
        ({"solver": "ridge"}, "solver"),
        ({"mechanism": "laplace"}, "mechanism"),
        ({"norm_bound": 0.0}, "norm_bound"),
        ({"noise_std": -1.0}, "noise_std"),
        ({"delta": 1e-6}, "delta"),
        ({"mechanism": "gauss_tight"}, "delta"),
        ({"mechanism": "sketch", "public_covariance": True}, "moments"),
    ],
)
def test_bad_arguments_are_named(changed, name):
    good = {"n_samples": 1000, "n_features": 20, "n_nonzero": 3, "eps": 1.0}
    with pytest.raises(ValueError, match=f"^{name} must be"):
        predict_error(**{**good, **changed})


def test_plans_need_one_of_two_and_something_in_reach():
    with pytest.raises(ValueError, match=r"^n_samples or eps must be given"):
        plan(20, 3, 0.1)
    with pytest.raises(ValueError, match=r"^n_samples or eps must be given"):
        plan(20, 3, 0.1, n_samples=1000, eps=1.0)
    with pytest.raises(ValueError, match=r"^error must be larger: 10\*\*15 users do not reach it"):
        plan(20, 3, 1e-9, eps=1.0)
    with pytest.raises(ValueError, match=r"^error must be larger: 1000 users do not reach it at eps=20"):
        plan(20, 3, 0.01, n_samples=1000)
    with pytest.raises(ValueError, match=r"^error must be"):
        plan(20, 3, 0.0, eps=1.0)


@pytest.mark.parametrize(("d", "k", "n"), [(20, 3, 10**8), (40, 4, 10**9)])
def test_predictions_for_hard_thresholding_are_those_of_a_simulation(d, k, n):
    # Independent of the solvers' front: the moments are drawn, and hard thresholding is called on them.
    rng = np.random.default_rng(d)
    coef = np.zeros(d)
    coef[:k] = 1 / math.sqrt(k)
    schema = LDPSchema(mechanism="sphere_joint", eps=1.0, n_features=d, clip_x=math.sqrt(d) + 2.5, clip_y=3.35)
    schema = LDPSchema(**{**vars(schema), "response_weight": balanced_weight(schema, 1.0)})
    squares = []
    for _ in range(60):
        moments = simulate_aggregate(n, np.eye(d), coef, 0.5, schema, random_state=rng)
        found = moment_iht(moments.second, moments.cross, k, 1.2, 1.0, n_kept=2 * k, n_steps=60)
        squares.append(np.sum((found - coef) ** 2))
    simulated = math.sqrt(np.mean(squares))
    # The mean of 60 squares with k squared normals each: its root is known to within 6 percent, twice.
    assert simulated / predict_error(n, d, k, 1.0).error == pytest.approx(0.9, abs=0.2)


@pytest.mark.parametrize(("mechanism", "n_samples"), [("gauss_tight", 10**8), ("paper", 10**10)])
def test_the_smallest_eps_is_found_among_those_that_gaussian_noise_allows(mechanism, n_samples):
    options = {"delta": 1e-6, "mechanism": mechanism}
    found = plan(20, 3, 0.1, n_samples=n_samples, **options)
    assert found.error == pytest.approx(0.1, rel=1e-6)
    assert predict_error(n_samples, 20, 3, 0.99 * found.eps, **options).error > 0.1
    with pytest.raises(ValueError, match="users do not reach it at eps="):
        plan(20, 3, 1e-3, n_samples=1000, **options)
