"""Baselines with one variance or precision per coefficient."""

import warnings

import numpy as np
import pytest
from bayesian.kron_references import dense_posterior, in_units, kron, random_problem
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning
from sklearn.utils.estimator_checks import parametrize_with_checks

from sparsetheory.bayesian import SBL, KroneckerSBL, PatternCoupledSBL, make_kron_sparse
from sparsetheory.bayesian.sbl.posterior.dense import DenseMeasurements, kron_covariance, kron_quadratics, pair_tables

_COMPLEX = {"check_complex_data": "complex dictionaries are supported"}


@parametrize_with_checks([SBL(), SBL("mm"), PatternCoupledSBL()], expected_failed_checks=lambda estimator: _COMPLEX)
def test_scikit_learn_conventions(estimator, check):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        check(estimator)


def _fit(model, A, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(A, y)


@pytest.mark.parametrize("is_complex", [False, True])
def test_contractions_equal_the_dense_products(rng, is_complex):
    As, _, gammas, _ = random_problem(rng, 3, is_complex, low=2)
    A, G = kron(As), kron(gammas)
    shape, tables = [g.size for g in gammas], pair_tables(As)
    np.testing.assert_allclose(kron_covariance(tables, G.reshape(shape)), (A * G) @ A.conj().T, atol=1e-11)
    K = A @ A.conj().T
    np.testing.assert_allclose(kron_quadratics(tables, K).ravel(), np.einsum("mn,mk,kn->n", A.conj(), K, A).real)


@pytest.mark.parametrize("is_complex", [False, True])
@pytest.mark.parametrize("shape", ["wide", "tall", "kron"])
def test_posterior_equals_the_dense_formulas(rng, shape, is_complex):
    def normal(*size):
        return rng.standard_normal(size) + (1j * rng.standard_normal(size) if is_complex else 0.0)

    As = {"wide": [normal(5, 9)], "tall": [normal(12, 6)], "kron": [normal(3, 4), normal(2, 3)]}[shape]
    A = kron(As)
    y, kept = normal(A.shape[0], 2), np.sort(rng.choice(A.shape[1], A.shape[1] - 2, replace=False))
    gamma = rng.uniform(0.1, 2, kept.size)
    p, dense = DenseMeasurements(As, y, kept).posterior([gamma], 0.3), dense_posterior(A[:, kept], y, gamma, 0.3)
    np.testing.assert_allclose(p.S, dense.S, atol=1e-10)
    np.testing.assert_allclose(p.q, dense.q, rtol=1e-10)
    assert p.cost == pytest.approx(dense.cost)
    assert p.noise_em == pytest.approx(dense.noise_em)
    assert p.noise_mm == pytest.approx(dense.noise_mm)


def _published_sbl(A, y, s2, rel, R=150, tol=1e-4):
    gamma, kept = np.ones(A.shape[1]), np.arange(A.shape[1])
    r, moving = 0, True
    while moving and r < R:
        old = np.zeros(A.shape[1])
        old[kept] = gamma
        mask = gamma >= rel * gamma.max()
        gamma, kept = gamma[mask], kept[mask]
        dense = dense_posterior(A[:, kept], y, gamma, s2)
        gamma = np.diag(dense.cov).real + np.abs(dense.mean[:, 0]) ** 2
        new = np.zeros(A.shape[1])
        new[kept] = gamma
        r, moving = r + 1, np.linalg.norm(new - old) > tol * np.linalg.norm(old)
    x = np.zeros(A.shape[1], dtype=A.dtype)
    x[kept] = dense_posterior(A[:, kept], y, gamma, s2).mean[:, 0]
    return x, r


def _published_pattern(A, y, s2, R=150, tol=1e-4, a=0.5, b=1e-4, eta=0.9):
    def spread(v):
        return v + eta * np.concatenate([[0], v[:-1]]) + eta * np.concatenate([v[1:], [0]])

    dense = dense_posterior(A, y, np.ones(A.shape[1]), s2)
    r, moving = 0, True
    while moving and r < R:
        mean = dense.mean[:, 0]
        energy = np.abs(mean) ** 2 + np.diag(dense.cov).real
        alpha = (a + 0.5) / (0.5 * spread(energy) + b)
        alpha[alpha > 1e3 * alpha.min()] = 1e10
        dense = dense_posterior(A, y, 1.0 / spread(alpha), s2)
        r, moving = r + 1, np.linalg.norm(dense.mean[:, 0] - mean) > tol * np.linalg.norm(mean)
    return dense.mean[:, 0], r


@pytest.mark.parametrize("is_complex", [False, True])
def test_published_loops(is_complex):
    for seed in range(3):
        p = make_kron_sparse((3, 4, 3), (4, 5, 4), (2, 2, 1), snr_db=20, complex_data=is_complex, random_state=seed)
        As, y, s2 = in_units(p)
        for data in (As, kron(As)):
            x = _published_sbl(kron(As), y, s2, 1e-3, R=60, tol=0.0)[0]
            model = SBL(noise_variance=s2, init=np.ones(x.size), relative_threshold=1e-3, max_iter=60, tol=0.0).fit(
                data, y
            )
            np.testing.assert_allclose(model.coef_, x, atol=1e-9)
            x = _published_pattern(kron(As), y, s2, R=60, tol=0.0)[0]
            model = PatternCoupledSBL(noise_variance=s2, max_iter=60, tol=0.0).fit(data, y)
            np.testing.assert_allclose(model.coef_, x, atol=1e-9)


@pytest.mark.parametrize("update", ["em", "mm"])
def test_cost_falls_and_certificate_checks(rng, update):
    for trial in range(10):
        As, y, _, _ = random_problem(rng, 1 + trial % 3, trial % 2 == 0, 2 if trial % 3 == 0 else None, low=2)
        model = _fit(SBL(update, max_iter=40, relative_threshold=0.0), As, y)
        assert model.cost_rises_.size == 0
        checked = model.certificate_.check(As, y)
        assert checked.valid is model.converged_
        assert checked.measured == pytest.approx(model.certificate_.measured, rel=1e-6, abs=1e-9)
        assert model.certificate_.check(kron(As), y).status == checked.status
        assert not model.certificate_.check(As, 3 * y).valid


def test_one_mode_of_the_structured_model_is_this_one(rng):
    (A,), y, _, _ = random_problem(rng, 1, False, low=4)
    for flat, structured in (("em", "am"), ("mm", "mm")):
        ours = _fit(SBL(flat, noise_variance=0.1, max_iter=30, tol=0.0), A, y)
        theirs = _fit(KroneckerSBL(structured, noise_variance=0.1, max_iter=30, tol=0.0), [A, np.ones((1, 1))], y)
        np.testing.assert_allclose(ours.coef_, theirs.coef_, atol=1e-10)
        np.testing.assert_allclose(ours.history_["cost"], theirs.history_["cost"], rtol=1e-10)


def test_snapshots_share_variances_and_predict(rng):
    p = make_kron_sparse((4, 5), (5, 6), (2, 2), snr_db=20, random_state=1)
    Y = np.column_stack([p.y, 2 * p.y])
    model = _fit(SBL("mm", keep_iterates=True, max_iter=500), p.dictionaries, Y)
    assert model.coef_.shape == (30, 2)
    np.testing.assert_allclose(model.predict(), kron(p.dictionaries) @ model.coef_, atol=1e-10)
    np.testing.assert_allclose(model.predict(kron(p.dictionaries)), model.predict(p.dictionaries), atol=1e-10)
    assert model.history_["n_kept"][-1] == model.kept_.size
    with pytest.raises(ValueError, match="columns; the fit had 30"):
        model.predict([np.ones((2, 3))])


def test_single_precision_and_zero(rng):
    A = rng.standard_normal((10, 6)).astype(np.float32)
    y = (A[:, 1] + 0.1 * rng.standard_normal(10)).astype(np.float32)
    for model in (SBL(noise_variance=0.01), PatternCoupledSBL(noise_variance=0.01)):
        fitted = _fit(clone(model), A, y)
        assert fitted.coef_.dtype == fitted.predict(A).dtype == np.float32
        assert not clone(model).fit(A, 0 * y).coef_.any()
        learned = clone(model).set_params(noise_variance="learn").fit(A, 0 * y)
        assert not learned.coef_.any()
    zero = SBL(noise_variance=0.01).fit(A, 0 * y)
    assert zero.certificate_.check(A, 0 * y).valid
    blank = A.copy()
    blank[:, 2] = 0
    assert _fit(SBL(noise_variance=0.01), blank, y).variances_[2] == 0


@pytest.mark.parametrize(
    ("model", "message"),
    [
        (SBL("gd"), "update must be one of 'em', 'mm'"),
        (SBL(noise_variance=0), "noise_variance must be"),
        (SBL(relative_threshold=1.0), r"relative_threshold must be a number in \[0, 1\)"),
        (SBL(absolute_threshold=-1.0), "absolute_threshold must be"),
        (SBL(max_iter=0), "max_iter must be"),
        (SBL(tol=np.nan), "tol must be"),
        (SBL(init=np.ones(2)), r"init\[0\] must be a real vector of shape \(4,\)"),
        (SBL(keep_iterates="x"), "keep_iterates must be"),
        (PatternCoupledSBL(noise_variance=-1.0), "noise_variance must be"),
        (PatternCoupledSBL(shape=-1.0), "shape must be"),
        (PatternCoupledSBL(rate=0.0), "rate must be"),
        (PatternCoupledSBL(coupling=-0.1), "coupling must be"),
    ],
)
def test_bad_parameters(rng, model, message):
    with pytest.raises(ValueError, match=message):
        model.fit(rng.standard_normal((5, 4)), rng.standard_normal(5))


def test_stopping_early_is_reported(rng):
    A, y = rng.standard_normal((5, 8)), rng.standard_normal(5)
    for model in (SBL(max_iter=2), PatternCoupledSBL(max_iter=1)):
        with pytest.warns(ConvergenceWarning, match="still changed"):
            assert not model.fit(A, y).converged_


@pytest.mark.parametrize("second", [np.ones(3), np.ones((1, 2, 3)), "x"])
def test_bad_modes_are_named(second):
    for model in (SBL(), PatternCoupledSBL()):
        with pytest.raises(ValueError, match="the dictionary of mode 1 must be"):
            model.fit([np.ones((2, 2)), second], np.ones(4))


@pytest.mark.parametrize("factor", [1.0, 0.0])
def test_histories_have_one_entry_per_posterior(factor):
    p = make_kron_sparse((4, 5), (6, 7), (2, 2), snr_db=20, random_state=0)
    A, y = np.kron(*p.dictionaries), factor * p.y
    models = (
        (SBL("mm", max_iter=9, keep_iterates=True), A, {"cost", "noise_variance", "n_kept", "variances"}),
        (PatternCoupledSBL(max_iter=9), A, {"cost", "noise_variance"}),
        (
            KroneckerSBL(max_iter=9, keep_iterates=True),
            p.dictionaries,
            {"cost", "noise_variance", "n_kept", "n_inner", "variances"},
        ),
    )
    for model, X, columns in models:
        history = _fit(model, X, y).history_
        assert set(history) == columns
        assert len(history.pop("n_inner", range(model.n_iter_))) == model.n_iter_
        assert {len(values) for values in history.values()} == {model.n_iter_ + 1}
        assert history["noise_variance"][-1] == model.noise_variance_
