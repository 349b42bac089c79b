"""Random instances are within their misspecification, and their errors mislead as they should."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bandits import (
    g_optimal_design,
    ls_amplification,
    make_estc_hard,
    make_sparse_misspecified,
)

FEATURES = ("gauss", "corr", "block", "sign")
ERRORS = ("uniform", "sign", "adversarial", "confusing")


@given(
    st.integers(1, 80),
    st.integers(1, 10),
    st.data(),
    st.sampled_from(FEATURES),
    st.sampled_from(ERRORS),
    st.sampled_from([0.0, 1e-6, 0.3, 20.0]),
)
def test_rewards_are_sparse_linear_up_to_eps(n_actions, n_features, data, feature, nu, eps):
    n_nonzero, seed = data.draw(st.integers(1, n_features)), data.draw(st.integers(0, 1000))
    instance = make_sparse_misspecified(n_actions, n_features, n_nonzero, eps, feature, nu, random_state=seed)
    assert np.count_nonzero(instance.theta) == n_nonzero
    np.testing.assert_allclose(np.linalg.norm(instance.theta), 1.0)
    error = np.abs(instance.rewards - instance.linear_rewards()).max()
    assert error <= eps * (1 + 1e-12) + 1e-14
    if nu == "sign":
        np.testing.assert_allclose(error, eps, atol=1e-14)
    norms = np.linalg.norm(instance.features(), axis=1)
    np.testing.assert_allclose(norms, n_features**0.5 if feature == "sign" else 1.0)
    again = make_sparse_misspecified(n_actions, n_features, n_nonzero, eps, feature, nu, random_state=seed)
    np.testing.assert_array_equal(instance.rewards, again.rewards)


@pytest.mark.parametrize("feature", FEATURES)
def test_the_adversarial_error_attains_the_amplification(feature):
    instance = make_sparse_misspecified(200, 8, 2, 0.1, feature, "adversarial", random_state=0)
    features = instance.features()
    design = g_optimal_design(features)
    white = features @ design.whitening
    fitted = white @ (white[design.support].T @ (design.weights * instance.rewards[design.support]))
    worst = np.abs(fitted - instance.linear_rewards()).max()
    assert worst == pytest.approx(0.1 * ls_amplification(features, design), rel=1e-9)


def test_families_of_features_are_what_they_say():
    signs = make_sparse_misspecified(30, 7, 2, 0.0, "sign", random_state=0).features()
    assert set(np.unique(signs)) == {-1.0, 1.0}
    blocks = make_sparse_misspecified(30, 7, 3, 0.0, "block", random_state=0).features()
    assert np.all(np.count_nonzero(blocks, axis=1) == 3)
    for start, stop in ((0, 2), (2, 4), (4, 7)):
        assert np.all(np.count_nonzero(blocks[:, start:stop], axis=1) == 1)
    rows = make_sparse_misspecified(5000, 6, 2, 0.0, "corr", random_state=0).features()
    correlations = np.corrcoef(rows.T)
    assert correlations[0, 1] > correlations[0, 5]
    assert correlations[2, 3] > 0.5


def test_the_confusing_error_is_linear_for_most_actions():
    instance = make_sparse_misspecified(2000, 10, 2, 0.1, nu="confusing", random_state=0)
    error = instance.rewards - instance.linear_rewards()
    inside = np.abs(error) < 0.1 * (1 - 1e-9)
    assert 0.85 < inside.mean() < 0.95
    coef, *_ = np.linalg.lstsq(instance.features()[inside], error[inside], rcond=None)
    assert np.sum(np.abs(coef) > 1e-9) == 4
    np.testing.assert_allclose(instance.features()[inside] @ coef, error[inside], atol=1e-10)


def test_one_seed_for_all_makes_no_noise_of_features():
    instance = make_sparse_misspecified(400, 1, 1, 0.0, "sign", random_state=0)
    noise = instance.problem(1.0, random_state=0).query(np.arange(400)) - instance.rewards
    features = np.random.default_rng(0).standard_normal(400)
    assert abs(np.corrcoef(noise, features)[0, 1]) < 0.2


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        ((10, 5, 6, 0.1), "n_nonzero"),
        ((10, 5, 0, 0.1), "n_nonzero"),
        ((0, 5, 1, 0.1), "n_actions"),
        ((10, 5, 1, -0.1), "eps"),
        ((10, 5, 1, np.nan), "eps"),
        ((10, 5, 1, 0.1, "dense"), "feature"),
        ((10, 5, 1, 0.1, "gauss", "normal"), "nu"),
    ],
)
def test_bad_instances_are_refused(arguments, name):
    with pytest.raises(ValueError, match=f"^{name} must be"):
        make_sparse_misspecified(*arguments)


@given(st.integers(2, 8), st.data())
def test_actions_that_teach_cost_and_actions_that_pay_are_all_there(n_features, data):
    n_nonzero = data.draw(st.integers(2, n_features))
    kappa = data.draw(st.sampled_from([0.2, 1.0]))
    instance = make_estc_hard(n_features, n_nonzero, 0.05, kappa=kappa, n_informative=40, random_state=0)
    features = instance.features()
    count = math.comb(n_features - 1, n_nonzero - 1) * 2 ** (n_nonzero - 1)
    paying, teaching = features[:count], features[count:]
    assert len(np.unique(paying, axis=0)) == count
    assert np.all(np.abs(paying).sum(axis=1) == n_nonzero - 1)
    assert len(teaching) == min(40, 2 ** (n_features - 1))
    assert np.all(np.abs(teaching[:, :-1]) == kappa)
    assert np.count_nonzero(instance.theta) == n_nonzero
    np.testing.assert_allclose(instance.rewards.max(), 0.05 * (n_nonzero - 1))
    assert instance.rewards.argmax() < count
    # Some action that teaches agrees with the signs at best: it loses one, less what signs gain.
    assert instance.rewards[count:].max() <= kappa * 0.05 * (n_nonzero - 1) - 1 + 1e-12


def test_too_many_actions_that_pay_are_refused():
    with pytest.raises(ValueError, match="at most 1000000 actions that pay; got "):
        make_estc_hard(60, 10)
    with pytest.raises(ValueError, match="kappa must be"):
        make_estc_hard(6, 2, kappa=2.0)
