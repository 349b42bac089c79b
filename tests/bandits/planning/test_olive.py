"""Plans are within their bounds of the best ones, good candidates survive, and wrong ones are refuted."""

import warnings
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.base import clone

from sparsetheory.bandits import (
    InconsistentOracleError,
    PlanningCertificate,
    SparseOliveRL,
    VacuousBoundWarning,
    make_random_mdp,
    make_tree_mdp,
)


def _given(instance):
    return instance.mdp, instance.features, instance.candidates


def _fit(instance, eps, rho=0.0):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VacuousBoundWarning)
        return SparseOliveRL(eps, rho=rho).fit(*_given(instance))


@given(
    st.integers(1, 4),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(2, 6),
    st.sampled_from([0.0, 1e-3, 0.05, 0.5]),
    st.sampled_from([0.0, 0.01, 0.2]),
    st.integers(0, 2**32 - 1),
)
def test_plans_are_within_their_bound(n_levels, n_states, n_actions, n_features, eps, rho, seed):
    instance = make_random_mdp(n_levels, n_states, n_actions, n_features, 2, eps, n_candidates=20, random_state=seed)
    rng = np.random.default_rng(seed)
    moves = [rng.standard_normal(level.shape) for level in instance.candidates]
    moved = [
        level + rho * move / np.linalg.norm(move, axis=1, keepdims=True)
        for level, move in zip(instance.candidates, moves, strict=True)
    ]
    instance = replace(instance, candidates=tuple(moved))
    planner = _fit(instance, eps, rho)
    gap = instance.mdp.optimal_value() - instance.mdp.value(planner.policy_)
    assert gap <= planner.optimism_ * (1 + 1e-12) + 1e-12
    assert planner.optimism_ <= planner.value_gap_bound_ * (1 + 1e-12) + 1e-12
    assert planner.value_gap_bound_ <= (2 * n_levels + 1) * (eps + rho) + 1e-6
    assert planner.n_rounds_ <= 21 * n_levels + 1
    assert planner.n_rounds_ - 1 <= sum(len(level) for level in planner.removed_)
    assert planner.value_ == pytest.approx(instance.mdp.value(planner.policy_))
    for level, (theta, removed) in enumerate(zip(instance.theta, planner.removed_, strict=True)):
        distances = np.linalg.norm(instance.candidates[level] - theta, axis=1)
        good = np.flatnonzero(distances <= rho + 1e-12)
        assert not set(good.tolist()) & set(removed.tolist())
        assert len(set(removed.tolist())) == len(removed)
    assert planner.certificate_.status == "valid"
    assert planner.certificate_.measured == pytest.approx(gap, abs=1e-12)


def test_an_exact_model_gives_the_best_plan():
    for seed in range(20):
        instance = make_random_mdp(3, 6, 3, 8, 2, 0.0, random_state=seed)
        planner = _fit(instance, 0.0)
        assert instance.mdp.value(planner.policy_) == pytest.approx(instance.mdp.optimal_value(), abs=1e-6)


def test_wrong_candidates_are_refuted():
    removed = [
        sum(map(len, _fit(make_random_mdp(3, 6, 3, 8, 2, 0.01, random_state=s), 0.01).removed_)) for s in range(5)
    ]
    assert min(removed) > 0


def test_a_tree_is_planned_where_the_bound_says_something():
    tree = make_tree_mdp(4, 3, 1.0, 17, 16, 2, random_state=0)
    planner = SparseOliveRL(tree.eps).fit(tree.mdp, tree.features(), tree.candidates())
    assert not planner.vacuous_
    assert planner.value_ == 1.0
    with pytest.warns(VacuousBoundWarning, match="every policy is within"):
        assert SparseOliveRL(0.5).fit(tree.mdp, tree.features(), tree.candidates()).vacuous_


def test_a_misspecification_that_is_too_small_is_proved_wrong():
    proved = []
    for seed in range(10):
        instance = make_random_mdp(3, 6, 3, 5, 2, 0.5, n_candidates=3, random_state=seed)
        true_eps = max(
            min(np.abs(q - rows @ theta).max() for theta in among)
            for q, rows, among in zip(instance.mdp.optimal_q(), instance.features, instance.candidates, strict=True)
        )
        try:
            _fit(instance, 0.01)
        except InconsistentOracleError as error:
            proved.append((error.eps_lower, true_eps))
    assert len(proved) >= 3
    assert all(0.01 < lower <= truth for lower, truth in proved)


def test_certificates_notice_what_was_changed():
    instance = make_random_mdp(3, 6, 3, 8, 2, 0.02, random_state=0)
    certificate = _fit(instance, 0.02).certificate_
    assert isinstance(certificate, PlanningCertificate)
    assert certificate.check(*_given(instance)).valid
    worst = tuple(q.argmin(axis=1) for q in instance.mdp.optimal_q())
    assert not replace(certificate, policy=worst).check(*_given(instance)).valid
    assert not replace(certificate, bound=2 * certificate.bound).check(*_given(instance)).valid
    assert not replace(certificate, eps=0.5).check(*_given(instance)).valid
    assert not replace(certificate, statement="optimal").check(*_given(instance)).valid
    bad = tuple(
        level[(level != theta).any(axis=1)] for level, theta in zip(instance.candidates, instance.theta, strict=True)
    )
    unfounded = certificate.check(instance.mdp, instance.features, bad)
    assert unfounded.status == "not applicable"
    assert "level 0" in unfounded.reason
    other = make_random_mdp(2, 6, 3, 8, 2, 0.02, random_state=0)
    with pytest.raises(ValueError, match="policy must be given for 2 levels"):
        certificate.check(*_given(other))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"eps": -1.0}, "eps must be"),
        ({"rho": np.nan}, "rho must be"),
        ({"mdp": 3}, "mdp must be a TabularMDP"),
        ({"features": [np.ones((2, 2, 3))]}, "features must be given for 2 levels"),
        ({"features": [np.ones((2, 2, 3)), np.ones((2, 3))]}, r"features\[1\] must be real numbers in 3 dimensions"),
        ({"features": [np.ones((2, 2, 3)), np.ones((3, 2, 3))]}, r"features\[1\] must be of shape \(2, 2, 3\)"),
        ({"features": [np.full((2, 2, 3), np.nan)] * 2}, r"features\[0\] must be finite; got NaN or infinity in row 0"),
        ({"candidates": [np.ones((1, 3))]}, "candidates must be given for 2 levels"),
        ({"candidates": [np.ones((1, 3)), np.ones((1, 2))]}, r"candidates\[1\] must have 3 columns"),
        ({"candidates": [np.ones((1, 3)), np.empty((0, 3))]}, r"candidates\[1\] must be real numbers"),
        ({"candidates": [np.array([[1, 1, 1], [1, np.inf, 1.0]])] * 2}, r"candidates\[0\] must be finite; .* row 1"),
    ],
)
def test_bad_input_is_refused(change, message):
    instance = make_random_mdp(2, 2, 2, 3, 1, 0.1, random_state=0)
    values = {"eps": 0.1, "rho": 0.0, "mdp": instance.mdp, "features": instance.features}
    values |= {"candidates": instance.candidates} | change
    planner = SparseOliveRL(values.pop("eps"), rho=values.pop("rho"))
    with pytest.raises(ValueError, match=message):
        planner.fit(**values)


def test_planners_are_cloned_by_their_parameters():
    planner = clone(SparseOliveRL(0.1, rho=0.2))
    assert planner.get_params() == {"eps": 0.1, "rho": 0.2}
