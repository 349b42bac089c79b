"""The estimator: published loops, monotone cost, invariances, evidence, bad input."""

import pickle
import warnings

import numpy as np
import pytest
from bayesian.kron_references import dense_posterior, in_units, kron, ones_of, published_loop, random_problem
from sklearn.base import clone
from sklearn.exceptions import ConvergenceWarning, NotFittedError

from sparsetheory.bayesian import SBL, KroneckerSBL, irs_nmse, make_irs_mimo, make_kron_sparse, oracle_ls

DESCENDING = ("mm", "am", "ksbl", "newton")
REAL_AM = {"update": "am", "max_iter": 150, "relative_threshold": 1e-2, "inner_tol": 1e-5, "inner_relative": False}
REAL_SVD = {"update": "svd", "max_iter": 150, "relative_threshold": 1e-3}
IRS = {"max_iter": 150, "absolute_threshold": 1e-4, "pruning": "published"}
PC = {"coupling": (0.8, None, 0.8), "coupling_update": "nnls", "max_inner_iter": 9}


def _real(seed=0):
    return make_kron_sparse((4, 5, 5), (6, 6, 6), (2, 2, 2), snr_db=20, random_state=seed)


def _irs(seed=0):
    return make_irs_mimo(
        n_mobile_antennas=3,
        n_base_antennas=5,
        n_surface_elements=32,
        n_angles=6,
        n_pilots=3,
        n_patterns=4,
        angular_spread=2,
        snr_db=15,
        random_state=seed,
    )


def _fit(model, As, y):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return model.fit(As, y)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("known", [True, False])
def test_published_am_and_svd_on_real_data(seed, known):
    As, y, s2 = in_units(_real(seed))
    s2 = s2 if known else None
    rel = 1e-2 if known else 5e-3
    common = {"noise_variance": s2 or "learn", "init": ones_of(As), "tol": 0.0, "max_iter": 60}
    x, _ = published_loop(As, y, "am", s2, rel=rel, inner=(1e-5, False, 10**6), R=60, tol=0.0)
    model = KroneckerSBL(**REAL_AM | common | {"relative_threshold": rel, "max_inner_iter": 10**6}).fit(As, y)
    np.testing.assert_allclose(model.coef_, x, atol=1e-9)
    x, _ = published_loop(As, y, "svd", s2, rel=rel / 10, R=60, tol=0.0)
    model = KroneckerSBL(**REAL_SVD | common | {"relative_threshold": rel / 10}).fit(As, y)
    np.testing.assert_allclose(model.coef_, x, atol=1e-9)


@pytest.mark.parametrize("seed", range(2))
def test_published_settings_of_the_channel_experiment(seed):
    p = _irs(seed)
    As, y, s2 = p.dictionaries, p.y, p.noise_variance
    rel = (1e-2, 1e-1, 1e-3)
    common = IRS | {"init": ones_of(As), "tol": 0.0, "max_iter": 40}
    loop = {"absolute": 1e-4, "R": 40, "tol": 0.0}
    x, _ = published_loop(As, y, "am", s2, rel=rel, **loop)
    model = KroneckerSBL("am", noise_variance=s2, relative_threshold=rel, max_inner_iter=10**6, **common).fit(As, y)
    np.testing.assert_allclose(model.coef_, x, atol=1e-9 * np.abs(x).max())
    x, _ = published_loop(As, y, "svd", s2, **loop)
    model = KroneckerSBL("svd", noise_variance=s2, relative_threshold=0.0, **common).fit(As, y)
    np.testing.assert_allclose(model.coef_, x, atol=1e-9 * np.abs(x).max())
    # The offset of this step is in the unit of the data.
    As, y, s2 = in_units(p)
    rel = (1e-2, 1e-1, 1e-2)
    x, _ = published_loop(As, y, "pc", s2, rel=rel, inner=(1e-4, True, 9), beta=PC["coupling"], **loop)
    model = KroneckerSBL("am", noise_variance=s2, relative_threshold=rel, **common, **PC).fit(As, y)
    np.testing.assert_allclose(model.coef_, x, atol=1e-9 * np.abs(x).max())


@pytest.mark.parametrize("unit", [1e-6, 1e3])
def test_published_settings_follow_the_unit_of_y(unit):
    p = _irs()
    rel, ones = (1e-2, 1e-1, 1e-2), ones_of(p.dictionaries)
    models = {
        "am": KroneckerSBL("am", noise_variance=p.noise_variance, relative_threshold=rel, init=ones, **IRS),
        "pc": KroneckerSBL("am", noise_variance=p.noise_variance, relative_threshold=rel, init=ones, **IRS, **PC),
        "svd": KroneckerSBL("svd", noise_variance=p.noise_variance, relative_threshold=0.0, init=ones, **IRS),
    }
    for model in models.values():
        moved = clone(model).set_params(
            noise_variance=unit**2 * p.noise_variance,
            init=[ones[0], ones[1], unit**2 * ones[2]],
            absolute_threshold=(1e-4, 1e-4, 1e-4 * unit**2),
        )
        wanted, found = _fit(model, p.dictionaries, p.y), _fit(moved, p.dictionaries, unit * p.y)
        assert [k.size for k in found.kept_] == [k.size for k in wanted.kept_]
        np.testing.assert_allclose(found.coef_ / unit, wanted.coef_, atol=1e-8 * np.abs(wanted.coef_).max())


def test_published_pruning_is_for_good():
    p = make_irs_mimo(snr_db=4, random_state=101)
    settings = IRS | {
        "init": ones_of(p.dictionaries),
        "relative_threshold": (1e-2, 1e-1, 1e-3),
        "noise_variance": p.noise_variance,
    }
    final = _fit(KroneckerSBL("am", **settings), p.dictionaries, p.y)
    assert np.all(np.diff(final.history_["n_kept"], axis=0) <= 0)
    assert final.converged_
    assert final.certificate_.status == final.certificate_.check(p.dictionaries, p.y).status == "not applicable"
    # The data ask for what was dropped.
    revised = _fit(KroneckerSBL("am", **settings | {"pruning": "revised"}), p.dictionaries, p.y)
    assert revised.log_evidence_ > final.log_evidence_ + 10
    assert irs_nmse(p, revised.coef_) < 0.1 < 1.0 < irs_nmse(p, final.coef_)
    with pytest.raises(ValueError, match="pruning must be one of 'revised', 'published'; got 'never'"):
        KroneckerSBL(pruning="never").fit(p.dictionaries, p.y)


@pytest.mark.parametrize("noise", ["learn", 0.05])
@pytest.mark.parametrize("update", DESCENDING)
def test_cost_falls_without_pruning(rng, update, noise):
    for trial in range(12):
        As, y, gammas, _ = random_problem(rng, 1 + trial % 4, trial % 2 == 0, 3 if trial % 3 == 0 else None, low=2)
        model = _fit(
            KroneckerSBL(
                update, noise_variance=noise, relative_threshold=0.0, max_iter=40, init=gammas, max_inner_iter=3
            ),
            As,
            y,
        )
        assert model.cost_rises_.size == 0
        assert model.history_["cost"].shape == (model.n_iter_ + 1,)


def test_rises_are_recorded():
    """The nearest separable tensor is no descent step: on this instance the cost rises, and the fit says where."""
    rises = [_fit(KroneckerSBL(**REAL_SVD), *(lambda p: (p.dictionaries, p.y))(_real(seed))) for seed in range(8)]
    model = next(m for m in rises if m.cost_rises_.size)
    i = model.cost_rises_[0]
    assert model.history_["cost"][i + 1] > model.history_["cost"][i]


@pytest.mark.parametrize("update", [*DESCENDING, "svd"])
def test_recovers(update):
    p = make_kron_sparse((8, 12, 15), (15, 15, 15), (3, 3, 3), snr_db=20, random_state=0)
    model = _fit(KroneckerSBL(update), p.dictionaries, p.y)
    oracle = oracle_ls(p.dictionaries, p.y, p.supports)
    assert np.linalg.norm(model.coef_ - p.x) < 1.5 * np.linalg.norm(oracle - p.x)
    assert 0.9 < model.noise_variance_ / p.noise_variance < 1.1


@pytest.mark.parametrize("update", [*DESCENDING, "svd"])
def test_carries_evidence(update):
    p = _real(3)
    model = _fit(KroneckerSBL(update, keep_iterates=True), p.dictionaries, p.y)
    dense = dense_posterior(kron(p.dictionaries), p.y, kron(model.variances_), model.noise_variance_)
    np.testing.assert_allclose(model.coef_, dense.mean[:, 0], atol=1e-9)
    np.testing.assert_allclose(model.coef_variance_, np.diag(dense.cov), atol=1e-9)
    assert model.history_["cost"][-1] == pytest.approx(dense.cost)
    C = (
        model.noise_variance_ * np.eye(p.y.size)
        + (kron(p.dictionaries) * kron(model.variances_)) @ kron(p.dictionaries).T
    )
    evidence = -0.5 * (p.y.size * np.log(2 * np.pi) + np.linalg.slogdet(C)[1] + p.y @ np.linalg.solve(C, p.y))
    assert model.log_evidence_ == pytest.approx(evidence)
    assert model.history_["noise_variance"][-1] == model.noise_variance_
    assert model.history_["n_kept"][-1].tolist() == [k.size for k in model.kept_]
    assert len(model.history_["variances"]) == model.n_iter_ + 1 == model.history_["n_inner"].size + 1
    checked = model.certificate_.check(p.dictionaries, p.y)
    assert checked.status == model.certificate_.status
    assert checked.measured == pytest.approx(model.certificate_.measured, rel=1e-6, abs=1e-10)
    assert not model.certificate_.check(p.dictionaries, 2 * p.y).valid


def test_evidence_of_complex_snapshots(rng):
    As, Y, _, _ = random_problem(rng, 2, True, 4, low=3)
    model = KroneckerSBL(noise_variance=0.3).fit(As, Y)
    A = kron(As)
    C = 0.3 * np.eye(Y.shape[0]) + (A * kron(model.variances_)) @ A.conj().T
    quadratic = np.einsum("mt,mk,kt->", Y.conj(), np.linalg.inv(C), Y).real
    expected = -4 * (Y.shape[0] * np.log(np.pi) + np.linalg.slogdet(C)[1]) - quadratic
    assert model.log_evidence_ == pytest.approx(expected)
    assert model.coef_.shape == (A.shape[1], 4)
    assert model.certificate_.check(As, Y).valid
    tensor = _fit(clone(model), As, Y.reshape(As[0].shape[0], As[1].shape[0], 4))
    np.testing.assert_array_equal(tensor.coef_, model.coef_)


def test_mm_keeps_more_of_a_small_entry_than_the_published_pruning():
    p = make_kron_sparse((8, 9), (10, 11), (3, 3), snr_db=60, random_state=1)
    errors = {}
    for name, settings in {"mm": {}, "am": REAL_AM}.items():
        model = _fit(KroneckerSBL(**settings, noise_variance=p.noise_variance), p.dictionaries, p.y)
        errors[name] = np.linalg.norm(model.coef_ - p.x) / np.linalg.norm(p.x)
    assert errors["mm"] < 0.01


@pytest.mark.parametrize("update", ["mm", "am", "newton"])
def test_equivariance(rng, update):
    p = _real(2)
    base = KroneckerSBL(update, noise_variance=p.noise_variance, max_iter=30, tol=0.0)
    reference = base.fit(p.dictionaries, p.y)
    unitary = [np.linalg.qr(rng.standard_normal((A.shape[0],) * 2))[0] for A in p.dictionaries]
    rotated = clone(base).fit([Q @ A for Q, A in zip(unitary, p.dictionaries, strict=True)], kron(unitary) @ p.y)
    np.testing.assert_allclose(rotated.coef_, reference.coef_, atol=1e-8)
    scaled = clone(base).set_params(noise_variance=9 * p.noise_variance)
    np.testing.assert_allclose(scaled.fit(p.dictionaries, 3 * p.y).coef_, 3 * reference.coef_, atol=1e-8)
    assert scaled.history_["cost"][-1] == pytest.approx(reference.history_["cost"][-1] + 2 * p.y.size * np.log(3))
    order = rng.permutation(6)
    moved = clone(base).fit([p.dictionaries[0][:, order], *p.dictionaries[1:]], p.y)
    np.testing.assert_allclose(moved.coef_.reshape(6, -1), reference.coef_.reshape(6, -1)[order], atol=1e-8)
    extra = clone(base).fit([*p.dictionaries, np.ones((1, 1))], p.y)
    np.testing.assert_allclose(extra.coef_, reference.coef_, atol=1e-8)
    as_complex = clone(base).fit([A.astype(complex) for A in p.dictionaries], p.y)
    np.testing.assert_allclose(as_complex.coef_, reference.coef_, atol=1e-8)


def test_prediction_and_its_deviation(rng):
    As, y, _, _ = random_problem(rng, 2, True, low=3)
    model = _fit(KroneckerSBL(noise_variance=0.3, max_iter=10), As, y)
    new = [rng.standard_normal((3, A.shape[1])) for A in As]
    mean, std = model.predict(new, return_std=True)
    B, dense = kron(new), dense_posterior(kron(As), y, kron(model.variances_), 0.3)
    np.testing.assert_allclose(mean, B @ dense.mean[:, 0], atol=1e-9)
    np.testing.assert_allclose(std**2, np.diag(B @ dense.cov @ B.T).real + 0.3, rtol=1e-9)
    np.testing.assert_allclose(model.predict(), kron(As) @ model.coef_, atol=1e-9)
    with pytest.raises(ValueError, match=r"dictionaries must have .* columns"):
        model.predict([np.ones((2, 1)), np.ones((2, 1))])
    with pytest.raises(NotFittedError):
        KroneckerSBL().predict()


def test_intervals_cover(rng):
    """Draw x from the prior: 95 % intervals of the posterior at the true variances contain it 95 % of the time."""
    As, gammas = [rng.standard_normal((4, 6)) for _ in range(2)], [rng.uniform(0.2, 2, 6) for _ in range(2)]
    A, hits = kron(As), []
    for _ in range(150):
        x = np.sqrt(kron(gammas)) * rng.standard_normal(36)
        y = A @ x + np.sqrt(0.2) * rng.standard_normal(16)
        p = KroneckerSBL(noise_variance=0.2, init=gammas, max_iter=1, tol=np.finfo(float).max, relative_threshold=0.0)
        posterior = dense_posterior(A, y, kron(gammas), 0.2)
        p.fit(As, y)
        hits.append(np.abs(x - posterior.mean[:, 0]) <= 1.959964 * np.sqrt(np.diag(posterior.cov)))
    assert abs(np.mean(hits) - 0.95) < 0.02


def test_precision_types_and_layouts(rng):
    p = _real(1)
    single = KroneckerSBL(max_iter=10, tol=0.0).fit(
        [A.astype(np.float32) for A in p.dictionaries], p.y.astype(np.float32)
    )
    assert single.coef_.dtype == single.coef_variance_.dtype == single.predict().dtype == np.float32
    double = KroneckerSBL(max_iter=10, tol=0.0).fit(
        [A.astype(np.float32) for A in p.dictionaries], p.y.astype(np.float32) * 1.0
    )
    np.testing.assert_allclose(single.coef_, double.coef_, rtol=1e-3, atol=1e-5)
    fortran = KroneckerSBL(max_iter=10, tol=0.0).fit(
        [np.asfortranarray(A) for A in p.dictionaries], p.y.reshape(4, 5, 5)
    )
    np.testing.assert_allclose(
        fortran.coef_, KroneckerSBL(max_iter=10, tol=0.0).fit(p.dictionaries, p.y).coef_, atol=1e-12
    )
    integers = [np.sign(A).astype(int) for A in p.dictionaries]
    assert _fit(KroneckerSBL(max_iter=10), integers, p.y).coef_.dtype == np.float64
    again = pickle.loads(pickle.dumps(single))
    np.testing.assert_array_equal(again.predict(), single.predict())


@pytest.mark.parametrize("settings", [{}, {"update": "am"}, {"coupling": 0.5}, {"noise_variance": 0.1}])
def test_zero_measurements_and_zero_columns(settings):
    p = _real(1)
    model = KroneckerSBL(**settings).fit(p.dictionaries, np.zeros_like(p.y))
    assert not model.coef_.any()
    assert not model.coef_variance_.any()
    assert model.converged_
    assert model.certificate_.check(p.dictionaries, np.zeros_like(p.y)).valid
    assert np.isfinite(model.predict(return_std=True)[1]).all()
    blanked = [A.copy() for A in p.dictionaries]
    blanked[1][:, 2] = 0.0
    model = _fit(KroneckerSBL(**settings, max_iter=20), blanked, p.y)
    assert np.isfinite(model.coef_).all()
    assert model.variances_[1][2] == 0.0
    nothing = KroneckerSBL(**settings).fit([np.zeros((4, 6)), *p.dictionaries[1:]], p.y)
    assert not nothing.coef_.any()
    assert nothing.certificate_.check([np.zeros((4, 6)), *p.dictionaries[1:]], p.y).valid


@pytest.mark.parametrize("update", [*DESCENDING, "svd"])
@pytest.mark.parametrize("unit", [1e-70, 1e70])
def test_extreme_units(update, unit):
    """Squares of the variances leave the range of double precision."""
    p = _real(1)
    base = KroneckerSBL(update, max_iter=20, tol=0.0).fit(p.dictionaries, p.y)
    scaled = KroneckerSBL(update, max_iter=20, tol=0.0).fit(p.dictionaries, unit * p.y)
    np.testing.assert_allclose(scaled.coef_ / unit, base.coef_, atol=1e-8)


def test_initial_zeros_stay_pruned():
    p = _real(1)
    init = [np.array([1.0, 0, 1, 1, 0, 1]), np.ones(6), np.ones(6)]
    for settings in ({}, {"coupling": (None, 0.5, None)}, {"coupling": (None, 0.5, None), "coupling_update": "nnls"}):
        model = _fit(KroneckerSBL(**settings, init=init, relative_threshold=0.0, max_iter=5), p.dictionaries, p.y)
        assert model.kept_[0].tolist() == [0, 2, 3, 5]
        assert not model.coef_.reshape(6, -1)[[1, 4]].any()


def test_noiseless_data_stop_at_the_floor():
    p = make_kron_sparse((5, 5), (6, 6), (1, 1), snr_db=400, random_state=0)
    with pytest.warns(ConvergenceWarning, match="learned noise variance reached"):
        model = KroneckerSBL(tol=0.0, max_iter=200).fit(p.dictionaries, p.y)
    assert model.noise_variance_ == pytest.approx(1e-12 * np.mean(p.y**2), rel=1e-9, abs=0)
    np.testing.assert_allclose(model.coef_, p.x, atol=1e-6 * np.abs(p.x).max())


def test_pruning_a_mode_away_keeps_its_largest_entry():
    p = _real(0)
    with pytest.warns(RuntimeWarning, match="absolute_threshold would drop every entry of mode 0"):
        model = _fit(
            KroneckerSBL(noise_variance=p.noise_variance, absolute_threshold=(10.0, 0, 0), max_iter=3),
            p.dictionaries,
            p.y,
        )
    assert model.kept_[0].size == 1


@pytest.mark.parametrize(
    "settings", [{}, {"tol": 0.0}, {"relative_threshold": 0.0}, {"coupling": 0.5}, {"absolute_threshold": 1e6}]
)
@pytest.mark.filterwarnings("ignore:absolute_threshold would drop every entry")
def test_variances_that_vanish_end_the_loop(rng, settings):
    # Noise that explains y: variances shrink by a constant factor per step, and would underflow.
    As, y = [rng.standard_normal((4, 6)), rng.standard_normal((5, 7))], rng.standard_normal(20)
    model = KroneckerSBL(noise_variance=100.0, **settings).fit(As, y)
    assert model.converged_
    assert model.n_iter_ < 50
    assert model.history_["cost"].size == model.n_iter_ + 1 == model.history_["n_inner"].size + 1
    assert np.abs(model.coef_).max() < 1e-12
    assert model.history_["cost"][-1] == pytest.approx(20 * np.log(100.0) + y @ y / 100.0, rel=1e-13)
    assert model.certificate_.check(As, y).valid
    flat = SBL(
        "mm", noise_variance=100.0, max_iter=5000, relative_threshold=settings.get("relative_threshold", 1e-3)
    ).fit(As, y)
    assert flat.converged_
    assert flat.n_iter_ < 50
    assert np.abs(flat.coef_).max() < 1e-12


@pytest.mark.parametrize("offset", [0.0, 1e-14])
@pytest.mark.parametrize("noise", [0.1, "learn"])
def test_measurements_that_no_column_explains(offset, noise):
    # Orthogonal to all columns, exactly and almost.
    As = [np.array([[1.0, 2.0], [0.0, 0.0]]), np.eye(3)]
    y = np.array([offset, 0.0, 0.0, 2.0, 0.0, 1.0])
    for model in (
        KroneckerSBL(noise_variance=noise),
        KroneckerSBL(noise_variance=noise, coupling=0.3),
        SBL("mm", noise_variance=noise),
    ):
        model.fit(As, y)
        assert model.converged_
        assert np.abs(model.coef_).max() < 1e-13
        assert model.noise_variance_ == pytest.approx(5 / 6 if noise == "learn" else noise, rel=1e-10)
        assert np.isfinite(model.history_["cost"]).all()
        assert model.certificate_.check(As, y).valid


def test_small_variances_grow_where_the_measurements_ask_for_it():
    # At the start the prior is lost in the noise, as one that has vanished is.
    p = _real(0)
    model = _fit(KroneckerSBL(), p.dictionaries, 1e100 * p.y)
    assert model.history_["cost"][-1] < model.history_["cost"][0] - 10
    assert np.linalg.norm(p.y - kron(p.dictionaries) @ model.coef_ / 1e100) < 0.5 * np.linalg.norm(p.y)


def test_stopping_early_is_reported():
    p = _real(0)
    with pytest.warns(ConvergenceWarning, match="after 2 updates"):
        model = KroneckerSBL(max_iter=2).fit(p.dictionaries, p.y)
    assert not model.converged_
    assert not model.certificate_.converged
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        KroneckerSBL(max_iter=2, tol=0.0).fit(p.dictionaries, p.y)


def test_duplicate_columns_share_by_symmetry():
    p = _real(0)
    As = [np.column_stack([p.dictionaries[0], p.dictionaries[0][:, 0]]), *p.dictionaries[1:]]
    for update in ("mm", "am"):
        model = _fit(KroneckerSBL(update, relative_threshold=0.0, max_iter=20), As, p.y)
        assert model.variances_[0][0] == pytest.approx(model.variances_[0][6])


def test_large_problem_in_little_memory():
    """At N = 216 000 and M = 48 000 a Kronecker matrix would take 80 GB; a dense covariance more."""
    import tracemalloc

    p = make_kron_sparse((30, 40, 40), (60, 60, 60), (3, 3, 3), snr_db=20, random_state=0)
    tracemalloc.start()
    model = KroneckerSBL(max_iter=3, tol=0.0).fit(p.dictionaries, p.y)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert model.coef_.shape == (216_000,)
    assert peak < 8 * 16 * (216_000 + 48_000)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"update": "gd"}, "update must be one of 'mm', 'am', 'ksbl', 'svd', 'newton'"),
        ({"coupling_update": "gd"}, "coupling_update must be"),
        ({"noise_variance": 0.0}, "noise_variance must be.*learn"),
        ({"noise_variance": -1.0}, "noise_variance must be"),
        ({"noise_variance": np.inf}, "noise_variance must be"),
        ({"noise_variance": "estimate"}, "noise_variance must be"),
        ({"relative_threshold": -0.1}, "relative_threshold must be"),
        ({"relative_threshold": 1.0}, r"relative_threshold must be a number in \[0, 1\)"),
        ({"relative_threshold": (0.1, 0.1)}, r"relative_threshold must be one number or one per mode \(3\)"),
        ({"absolute_threshold": (0.1, np.nan, 0.1)}, "absolute_threshold must be"),
        ({"coupling": -0.5}, "coupling must be"),
        ({"coupling": (0.5, -0.5, None)}, r"coupling\[1\] must be"),
        ({"coupling": (0.5,)}, r"coupling must be one value or one per mode \(3\)"),
        ({"coupling": (-np.eye(6), None, None)}, r"coupling\[0\] must be a finite matrix"),
        ({"coupling": (np.eye(5), None, None)}, r"coupling\[0\] must be a finite matrix of shape \(6, 6\)"),
        ({"coupling": (np.zeros((6, 6)), None, None)}, r"coupling\[0\] must not have a row of zeros"),
        ({"coupling": 0.5, "update": "svd"}, "update must be 'mm' or 'am' with a coupling"),
        ({"max_iter": 0}, "max_iter must be"),
        ({"max_inner_iter": 1.5}, "max_inner_iter must be"),
        ({"tol": -1.0}, "tol must be"),
        ({"inner_tol": np.nan}, "inner_tol must be"),
        ({"init": 1.0}, "init must be None or a sequence, each entry a vector of variances; got 1.0"),
        ({"init": [np.ones(6)]}, r"init must hold one vector per mode \(3\)"),
        ({"init": [np.ones(5), np.ones(6), np.ones(6)]}, r"init\[0\] must be a real vector of shape \(6,\)"),
        ({"init": [-np.ones(6), np.ones(6), np.ones(6)]}, r"init\[0\] must not be negative"),
        ({"init": [np.zeros(6), np.ones(6), np.ones(6)]}, r"init\[0\] must not be negative or all zero"),
        ({"keep_iterates": "cost"}, "keep_iterates must be True or False"),
    ],
)
def test_bad_parameters(settings, message):
    p = _real(0)
    with pytest.raises(ValueError, match=message):
        KroneckerSBL(**settings).fit(p.dictionaries, p.y)


@pytest.mark.parametrize(
    ("As", "y", "message"),
    [
        ([], np.ones(2), "at least one"),
        ([np.ones((2, 0))], np.ones(2), "mode 0 must have rows and columns"),
        ([np.ones(2)], np.ones(2), "mode 0 must be a matrix"),
        ([np.full((2, 2), np.inf)], np.ones(2), "mode 0 must be finite"),
        ([np.ones((2, 2)), np.ones((3, 3))], np.ones(5), r"2 \* 3 = 6 entries.*C order"),
        ([np.ones((2, 2))], np.array([1.0, np.nan]), "y must be finite"),
        ([np.ones((2, 2))], ["a", "b"], "y must be an array of numbers"),
    ],
)
def test_bad_data(As, y, message):
    with pytest.raises(ValueError, match=message):
        KroneckerSBL().fit(As, y)
