"""Laws that hold for every algorithm."""

import copy
import inspect
import pickle
import time
from dataclasses import replace

import numpy as np
import pytest
from bandit_cases import CASES
from scipy import sparse
from sklearn.base import clone

from sparsetheory import bandits
from sparsetheory.bandits import (
    AdaptiveSupportSearch,
    InconsistentOracleError,
    LinearBanditProblem,
    SupportNetSearch,
    VacuousBoundWarning,
)
from sparsetheory.bandits.algorithms.base import BanditAlgorithm
from sparsetheory.bandits.certificates.sparse_gap import SparseGapCertificate
from sparsetheory.certificates import Status

ALL = pytest.mark.parametrize("case", CASES.values(), ids=CASES.keys())
WITHOUT_NOISE = [case for case in CASES.values() if not case.noise_std]
PLAIN = pytest.mark.parametrize("case", WITHOUT_NOISE, ids=[case.name for case in WITHOUT_NOISE])
BAD = (-1.0, 0, 0.0, 1.5, -3, np.nan, np.inf, "unheard of", None, [], [[np.nan]], object())
pytestmark = pytest.mark.filterwarnings("ignore::sparsetheory.bandits.errors.VacuousBoundWarning")


class Answers:
    """Rewards of a problem; each query of an action has its own noise, whatever is asked in between."""

    def __init__(self, case, seed=0):
        self.problem = case.problem(seed)
        self.noise = np.random.default_rng(seed).standard_normal((case.n_actions, 2000)) * case.noise_std
        self.count = np.zeros(case.n_actions, dtype=int)

    def __call__(self, actions):
        rewards = np.empty(len(actions))
        for i, a in enumerate(actions):
            rewards[i] = self.problem.rewards[a] + self.noise[a, self.count[a]]
            self.count[a] += 1
        return rewards


def live(case, answers, *, rng=None, most=None, search=None, stop=None):
    """Drive an algorithm by ask and tell; with `rng` answers come late and in random order."""
    search = search or case.build().start(answers.problem.features)
    waiting = []
    while stop is None or len(search.log_) < stop:
        asked = search.ask(most if rng is None else int(rng.integers(1, 4)))
        waiting.extend(zip(asked.tolist(), answers(asked).tolist(), strict=True))
        if not waiting:
            break
        count = len(waiting) if rng is None else int(rng.integers(1, min(len(waiting), 4) + 1))
        if rng is not None:
            rng.shuffle(waiting)
        told, waiting = waiting[:count], waiting[count:]
        search.tell([a for a, _ in told], [r for _, r in told])
    return search


def same(left, right):
    assert left.action_ == right.action_
    assert left.n_queries_ == right.n_queries_
    assert left.finished_ == right.finished_
    assert dict(zip(left.queried_, left.observed_.round(9), strict=True)) == dict(
        zip(right.queried_, right.observed_.round(9), strict=True)
    )
    assert left.bound_ == pytest.approx(right.bound_)
    assert left.certificate_.bound == pytest.approx(right.certificate_.bound, abs=1e-9)


def test_every_public_algorithm_has_a_case():
    public = {name: getattr(bandits, name) for name in bandits.__all__}
    algorithms = {n for n, c in public.items() if inspect.isclass(c) and issubclass(c, BanditAlgorithm)}
    assert {case.split("-")[0] for case in CASES} == algorithms


@ALL
def test_parameters_are_those_of_the_constructor_and_a_clone_finds_the_same(case):
    search = case.build()
    twin = clone(search)
    assert set(search.get_params()) == set(search._constraints)
    assert type(search).__name__ in repr(search)
    same(live(case, Answers(case), search=search.start(case.problem().features)), live(case, Answers(case)))
    same(twin.fit(case.problem()), search.fit(case.problem()))


@ALL
def test_every_parameter_refuses_what_it_does_not_allow(case):
    problem, tried = case.problem(), 0
    for name, constraint in case.build()._constraints.items():
        for value in BAD:
            if not constraint.accepts(value):
                tried += 1
                with pytest.raises(ValueError, match=f"^{name} must be"):
                    case.build().set_params(**{name: value}).fit(problem)
    assert tried > 5
    assert problem.n_queries == 0


@ALL
@pytest.mark.parametrize("order", ["all at once", "one at a time", "late and shuffled"])
def test_a_dialogue_finds_what_a_loop_finds(case, order):
    reference = live(case, Answers(case))
    rng = np.random.default_rng(1) if order == "late and shuffled" else None
    same(live(case, Answers(case), rng=rng, most=1 if order == "one at a time" else None), reference)
    assert reference.finished_
    assert reference.certificate_.valid
    if not case.noise_std:
        same(case.build().fit(case.problem()), reference)
        assert case.problem().gap(reference.action_) <= min(reference.bound_, reference.certificate_.bound) + 1e-12


@ALL
@pytest.mark.parametrize("how", ["file", "pickle", "deepcopy"])
def test_an_experiment_goes_on_where_it_was_left(case, how, tmp_path):
    reference = live(case, Answers(case))
    rng = np.random.default_rng(2)
    for stop in {1, int(rng.integers(1, reference.n_queries_)), reference.n_queries_ - 1}:
        answers = Answers(case)
        search = live(case, answers, most=3, stop=stop)
        still_open = search.ask(2)
        if how == "file":
            search.save(tmp_path / "experiment.npz")
            again = type(search).load(tmp_path / "experiment.npz", answers.problem.features)
        else:
            again = pickle.loads(pickle.dumps(search)) if how == "pickle" else copy.deepcopy(search)
        assert again.open_.tolist() == search.open_.tolist()
        assert again.log_.actions.tolist() == search.log_.actions.tolist()
        assert again.certify().bound == search.certify().bound
        if len(still_open):
            again.tell(again.open_, answers(again.open_))
        same(live(case, answers, search=again), reference)
    again = pickle.loads(pickle.dumps(reference))
    same(again, reference)
    if how == "file":
        reference.save(tmp_path / "experiment.npz")
        same(type(reference).load(tmp_path / "experiment.npz", reference._features), reference)
        with pytest.raises(ValueError, match="features must be"):
            type(reference).load(tmp_path / "experiment.npz", reference._features + 1)


@ALL
def test_a_budget_ends_a_search_at_once_and_the_best_action_seen_is_recommended(case):
    reference = case.build().fit(case.problem())
    for budget in (0, 1, reference.n_queries_ // 2, reference.n_queries_):
        problem = case.problem()
        search = case.build().fit(problem, budget=budget)
        assert search.n_queries_ == problem.n_queries == budget
        assert search.finished_ == (budget == reference.n_queries_)
        if not search.finished_:
            assert search.bound_ == np.inf
            if budget:
                assert search.action_ == search.queried_[np.argmax(search.observed_)]
        if search.certificate_.valid and not case.noise_std:
            assert problem.gap(search.action_) <= search.certificate_.bound


@ALL
def test_a_single_action_needs_no_query(case):
    problem = LinearBanditProblem(np.ones((1, case.n_features)), rewards=[0.3], eps=0.0)
    search = case.build().fit(problem)
    assert (search.action_, search.n_queries_, search.bound_, search.certificate_.bound) == (0, 0, 0.0, 0.0)
    assert search.finished_
    assert search.certificate_.check(problem).valid


@PLAIN
def test_duplicates_sparse_matrices_and_single_precision_are_served(case):
    instance = case.instance()
    features, rewards = instance.features(), instance.rewards
    reference = case.build().fit(case.problem())
    twice = LinearBanditProblem(np.repeat(features, 2, axis=0), np.repeat(rewards, 2), eps=case.eps)
    search = case.build().fit(twice)
    assert twice.gap(search.action_) <= min(search.bound_, search.certificate_.bound)
    same(case.build().fit(LinearBanditProblem(sparse.csr_array(features), rewards, eps=case.eps)), reference)
    single = LinearBanditProblem(features.astype(np.float32), rewards, eps=case.eps + 1e-6)
    assert single.features.dtype == np.float32
    search = case.build().set_params(eps=case.eps + 1e-6).fit(single)
    assert single.gap(search.action_) <= min(search.bound_, search.certificate_.bound)
    assert search.certificate_.check(single).valid


@ALL
def test_what_is_not_finite_is_named(case):
    features = case.problem().features.copy()
    features[7, 1] = np.nan
    with pytest.raises(ValueError, match="features must be finite; got NaN or infinity in row 7"):
        case.build().start(features)
    search = case.build().start(case.problem().features)
    actions = search.ask()
    with pytest.raises(ValueError, match=f"rewards must be finite; got nan for action {actions[0]}"):
        search.tell(actions[:1], [np.nan])
    assert len(search.log_) == 0
    assert search.open_.tolist() == actions.tolist()


@ALL
def test_answers_that_were_not_asked_for_are_refused_and_nothing_is_lost(case):
    answers = Answers(case)
    search = case.build().start(answers.problem.features)
    first = search.ask(1)
    with pytest.raises(ValueError, match="actions must have been asked for"):
        search.tell([first[0], first[0]], [0.1, 0.1])
    search.tell(first, answers(first))
    with pytest.raises(ValueError, match="actions must have been asked for"):
        search.tell(first, [0.1])
    wrong = [(first.astype(float), [0.1]), (first, [0.1, 0.2]), ([-1], [0.1]), (first, ["a"]), (first, [1j])]
    for actions, rewards in wrong:
        with pytest.raises(ValueError, match=r"must be|must have been"):
            search.tell(actions, rewards)
    assert len(search.log_) == 1
    same(live(case, answers, search=search), live(case, Answers(case)))


@ALL
def test_the_log_has_a_propensity_for_every_answer(case):
    search = case.build().fit(case.problem())
    log = search.log_
    assert len(log) == len(log.actions) == len(log.rewards) == len(log.propensities) == search.n_queries_
    assert np.all((log.propensities > 0) & (log.propensities <= 1))


@ALL
def test_an_oracle_that_breaks_costs_no_answer(case):
    answers, calls = Answers(case), []

    def breaking(actions):
        calls.append(len(actions))
        if len(calls) == 2:
            raise ConnectionError("the line is dead")
        return answers(actions)

    problem = LinearBanditProblem(answers.problem.features, oracle=breaking, eps=case.eps)
    search = case.build().start(problem.features)
    first = search.ask(1)
    search.tell(first, problem.query(first))
    with pytest.raises(ConnectionError):
        search.run(problem)
    assert len(search.log_) == 1
    same(search.run(problem), live(case, Answers(case)))


@PLAIN
def test_a_guarantee_that_says_nothing_is_called_vacuous(case):
    loose = {"target": None} if hasattr(case.build(), "target") else {}
    search = case.build().set_params(eps=50.0, reward_range=2.0, **loose)
    with pytest.warns(VacuousBoundWarning, match="certificate_"):
        search.fit(case.problem())
    assert search.vacuous_
    rich = case.build().set_params(reward_range=1e9).fit(case.problem())
    assert not rich.vacuous_


@PLAIN
def test_certificates_hold_after_every_answer_and_survive_a_check(case):
    for seed in range(3):
        problem = case.problem(seed)
        search = case.build().start(problem.features)
        while True:
            asked = search.ask(1)
            if not asked.size:
                break
            search.tell(asked, problem.query(asked))
            certificate = search.certify()
            if certificate.valid:
                assert problem.gap(certificate.action) <= certificate.bound
                assert certificate.check(problem).valid, certificate.check(problem).reason
            else:
                assert certificate.bound == np.inf
                assert certificate.check(problem).status is Status.NOT_APPLICABLE
        assert search.certificate_.check(problem).valid


@PLAIN
def test_a_certificate_that_was_tampered_with_is_found_out(case):
    problem = case.problem()
    certificate = case.build().set_params(eps=0.06).fit(case.problem()).certificate_
    assert certificate.check(problem).valid
    gap = problem.gap(certificate.action)
    worse = int(np.argmin(problem.rewards))
    other = certificate.observed.copy()
    other[0] += 0.5
    forged = [
        replace(certificate, bound=gap - 1e-3).stated(),
        replace(certificate, bound=0.9 * certificate.bound - 1e-3),
        replace(certificate, observed=other),
        replace(certificate, observed=-certificate.observed),
        replace(certificate, queried=certificate.queried[::-1]),
        replace(certificate, action=worse),
        replace(certificate, action=worse).stated(),
        replace(certificate, eps=0.5 * certificate.eps),
        replace(certificate, eps=-certificate.eps).stated(),
    ]
    for number, forgery in enumerate(forged):
        assert forgery.check(problem).status is Status.INVALID, number
    if isinstance(certificate, SparseGapCertificate) and certificate.bound > 1e-3:  # it is sharp
        assert not replace(certificate, bound=0.99 * certificate.bound).stated().check(problem).valid


@PLAIN
def test_answers_that_no_model_explains_are_refused(case):
    instance = case.instance()
    rng = np.random.default_rng(0)
    wrong = LinearBanditProblem(instance.features(), instance.rewards + rng.choice([-2.0, 2.0], case.n_actions))
    true_eps = np.abs(wrong.rewards - instance.linear_rewards()).max()
    search = case.build().start(wrong.features)
    with pytest.raises(InconsistentOracleError, match=r"eps = 0\.05") as caught:
        search.run(wrong)
    assert case.eps < caught.value.eps_lower <= true_eps
    # What was learned is kept, nobody goes on as if nothing had happened, and the error travels between processes.
    assert len(search.log_) == wrong.n_queries > 0
    with pytest.raises(InconsistentOracleError):
        search.run(wrong)
    assert pickle.loads(pickle.dumps(caught.value)).eps_lower == caught.value.eps_lower
    with pytest.raises(InconsistentOracleError):
        case.build().fit(wrong)


def test_copies_of_an_action_that_answer_differently_are_refused():
    features = np.repeat(np.random.default_rng(0).standard_normal((15, 3)), 2, axis=0)
    rewards = features[:, 1].copy()
    rewards[1::2] += 0.3
    problem = LinearBanditProblem(features, rewards, eps=0.1)
    with pytest.raises(InconsistentOracleError) as caught:
        AdaptiveSupportSearch(2, eps=0.1, target=0.01).fit(problem)
    assert caught.value.eps_lower == pytest.approx(0.15, rel=1e-6)
    assert not AdaptiveSupportSearch(2, eps=0.151, target=0.01).fit(problem).vacuous_


def test_late_answers_of_a_large_batch_are_found_quickly(rng):
    features = rng.standard_normal((20_000, 3))
    search = SupportNetSearch(2, eps=0.1, rho=1e-4).start(features)
    asked = search.ask()
    assert len(asked) == 20_000
    shuffled = rng.permutation(asked)[:2000]
    start = time.process_time()
    for action in shuffled:
        search.tell([action], [0.0])
    assert time.process_time() - start < 2.0
    assert sorted(search.open_) == sorted(set(asked.tolist()) - set(shuffled.tolist()))


@ALL
def test_certificates_of_live_experiments_are_checked_with_the_features_alone(case):
    answers = Answers(case)
    search = live(case, answers)
    features = answers.problem.features
    for given in (features, features.tolist()):
        checked = search.certificate_.check(given)
        assert checked.status is search.certificate_.status
        assert checked.measured <= checked.bound * (1 + 1e-6) + 1e-6
    with pytest.raises(ValueError, match="features must be real numbers; got NoneType"):
        search.certificate_.check(None)
    with pytest.raises(ValueError, match="check must be given the problem or the features, alone; got 2 arguments"):
        search.certificate_.check(features, answers.problem.rewards)
