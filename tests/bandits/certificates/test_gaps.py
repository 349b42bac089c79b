"""Certificates of gaps: two routes agree, forgeries are found out, and nothing is claimed that is not known."""

from dataclasses import replace

import numpy as np
import pytest
from bandit_cases import nearly_dependent
from scipy.optimize import linprog

from sparsetheory.bandits import CoreSetBandit, LinearBanditProblem, SupportNetSearch, make_sparse_misspecified
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.certificates.candidate_gap import candidate_gap
from sparsetheory.bandits.certificates.covering import CoveringCertificate
from sparsetheory.bandits.certificates.design_gap import design_gap
from sparsetheory.bandits.certificates.programs import exceeded
from sparsetheory.bandits.certificates.sparse_gap import sparse_gap
from sparsetheory.bandits.design.amplification import spanning_design
from sparsetheory.certificates import Status

pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.bandits.errors.VacuousBoundWarning")


def _problem(seed=0, n=200, eps=0.05):
    return make_sparse_misspecified(n, 6, 2, eps, nu="confusing", random_state=seed).problem()


def _sparse(problem, queried, action, **options):
    terms = {"eps": problem.eps, "width": 0.0, "n_nonzero": 2, "max_supports": 1000} | options
    return sparse_gap(problem.features, queried, problem.rewards[queried], action, **terms)


def test_a_sparse_gap_is_sharp_by_the_count_of_both_routes():
    for seed in range(10):
        problem = _problem(seed)
        queried = np.random.default_rng(seed).choice(200, 25, replace=False)
        action = int(queried[np.argmax(problem.rewards[queried])])
        certificate = _sparse(problem, queried, action)
        assert problem.gap(action) <= certificate.bound < np.inf
        assert certificate.check(problem).valid
        if certificate.bound > problem.gap(action) + 0.02:
            smaller = replace(certificate, bound=certificate.bound - 0.01).stated()
            assert "other code bounds the gap" in smaller.check(problem).reason
            # Whoever has an oracle alone can tell as well.
            blind = LinearBanditProblem(problem.features, oracle=lambda a: problem.rewards[a])  # noqa: B023
            assert smaller.check(blind).status is Status.INVALID
            assert certificate.check(blind).measured == pytest.approx(certificate.bound, rel=1e-3)


def test_noise_widens_a_sparse_gap_by_twice_its_width_at_least():
    problem, queried = _problem(), np.arange(25)
    action = int(np.argmax(problem.rewards[:25]))
    sharp, wide = _sparse(problem, queried, action), _sparse(problem, queried, action, width=0.03)
    assert wide.bound >= sharp.bound + 0.06 - 1e-9
    assert wide.check(problem).valid


def test_a_gap_that_answers_do_not_bound_is_infinite():
    problem = _problem()
    for queried, action, reason in (
        (np.array([3]), 3, "on no consistent support"),
        (np.arange(25), 60, "was not queried"),
        (np.empty(0, dtype=int), 0, "was not queried"),
    ):
        certificate = _sparse(problem, queried, action)
        assert certificate.bound == np.inf
        assert reason in certificate.reason
        assert certificate.check(problem).status is Status.NOT_APPLICABLE
        assert replace(certificate, bound=10.0, status=Status.VALID).stated().check(problem).status is Status.INVALID
    assert "no support is consistent" in _sparse(problem, np.arange(200), 0, eps=1e-6).reason
    impossible = replace(_sparse(problem, np.arange(25), 0), eps=1e-6, bound=5.0, status=Status.VALID).stated()
    assert impossible.check(problem).status is Status.INVALID


def _cover(problem, rho, **options):
    search = SupportNetSearch(2, eps=problem.eps, rho=rho).fit(problem)
    terms = {
        "action": search.action_, "queried": search.queried_, "observed": search.observed_, "eps": problem.eps,
        "width": 0.0, "n_nonzero": 2, "norm_bound": 1.0, "rho": rho,
    } | options  # fmt: skip
    return CoveringCertificate("", 2 * problem.eps + rho, None, Status.VALID, **terms).stated()


def test_a_net_certifies_its_mesh():
    problem = _problem()
    certificate = _cover(problem, 0.4)
    assert certificate.check(problem).valid
    best = certificate.queried == certificate.action
    hole = replace(certificate, queried=certificate.queried[best], observed=certificate.observed[best])
    finer = replace(certificate, rho=0.05).stated()
    assert "from the net" in hole.check(problem).reason
    assert "from the net" in finer.check(problem).reason
    for forged in (
        hole.check(problem),
        finer.check(problem),
        replace(certificate, bound=0.1).stated().check(problem),
        replace(certificate, eps=0.0).check(problem),
        replace(certificate, action=int(np.argmin(problem.rewards))).stated().check(problem),
    ):
        assert forged.status is Status.INVALID


def test_a_norm_that_is_known_can_say_more_than_answers(rng):
    features = 1 + 0.01 * rng.standard_normal((300, 4))
    problem = LinearBanditProblem(features, features @ [0.6, 0.0, -0.8, 0.0], eps=1e-3)
    search = SupportNetSearch(2, eps=1e-3, rho=0.2).fit(problem)
    # Too few answers to know coefficients; but no action is far from those that were queried.
    assert search.n_queries_ < 20
    assert isinstance(search.certificate_, CoveringCertificate)
    assert problem.gap(search.action_) <= search.certificate_.bound == search.bound_ == pytest.approx(0.202)
    assert search.certificate_.check(problem).valid


def test_candidates_bound_a_gap_only_while_one_is_alive():
    problem = _problem(eps=0.01)
    theta = np.linalg.lstsq(problem.features, problem.rewards, rcond=None)[0]
    candidates = np.vstack([theta, -theta, 2 * theta])
    action = int(np.argmax(problem.rewards))
    queried = np.array([action, 0, 1])
    terms = {"eps": 0.02, "width": 0.0, "rho": 0.0}
    certificate = candidate_gap(problem.features, candidates, queried, problem.rewards[queried], action, **terms)
    assert certificate.bound <= 0.04 + 1e-9
    assert certificate.check(problem).valid
    assert replace(certificate, bound=-1.0).stated().check(problem).status is Status.INVALID
    assert replace(certificate, candidates=2 * candidates).check(problem).status is Status.INVALID
    wrong = candidate_gap(problem.features, candidates[1:], queried, problem.rewards[queried], action, **terms)
    assert "no candidate is consistent" in wrong.reason
    assert wrong.bound == np.inf


def test_a_design_proves_something_as_soon_as_its_actions_span_all():
    problem = _problem()
    search = CoreSetBandit(eps=problem.eps).start(problem.features)
    bounds = []
    while (asked := search.ask(1)).size:
        search.tell(asked, problem.query(asked))
        certificate = search.certify()
        bounds.append(certificate.bound)
        assert problem.gap(certificate.action) <= certificate.bound
        assert certificate.check(problem).status is (Status.VALID if certificate.valid else Status.NOT_APPLICABLE)
    assert np.isinf(bounds[:5]).all()
    assert np.isfinite(bounds[-1])


def test_directions_that_a_design_drops_cost_what_coefficients_there_can_do():
    for seed in range(40):
        rng = np.random.default_rng(seed)
        problem, _, theta = nearly_dependent(50, 3, 3, rng)
        search = CoreSetBandit(eps=problem.eps, norm_bound=float(np.linalg.norm(theta)) * 1.001).fit(problem)
        assert problem.gap(search.action_) <= search.certificate_.bound
        assert search.certificate_.check(problem).valid, search.certificate_.check(problem).reason
        if search.design_.rho_drop:
            assert search.certificate_.bound > search.design_.rho_drop


def test_a_feature_that_is_always_zero_does_not_spoil_a_check_in_small_units():
    rng = np.random.default_rng(0)
    for _ in range(20):
        features = np.column_stack([np.zeros(12), 1e-8 * rng.standard_normal((12, 4))])
        rewards = features @ (1e8 * rng.standard_normal(5))
        problem = LinearBanditProblem(features, rewards=rewards, eps=1e-4)
        search = CoreSetBandit(norm_bound=1e10).fit(problem)
        assert search.certificate_.check(problem).status == "valid"


def test_a_design_gap_is_that_of_its_weights():
    problem = _problem()
    actions = np.arange(10)
    means = MeanRewards(actions, problem.rewards[:10], np.ones(10, dtype=int))
    design = spanning_design(problem.features, actions, np.full(10, 0.1))
    terms = {"eps": problem.eps, "noise_std": 0.0, "delta": 0.05, "norm_bound": 1.0}
    certificate = design_gap(problem.features, design, means, 3, **terms)
    assert certificate.check(problem).valid
    assert problem.gap(3) <= certificate.bound
    for forged in (
        replace(certificate, bound=0.99 * certificate.bound).stated(),
        replace(certificate, eps=0.9 * certificate.eps),
        replace(certificate, observed=certificate.observed[::-1]),
        replace(certificate, action=4),
        replace(certificate, weights=np.array([0.91] + 9 * [0.01])),
    ):
        assert forged.check(problem).status is Status.INVALID
    assert spanning_design(problem.features, actions[:5], np.full(5, 0.2)) is None


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_shared_prices_prove_what_separate_programs_do(k):
    rng = np.random.default_rng(k)
    n, m = 40, 60
    rows = np.sqrt(n) * np.linalg.qr(rng.standard_normal((n, k)))[0]
    left = rng.uniform(-0.9, 0.9, n)
    left -= rows @ (rows.T @ left) / n
    directions = rng.standard_normal((m, k))
    sides, reach = np.vstack([rows, -rows]), np.concatenate([1 + left, 1 - left])
    largest = np.array([-linprog(-z, A_ub=sides, b_ub=reach, bounds=(None, None)).fun for z in directions])
    assert exceeded(rows, left, directions, largest + 1e-6) <= 0
    short = largest + 1e-6
    short[7] -= 0.1
    assert exceeded(rows, left, directions, short) == pytest.approx(0.1, abs=1e-5)
    assert exceeded(rows, 5 * left, directions, largest) == -np.inf
