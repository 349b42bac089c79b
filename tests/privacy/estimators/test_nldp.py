"""Private regression without interaction: privacy, budgets, solvers, and everything that must be refused."""

import pickle
import warnings
from dataclasses import replace

import numpy as np
import pytest
from scipy import sparse
from sklearn.base import clone
from sklearn.utils.estimator_checks import check_estimator

from sparsetheory.certificates import Status
from sparsetheory.privacy import (
    BudgetExceededError,
    ClippingWarning,
    IllPosedReleaseWarning,
    LDPClient,
    LDPServer,
    MomentState,
    NLDPSparseRegression,
    PrivacyLedger,
    PrivacyParameterError,
    SchemaMismatchError,
    UselessReleaseWarning,
)

COEF = np.array([1.0, 0.0, 0.0, -0.5, 0.0, 0.0])
BITS = ("sphere_joint", "sketch", "onebit")
MECHANISMS = (*BITS, "gauss_tight", "paper")
SOLVERS = ("moment_iht", "ols_soft", "psd_lasso")


def _records(n, seed=0, shift=0.0):
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, COEF.size)) + shift
    return X, X @ COEF + shift + 0.3 * rng.standard_normal(n)


X, Y = _records(400_000)
FEW_X, FEW_Y = _records(300, seed=1)


def _model(mechanism="sphere_joint", **options):
    gaussian = mechanism in ("gauss_tight", "paper")
    defaults = {
        "eps": 1.9 if mechanism == "paper" else 8.0,
        "delta": 1e-6 if gaussian else 0.0,
        "clip_x": 5.0,
        "clip_y": 4.0,
        "clip_entries": 3.5 if mechanism in ("onebit", "paper") else None,
        "n_nonzero": 2,
        "norm_bound": 1.2,
        "simulation": True,
        "random_state": 0,
    }
    return NLDPSparseRegression(mechanism=mechanism, **{**defaults, **options})


@pytest.fixture(autouse=True)
def _quiet(request):
    with warnings.catch_warnings():
        if "warn" not in request.node.name:
            warnings.simplefilter("ignore", UselessReleaseWarning)
            warnings.simplefilter("ignore", IllPosedReleaseWarning)
        yield


def test_it_is_an_estimator():
    check_estimator(_model(clip_entries=3.0, n_nonzero=None))


# --- what it finds ---


@pytest.mark.parametrize("mechanism", BITS)
def test_every_pure_mechanism_finds_the_support(mechanism):
    model = _model(mechanism, eps=12.0).fit(X, Y)
    assert model.support_.tolist() == [0, 3]
    assert np.linalg.norm(model.coef_ - COEF) < 4 * model.prediction_.error
    assert model.certificate_.check(X, Y).valid


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("intercept", [False, True])
def test_every_solver_approaches_the_truth(solver, intercept):
    shifted, response = _records(400_000, shift=0.5 * intercept)
    model = _model(solver=solver, eps=20.0, alpha=0.02, fit_intercept=intercept).fit(shifted, response)
    assert np.abs(model.coef_ - COEF).max() < 0.25
    assert abs(model.intercept_ - 0.5 * intercept) < 0.25
    assert model.certificate_.valid


def test_intervals_hold_the_truth_and_say_when_they_cannot():
    model = _model(eps=20.0).fit(X, Y)
    low, high = model.intervals_.T
    assert np.all((low <= COEF) & (high >= COEF))
    assert np.all(high - low < 2)
    assert np.isinf(_model(eps=0.5).fit(FEW_X, FEW_Y).intervals_).all()
    # Raised eigenvalues bias least squares, also where all of them are positive.
    blurred = NLDPSparseRegression(n_nonzero=2, norm_bound=1.2, eigenvalue_floor=0.99).fit_state(model.state_)
    assert blurred.min_eigenvalue_ > 0
    assert np.isinf(blurred.intervals_).all()


def test_public_covariance_spends_all_on_the_response():
    joint = _model(eps=2.0).fit(X, Y)
    cross = _model(eps=2.0, public_covariance=np.eye(6)).fit(X, Y)
    assert cross.noise_.off_diagonal_std == 0
    assert cross.noise_.cross_std < joint.noise_.cross_std
    assert cross.support_.tolist() == [0, 3]
    assert cross.certificate_.check(X, Y).valid


def test_no_features_and_no_response_give_zero():
    assert not _model(n_nonzero=0).fit(FEW_X, FEW_Y).coef_.any()
    constant = _model(n_nonzero=0, fit_intercept=True, eps=20.0).fit(X, np.full(len(X), 2.0))
    assert not constant.coef_.any()
    assert abs(constant.intercept_ - 2.0) < 0.2


# --- who is asked, and what it costs ---


def test_a_simulation_is_reproducible_and_not_private():
    first, second = (_model(random_state=5).fit(FEW_X, FEW_Y) for _ in range(2))
    assert first.state_ == second.state_
    assert not first.privacy_.private
    assert _model(random_state=6).fit(FEW_X, FEW_Y).state_ != first.state_


def test_without_simulation_no_seed_drives_the_coin():
    models = [_model(simulation=False, public_seed=3, random_state=0).fit(FEW_X, FEW_Y) for _ in range(2)]
    assert models[0].privacy_.private
    # 300 coins that agree in two runs would be a seed; the chance of it at eps = 8 is that no coin is turned at all.
    turned = [_model(simulation=False, eps=0.1, public_seed=3, random_state=0).fit(FEW_X, FEW_Y) for _ in range(2)]
    assert turned[0].state_ != turned[1].state_


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_users_in_parts_are_users_at_once(mechanism):
    whole = _model(mechanism).fit(FEW_X, FEW_Y)
    parts = _model(mechanism)
    for start in (0, 100, 170):
        stop = {0: 100, 100: 170, 170: 300}[start]
        parts.partial_fit(FEW_X[start:stop], FEW_Y[start:stop])
    assert parts.state_ == whole.state_
    np.testing.assert_array_equal(parts.coef_, whole.coef_)
    assert parts.certificate_.check(FEW_X, FEW_Y).valid


@pytest.mark.parametrize("kind", [sparse.csr_array, sparse.csc_array])
def test_sparse_records_give_the_same_messages(kind):
    X = np.where(np.abs(FEW_X) > 1, FEW_X, 0.0)
    assert _model().fit(kind(X), FEW_Y).state_ == _model().fit(X, FEW_Y).state_


def test_a_server_and_the_estimator_are_one():
    ids = np.arange(300) + 1000
    model = _model("sketch").fit(FEW_X, FEW_Y, user_ids=ids)
    server = LDPServer(model.state_.schema)
    client = LDPClient.from_schema(model.state_.schema)
    server.ingest(client.encode(x, y, int(i)) for x, y, i in zip(FEW_X, FEW_Y, ids, strict=True))
    assert server.state.count == 300
    fitted = server.solve(NLDPSparseRegression(n_nonzero=2, norm_bound=1.2))
    assert fitted.coef_.shape == (6,)
    assert fitted.certificate_.check(server.state).valid
    assert not fitted.certificate_.check(MomentState(server.schema)).valid
    # The same state, another solver: nothing is spent.
    assert fitted.fit_state(model.state_).certificate_.check(model.state_).valid


def test_the_ledger_is_charged_before_anyone_is_asked(tmp_path):
    with PrivacyLedger(tmp_path / "ledger", eps=10.0) as ledger:
        model = _model(ledger=ledger, public_seed=1).fit(FEW_X, FEW_Y, user_ids=np.arange(len(FEW_Y)))
        assert ledger.total(0) == 8.0
        kept = model.state_
        with pytest.raises(BudgetExceededError):
            model.partial_fit(FEW_X, FEW_Y, user_ids=np.arange(300))
        assert model.state_ == kept
        with pytest.raises(BudgetExceededError):
            _model(ledger=ledger, public_seed=2).fit(FEW_X, FEW_Y, user_ids=np.arange(len(FEW_Y)))


def test_the_ledger_takes_gaussian_charges(tmp_path):
    with PrivacyLedger(tmp_path / "ledger", eps=8.5, delta=1e-5) as ledger:
        _model("gauss_tight", ledger=ledger).fit(FEW_X, FEW_Y, user_ids=np.arange(len(FEW_Y)))
        assert ledger.total(7, 1e-6) <= 8.0 * (1 + 1e-9)


# --- certificates ---


@pytest.mark.parametrize("mechanism", MECHANISMS)
@pytest.mark.parametrize("intercept", [False, True])
def test_certificates_of_every_mechanism(mechanism, intercept):
    model = _model(mechanism, fit_intercept=intercept).fit(FEW_X, FEW_Y)
    certificate = model.certificate_
    found = certificate.check(FEW_X, FEW_Y)
    assert found.valid, found.reason
    assert found.measured <= found.bound
    # The published calibration is wasteful: at eps = 1.9 its messages are 0.9-private.
    assert found.measured > {"paper": 0.4, "gauss_tight": 0.999}.get(mechanism, 1 - 1e-9) * found.bound
    assert not certificate.check(-FEW_X, FEW_Y).valid
    assert not certificate.check(FEW_X[:-1], FEW_Y[:-1]).valid
    if mechanism in BITS:
        assert not certificate.check(FEW_X, FEW_Y, np.arange(1, 301)).valid


@pytest.mark.parametrize("mechanism", MECHANISMS)
def test_a_private_release_is_compared_with_its_records(mechanism):
    """Without the seed of the coin, only the law of the noise can be used; it still knows other data."""
    model = _model(mechanism, simulation=False, eps=1.9 if mechanism == "paper" else 12.0)
    rows, responses = X[:100_000], Y[:100_000]
    certificate = model.fit(rows, responses).certificate_
    assert certificate.coin_seed is None
    assert certificate.check(rows, responses).valid
    if mechanism != "paper":
        assert not certificate.check(rows, -responses).valid
        assert not certificate.check(3 * rows, responses).valid


@pytest.mark.parametrize("solver", SOLVERS)
def test_coefficients_of_another_solver_are_not_certified(solver):
    model = _model(solver=solver, eps=20.0, alpha=0.02).fit(X, Y)
    other = SOLVERS[SOLVERS.index(solver) - 1]
    foreign = _model(solver=other, eps=20.0, alpha=0.02).fit(X, Y)
    assert foreign.state_ == model.state_
    assert model.certificate_.solves()
    assert not replace(model.certificate_, coef=foreign.coef_).solves()


def test_a_certificate_knows_its_privacy():
    certificate = _model().fit(FEW_X, FEW_Y).certificate_
    for wrong in (replace(certificate, bound=7.9).stated(), replace(certificate, delta=1e-6).stated()):
        assert wrong.check(FEW_X, FEW_Y).status is Status.INVALID


# --- what is refused ---


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"eps": 0.0}, r"eps must be a number in \(0, 20\]; got 0"),
        ({"eps": np.nan}, r"eps must be a number in \(0, 20\]; got nan"),
        ({"eps": 20.1}, r"eps must be a number in \(0, 20\]; got 20.1"),
        ({"delta": 1e-6}, "pure mechanism; drop delta"),
        ({"mechanism": "gauss_tight", "delta": 0.0}, r"delta must be a number in \(0, 1\)"),
        ({"mechanism": "paper", "eps": 2.0}, "'gauss_tight' has the analytic calibration"),
        ({"clip_x": None}, "clipping bounds must be public, they cannot be estimated from the data"),
        ({"clip_y": None}, "clipping bounds must be public, they cannot be estimated from the data"),
        ({"mechanism": "paper", "clip_entries": None}, "clipping bounds must be public"),
        ({"n_nonzero": 7}, "n_nonzero must be at most the number of features 6; got 7"),
        ({"scale_x": [1.0, 2.0]}, "scale_x must be a unit of X in .*, or 6 of them"),
        ({"scale_x": [1.0] * 5 + [0.0]}, "scale_x must be"),
        ({"public_covariance": np.eye(5)}, r"public_covariance must be of shape \(6, 6\)"),
        ({"public_covariance": np.eye(6), "mechanism": "sketch"}, "mechanism must be another one"),
        ({"public_covariance": np.eye(6), "fit_intercept": True}, "fit_intercept must be False"),
        ({"public_seed": 2**128}, "public_seed must be"),
    ],
)
def test_parameters_that_cannot_be(options, message):
    mechanism = options.pop("mechanism", "sphere_joint")
    with pytest.raises(ValueError, match=message):
        _model(mechanism, **options).fit(FEW_X, FEW_Y)


def test_delta_must_be_small_for_so_many_users():
    with pytest.raises(PrivacyParameterError, match="delta must be below one over the number of users"):
        _model("gauss_tight", delta=1 / 300).fit(FEW_X, FEW_Y)
    assert _model("gauss_tight", delta=1 / 300, allow_large_delta=True).fit(FEW_X, FEW_Y).privacy_.delta == 1 / 300


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_bad_records_are_refused_before_anything_is_spent(bad, tmp_path):
    broken = FEW_X.copy()
    broken[5, 2] = bad
    with PrivacyLedger(tmp_path / "ledger", eps=10.0) as ledger:
        with pytest.raises(ValueError, match="X"):
            _model(ledger=ledger).fit(broken, FEW_Y, user_ids=np.arange(len(FEW_Y)))
        assert ledger.spent() == 0


def test_a_user_is_not_asked_twice():
    with pytest.raises(BudgetExceededError, match="a user speaks once"):
        _model().fit(FEW_X, FEW_Y, user_ids=np.zeros(300, dtype=int))


def test_what_was_fitted_stays_when_a_new_fit_is_refused(tmp_path):
    with PrivacyLedger(tmp_path / "ledger", eps=10.0) as ledger:
        model = _model(ledger=ledger, public_seed=1).fit(FEW_X, FEW_Y, user_ids=np.arange(len(FEW_Y)))
        kept, coef = model.state_, model.coef_.copy()
        with pytest.raises(BudgetExceededError):
            model.set_params(public_seed=2).fit(FEW_X, FEW_Y, user_ids=np.arange(len(FEW_Y)))
        assert model.state_ is kept
        np.testing.assert_array_equal(model.coef_, coef)


def test_earlier_certificates_are_not_changed_by_further_users():
    model = _model().partial_fit(FEW_X[:100], FEW_Y[:100])
    certificate = model.certificate_
    model.partial_fit(FEW_X[100:], FEW_Y[100:])
    assert certificate.check(FEW_X[:100], FEW_Y[:100]).valid


def test_a_ledger_needs_to_know_who_is_asked(tmp_path):
    with PrivacyLedger(tmp_path / "ledger", eps=10.0) as ledger:
        with pytest.raises(ValueError, match="user_ids must be given with a ledger"):
            _model(ledger=ledger).fit(FEW_X, FEW_Y)
        assert ledger.spent() == 0


def test_public_moments_for_a_state_are_checked():
    state = _model().fit(FEW_X, FEW_Y).state_
    assert NLDPSparseRegression(public_covariance=np.eye(6)).fit_state(state).coef_.shape == (6,)
    for wrong in (np.eye(5), np.full((6, 6), np.nan), np.triu(np.ones((6, 6)))):
        with pytest.raises(ValueError, match="public_covariance must be"):
            NLDPSparseRegression(public_covariance=wrong).fit_state(state)


def test_intervals_hold_the_truth_of_features_far_from_zero():
    """The coefficient of the constant is then as large as the means of the features make it."""
    shifted, response = _records(400_000, shift=2.0)
    covered = 0
    for seed in range(5):
        model = _model(eps=20.0, fit_intercept=True, clip_x=8.0, clip_y=6.0, random_state=seed)
        low, high = model.fit(shifted, response).intervals_.T
        covered += bool(np.all((low <= COEF) & (high >= COEF)))
    assert covered == 5


def test_users_whose_numbers_are_none():
    for ids in ([1.5] * 300, np.arange(299), -np.arange(300)):
        with pytest.raises(ValueError, match="user_ids must be 300 integers"):
            _model().fit(FEW_X, FEW_Y, user_ids=ids)


def test_warns_of_a_useless_release_before_it_is_spent(tmp_path):
    with PrivacyLedger(tmp_path / "ledger", eps=10.0) as ledger, warnings.catch_warnings():
        warnings.simplefilter("error", UselessReleaseWarning)
        with pytest.raises(UselessReleaseWarning, match=r"needs .* users"):
            _model(eps=0.5, ledger=ledger).fit(FEW_X, FEW_Y, user_ids=np.arange(len(FEW_Y)))
        assert ledger.spent() == 0


@pytest.mark.parametrize("clip", ["clip_x", "clip_y", "clip_entries"])
def test_warns_of_clips_that_cut_much_but_only_in_simulations(clip):
    small = {clip: 0.8}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        _model(**small).fit(FEW_X, FEW_Y)
    assert [w for w in caught if w.category is ClippingWarning and str(w.message).startswith(f"{clip} cuts ")]
    with warnings.catch_warnings():
        warnings.simplefilter("error", ClippingWarning)
        warnings.simplefilter("ignore", UselessReleaseWarning)
        _model(simulation=False, **small).fit(FEW_X, FEW_Y)
        _model().fit(FEW_X, FEW_Y)


def test_warns_of_moments_that_cannot_be_inverted():
    with pytest.warns(IllPosedReleaseWarning, match=r"about .* users"), pytest.warns(UselessReleaseWarning):
        model = _model(eps=0.5, solver="ols_soft").fit(FEW_X, FEW_Y)
    assert model.min_eigenvalue_ < 0


def test_a_simulation_stays_one_in_states_that_are_stored_merged_and_fitted_again():
    simulated = _model().fit(FEW_X, FEW_Y)
    schema = simulated.state_.schema
    stored = MomentState.from_bytes(simulated.state_.to_bytes())
    for state in (simulated.state_, stored, MomentState(schema).merge(stored), stored.merge(MomentState(schema))):
        assert not NLDPSparseRegression(n_nonzero=2).fit_state(state).privacy_.private
    asked = _model(simulation=False).fit(FEW_X, FEW_Y)
    stored = MomentState.from_bytes(asked.state_.to_bytes())
    assert asked.privacy_.private
    assert _model().fit_state(stored).privacy_.private


def test_no_real_user_is_asked_with_the_coin_of_a_simulation():
    model = _model().fit(FEW_X, FEW_Y)
    kept = model.state_
    with pytest.raises(ValueError, match="simulation must be True, as when the first users were asked"):
        model.set_params(simulation=False).partial_fit(FEW_X, FEW_Y)
    assert model.state_ is kept
    real = _model(simulation=False).fit(FEW_X, FEW_Y).state_
    with pytest.raises(ValueError, match="simulation must be False"):
        _model().fit_state(real).partial_fit(FEW_X, FEW_Y)
    model = _model(simulation=False).fit_state(real).partial_fit(FEW_X, FEW_Y)
    assert (model.state_.count, model.privacy_.private, model._coin) == (600, True, None)
    model = _model().fit_state(kept).partial_fit(FEW_X, FEW_Y)
    assert (model.state_.count, model.privacy_.private) == (600, False)


def test_parameters_of_messages_do_not_change_between_parts():
    model = _model(public_seed=1).fit(FEW_X, FEW_Y)
    for change in ({"eps": 1.0}, {"clip_x": 2.0}, {"public_seed": 2}, {"fit_intercept": True}):
        before = model.get_params()
        with pytest.raises(SchemaMismatchError, match=f"^{next(iter(change))} must be as for the messages so far"):
            model.set_params(**change).partial_fit(FEW_X, FEW_Y)
        model.set_params(**before)
    assert model.state_.count == 300
    # What solvers do with the sums may change.
    model.set_params(norm_bound=2.0, n_nonzero=1, public_seed=None).partial_fit(FEW_X, FEW_Y)
    assert (model.state_.count, model.support_.size) == (600, 1)


def test_estimators_with_a_ledger_are_cloned_and_stored(tmp_path):
    with PrivacyLedger(tmp_path / "ledger", eps=10.0) as ledger:
        model = clone(_model(ledger=ledger)).fit(FEW_X, FEW_Y, user_ids=np.arange(len(FEW_Y)))
        assert ledger.total(0) == 8.0
        with pytest.raises(BudgetExceededError):
            pickle.loads(pickle.dumps(model)).fit(FEW_X, FEW_Y, user_ids=np.arange(len(FEW_Y)))


def test_what_is_no_state_is_refused():
    with pytest.raises(ValueError, match="state must be"):
        NLDPSparseRegression().fit_state(FEW_X)


def test_a_public_covariance_is_a_symmetric_matrix_of_numbers():
    skewed = np.eye(6)
    skewed[0, 1] = 0.5
    for wrong, words in ((np.full((6, 6), np.nan), "finite|NaN"), (skewed, "symmetric"), (np.eye(5), "of shape")):
        with pytest.raises(ValueError, match=f"public_covariance must .*({words})"):
            _model(public_covariance=wrong).fit(FEW_X, FEW_Y)
