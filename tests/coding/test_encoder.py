"""Codes against other solvers, optimality conditions, grids and the functions that the encoder dispatches to."""

import tracemalloc
import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from coding.coding_references import (
    BAD_ARRAYS,
    draw_problem,
    good_arguments,
    l0_value,
    objective,
    penalties,
    refuses,
    seeds,
)
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from sparsetheory.coding import CEL0, L0, L1, MCP, Lq
from sparsetheory.coding.coding_objective import PenaltyRows
from sparsetheory.coding.encoder import encode
from sparsetheory.coding.l0_coordinate_descent import cd_l0
from sparsetheory.coding.proximal_gradient import forward_backward
from sparsetheory.coding.single_replacement import is_sbr_stable, sbr

families = st.integers(0, 9)
kinds = st.sampled_from(["unit", "norms", "repeated", "near"])
EPS = np.finfo(float).eps


def _draw(seed, kind, power, n_samples=3):
    """Draw signals, atoms, and l1 weights as a share of the largest correlation of all signals."""
    X, D, _ = draw_problem(seed, m=(3, 13), n=(2, 26), n_samples=n_samples, plain=kind == "unit")
    rng, n = np.random.default_rng(seed), D.shape[1]
    if kind in ("repeated", "near"):
        D[:, n // 2 :] = D[:, : n - n // 2] * rng.choice([-1, 1], n - n // 2)
    if kind == "near":
        D += 10.0 ** rng.integers(-9, -1) * rng.standard_normal(D.shape)
    return X, D, float(10**power * np.abs(X @ D).max())


def _values(X, D, C, penalty):
    return np.array([objective(x, D, c, penalty) for x, c in zip(X, C, strict=True)])


def _by_sklearn(X, D, lam):
    model = Lasso(alpha=lam / D.shape[0], fit_intercept=False, tol=1e-14, max_iter=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.array([model.fit(D, x).coef_ for x in X])


def _rounding(X, D, C, eps=EPS):
    """Bound the rounding errors of the correlations with the residuals, which are sums of n + m products."""
    size = np.abs(D)
    return (sum(D.shape) + 8) * eps * ((np.abs(X) + np.abs(C) @ size.T) @ size).max(axis=1)


def _announced(X, D, lam, solver, start, tol, *, may_fail):
    """Return the converged rows of a problem; with nearly dependent atoms others may be left, and a warning says so."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        C, info = encode(X, D, L1(lam), solver, warm=start, tol=tol)
    done = info.converged
    assert may_fail or done.all()
    assert any(issubclass(w.category, ConvergenceWarning) for w in caught) == (not done.all())
    kept = {name: getattr(info, name)[done] for name in ("objective", "gap", "n_iter")}
    return X[done], C[done], SimpleNamespace(**kept)


@given(seeds, kinds, st.floats(-3, 0), st.sampled_from(["fss", "cd"]), st.booleans())
def test_l1_codes_are_optimal(seed, kind, power, solver, warm):
    X, D, lam = _draw(seed, kind, power)
    start = np.random.default_rng(seed).standard_normal((3, D.shape[1])) if warm else None
    X, C, info = _announced(X, D, lam, solver, start, 1e-12, may_fail=kind == "near")
    values = _values(X, D, C, L1(lam))
    assert info.objective == pytest.approx(values, rel=1e-12)
    assert (values <= _values(X, D, _by_sklearn(X, D, lam), L1(lam)) * (1 + 1e-10)).all()
    # Correlations are wrong by rounding and by tol: of lam for one solver, of the largest correlation for the other.
    r, Q = (X - C @ D.T) @ D, np.abs(X @ D).max(axis=1)
    slack = _rounding(X, D, C) * (1 + info.n_iter) + 1e-12 * np.maximum(lam, D.shape[1] * Q)
    assert (np.abs(r) <= lam + slack[:, None]).all()
    assert (np.abs(r - lam * np.sign(C))[C != 0] <= np.broadcast_to(slack[:, None], C.shape)[C != 0]).all()
    # Violations of a share v of lam leave a gap of at most 2 v of the objective.
    assert (info.gap <= 2 * (1e-12 + slack / lam) * np.maximum(values, lam * np.abs(C).sum(axis=1))).all()


@given(seeds, kinds, st.floats(-2, 0))
def test_l1_in_single_precision(seed, kind, power):
    X, D, lam = _draw(seed, kind, power)
    X, D, tol = X.astype(np.float32), D.astype(np.float32), 1e-5
    C, info = encode(X, D, L1(lam), tol=tol)
    assert C.dtype == np.float32
    assert info.converged.all()
    slack = _rounding(X, D, C, np.finfo(np.float32).eps) * (1 + info.n_iter)
    assert (info.gap <= 2 * (tol + slack / lam) * info.objective).all()


@given(seeds, kinds, st.floats(-3, 0))
def test_the_gap_is_within_the_tolerance(seed, kind, power):
    X, D, lam = _draw(seed, kind, power)
    for tol in (1e-2, 1e-6):
        info = encode(X, D, L1(lam), tol=tol).info
        assert info.converged.all()
        assert (info.gap <= tol * info.objective).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("family", range(10))
def test_signals_that_atoms_do_not_see(rng, family, dtype):
    D = rng.standard_normal((9, 6))
    basis = np.linalg.svd(D)[0]
    X = np.vstack([np.zeros(9), basis[:, 6:].T, 1e-30 * rng.standard_normal(9)]).astype(dtype)
    assert np.abs(X.astype(float) @ D).max() < 1e-6
    penalty = penalties(0.1, D)[family]
    for solver in ("auto", "cd"):
        C, info = encode(X, D.astype(dtype), penalty, solver)
        assert not C.any()
        assert info.converged.all()
    # With a weight of nearly nothing, codes are rounding errors, but numbers.
    tiny = encode(X[1:3], D.astype(dtype), penalty.with_lam(1e-25), max_iter=100).codes
    assert (np.abs(tiny) < 1e-4).all()


@given(seeds, st.integers(-9, -2), st.floats(-3, -2))
def test_signals_along_the_weakest_direction(seed, power, share):
    rng = np.random.default_rng(seed)
    D = rng.standard_normal((9, 9))
    D[:, 4:] = D[:, :5] + 10.0**power * rng.standard_normal((9, 5))
    D *= rng.uniform(0.01, 1, 9)
    X = np.linalg.svd(D)[0][:, [-1, -2]].T
    lam = float(10**share * np.abs(X @ D).max(axis=1).min())
    X, C, info = _announced(X, D, lam, "fss", None, 1e-9, may_fail=True)
    # Products of the signal err by more than lam where it is nearly orthogonal to all atoms.
    slack = _rounding(X, D, C) * (1 + info.n_iter)
    assert (info.gap <= 2 * (1e-9 + slack / lam) * np.maximum(info.objective, lam * np.abs(C).sum(axis=1))).all()


@given(seeds, families, st.sampled_from(["plain", "repeated"]), st.booleans())
def test_no_change_of_one_entry_improves(seed, family, kind, warm):
    X, D, lam = draw_problem(seed)
    if kind == "repeated":
        D[:, D.shape[1] // 2 :] = D[:, : D.shape[1] - D.shape[1] // 2]
    norms, tol = np.linalg.norm(D, axis=0), 1e-10
    penalty = penalties(lam, D)[family]
    start = np.random.default_rng(seed).standard_normal((4, D.shape[1])) if warm else None
    C, info = encode(X, D, penalty, "cd", tol=tol, warm=start)
    assert info.converged.all()
    scale = np.abs(X @ D).max(axis=1)
    best = C + (X - C @ D.T) @ D / norms**2
    for i, h in enumerate(norms**2):
        one = PenaltyRows(penalties(lam, D[:, [i]])[family], 1, D.dtype)
        for c, u, size in zip(C[:, i], best[:, i], scale, strict=True):
            reach = 2 * abs(u) + abs(c)
            grid = np.concatenate([np.linspace(-reach, reach, 4001), [0.0, u, c]])
            values = 0.5 * h * (grid - u) ** 2 + one.values(grid[:, None])
            # An entry or a correlation is off by tol at most, and so is the value by that times the way to go.
            slack = tol * size * (reach + tol * size / h) + 1e-13 * abs(values[-3])
            assert values[-1] <= values.min() + slack
    assert (info.residual <= 1e-8 * scale).all()


@given(seeds, st.floats(0.1, 1))
def test_cel0_keeps_its_own_norms(seed, share):
    X, D, lam = draw_problem(seed)
    norms = np.linalg.norm(D, axis=0)
    # With the norms of the atoms, or larger ones, its steps are those of l0.
    C = encode(X, D, L0(lam)).codes
    np.testing.assert_array_equal(encode(X, D, CEL0(lam, norms)).codes, C)
    np.testing.assert_array_equal(encode(X, D, CEL0(lam, norms / share)).codes, C)
    # With smaller ones it is another penalty, convex in every entry.
    C, info = encode(X, D, CEL0(lam, share * norms), tol=1e-10)
    assert info.converged.all()
    assert (info.residual <= 1e-8 * np.abs(X @ D).max()).all()


# Greedy descent may need more steps than it has, there as here.
@pytest.mark.filterwarnings("ignore:cd_l0:sklearn.exceptions.ConvergenceWarning")
@given(seeds, st.sampled_from([L0, CEL0]), st.booleans())
def test_dispatch(seed, family, warm):
    X, D, lam = draw_problem(seed)
    start = np.random.default_rng(seed).standard_normal((4, D.shape[1])) if warm else None
    penalty = L0(lam) if family is L0 else CEL0(lam, np.linalg.norm(D, axis=0))
    C, info = encode(X, D, penalty, "sbr", warm=start)
    np.testing.assert_array_equal(C, sbr(X, D, lam, warm=start))
    assert info.converged.all()
    C, info = encode(X, D, penalty, "greedy", warm=start)
    np.testing.assert_array_equal(C, cd_l0(X, D, lam, warm=start))
    assert (info.solver, info.gap) == ("greedy", None)


@pytest.mark.parametrize("family", range(10))
def test_dispatch_to_forward_backward(family):
    X, D, _ = draw_problem(3, m=8, n=12, n_samples=20, plain=True)
    penalty = penalties(0.3, D)[family]
    C, info = encode(X, D, penalty, "fb", tol=1e-5, max_iter=50_000)
    expected, other = forward_backward(X, D, penalty, accel=family == 0, tol=1e-5, max_iter=50_000)
    np.testing.assert_array_equal(C, expected)
    np.testing.assert_array_equal(info.n_iter, other.n_iter)
    assert info.solver == "fb"
    assert info.converged.all()


def test_auto_is_fss_for_l1_and_cd_for_all_else():
    X, D, _ = draw_problem(1)
    chosen = [encode(X, D, penalty).info.solver for penalty in penalties(0.2, D)]
    assert chosen == ["fss"] + 9 * ["cd"]


@given(seeds, st.sampled_from(["cd", "greedy", "sbr"]), st.booleans())
def test_polish(seed, solver, is_l0):
    X, D, lam = draw_problem(seed)
    penalty = L0(lam) if is_l0 else CEL0(lam, np.linalg.norm(D, axis=0))
    before = encode(X, D, penalty, solver).codes
    C, info = encode(X, D, penalty, solver, polish=True)
    assert is_sbr_stable(X, D, C, lam).all()
    assert info.converged.all()
    old, new = (np.array([l0_value(x, D, c, lam) for x, c in zip(X, codes, strict=True)]) for codes in (before, C))
    slack = 128 * EPS * 0.5 * np.sum(X**2, axis=1)
    assert (new <= old + slack).all()
    assert (info.polished.gained >= -slack).all()
    assert info.gained == pytest.approx(old - new, abs=1e-9)
    assert encode(X, D, penalty, solver).info.gained is None


@pytest.mark.parametrize("family", range(10))
def test_rows_threads_gram_and_warm_starts(rng, family):
    X, D, _ = draw_problem(5, m=16, n=64, n_samples=2500, plain=True)
    penalty = penalties(0.2, D)[family]
    C, info = encode(X, D, penalty)
    np.testing.assert_array_equal(encode(X, D, penalty, n_jobs=2).codes, C)
    np.testing.assert_array_equal(encode(X, D, penalty, n_jobs=3, warm=C).codes, encode(X, D, penalty, warm=C).codes)
    values = encode(X, D, penalty, gram=np.asfortranarray(D.T @ D)).info.objective
    assert values == pytest.approx(info.objective, rel=1e-5)
    some = rng.choice(2500, 40, replace=False)
    alone = np.vstack([encode(X[i : i + 1], D, penalty).codes for i in some])
    np.testing.assert_allclose(alone, C[some], atol=1e-7)
    again = encode(X, D, penalty, warm=C).info
    assert (again.objective <= info.objective * (1 + 1e-9)).all()
    assert (again.n_iter <= 2).all()


@pytest.mark.parametrize("solver", ["fss", "cd", "fb"])
def test_layouts_are_accepted_and_inputs_kept(solver):
    X, D, _ = draw_problem(6, m=8, n=12, n_samples=5)
    arrays = (X, D, np.ones((5, 12)), D.T @ D)
    copies = [array.copy() for array in arrays]

    def run(X, D, warm, gram):
        return encode(X, D, L1(0.3), solver, warm=warm, gram=gram, max_iter=20_000).codes

    C = run(*arrays)
    for array in arrays:
        array.flags.writeable = False
    for layout in (np.asarray, np.asfortranarray, lambda a: np.repeat(a, 2, axis=1)[:, ::2], np.ndarray.tolist):
        np.testing.assert_array_equal(run(*map(layout, arrays)), C)
    for array, copy in zip(arrays, copies, strict=True):
        np.testing.assert_array_equal(array, copy)
    assert encode([[3, 0]], np.eye(2, dtype=int), L1(1), solver).codes.round(4).tolist() == [[2.0, 0.0]]


@pytest.mark.parametrize("solver", ["fss", "cd", "fb", "sbr", "greedy"])
def test_no_signals_and_given_results(tmp_path, solver):
    X, D, _ = draw_problem(6, m=8, n=12, n_samples=200)
    penalty = L0(0.1) if solver in ("sbr", "greedy") else L1(0.3)
    C = encode(X, D, penalty, solver, max_iter=20_000).codes
    empty, info = encode(X[:0], D, penalty, solver)
    assert empty.shape == (0, 12)
    assert info.converged.shape == info.objective.shape == info.residual.shape == (0,)
    out = np.lib.format.open_memmap(tmp_path / "codes.npy", mode="w+", dtype=np.float64, shape=(200, 12))
    assert encode(X, D, penalty, solver, out=out, max_iter=20_000).codes is out
    out.flush()
    np.testing.assert_array_equal(np.load(tmp_path / "codes.npy"), C)
    # The guesses may be written over.
    expected = encode(X, D, penalty, solver, warm=C, max_iter=20_000).codes
    np.testing.assert_array_equal(encode(X, D, penalty, solver, warm=out, out=out, max_iter=20_000).codes, expected)


@pytest.mark.parametrize("solver", ["fss", "cd"])
def test_memory_beside_the_codes_is_constant(rng, solver):
    X, D = rng.standard_normal((20_000, 32)), rng.standard_normal((32, 64))
    encode(X[:10], D, L1(3.0), solver)
    tracemalloc.start()
    C, _ = encode(X, D, L1(3.0), solver)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert C.nbytes > 10**7
    assert peak - C.nbytes < 2 * 10**6


@pytest.mark.parametrize("solver", ["fss", "cd"])
def test_unconverged_codes_are_counted(solver):
    X, D, _ = draw_problem(9, m=10, n=30, n_samples=5, plain=True)
    X[2:] = 0.0
    with pytest.warns(ConvergenceWarning, match="2 of 5 codes did not reach tol=1e-06 within max_iter=1 passes"):
        info = encode(X, D, L1(1e-3), solver, max_iter=1).info
    assert info.converged.tolist() == [False, False, True, True, True]
    assert info.n_iter.tolist() == [1, 1, 0, 0, 0]


# Without a weight the tolerance is zero, and rounding may keep codes from it.
@pytest.mark.filterwarnings("ignore:.* codes did not reach:sklearn.exceptions.ConvergenceWarning")
def test_codes_that_are_not_unique_are_announced():
    X, D, _ = draw_problem(9, m=4, n=6, plain=True)
    with pytest.warns(ConvergenceWarning, match="lam=0: with more atoms than samples codes are not unique"):
        C = encode(X, D, L1(0.0)).codes
    np.testing.assert_allclose(C @ D.T, X, atol=1e-6)
    X, D, _ = draw_problem(9, m=6, n=4, plain=True)
    for penalty in (L1(0.0), MCP(0.0), L0(0.0), Lq(0.0, 0.5)):
        np.testing.assert_allclose(encode(X, D, penalty).codes, np.linalg.lstsq(D, X.T)[0].T, atol=1e-4)


def test_single_precision_tolerance_is_raised_with_a_warning():
    X, D, _ = draw_problem(1, plain=True)
    with pytest.warns(RuntimeWarning, match=r"tol=1e-08.* 1e-06 is used"):
        encode(X.astype(np.float32), D.astype(np.float32), L1(0.3), tol=1e-8)


@refuses(
    [
        *BAD_ARRAYS,
        ({"penalty": "l1"}, TypeError, "penalty must be a Penalty; got 'l1'"),
        ({"penalty": CEL0(1.0, [1.0, 2.0])}, ValueError, "penalty must have one number per atom, 5; it has 2"),
        ({"solver": "lars"}, ValueError, "solver must be one of 'auto', 'fss', .*; got 'lars'"),
        ({"solver": None}, ValueError, "solver must be one of .*; got None"),
        ({"solver": "fss", "penalty": MCP(0.1)}, ValueError, r"solver 'fss' is for l1; got MCP\(lam=0.1"),
        ({"solver": "sbr"}, ValueError, r"solver 'sbr' is for l0 and CEL0; got L1\(lam=0.1"),
        ({"solver": "greedy", "penalty": Lq(0.1, 0.5)}, ValueError, "solver 'greedy' is for l0 and CEL0; got Lq"),
        ({"polish": True}, ValueError, "polish is for l0 and CEL0; got L1"),
        ({"tol": -1.0}, ValueError, "tol must be a finite .* number; got -1.0"),
        ({"tol": np.nan}, ValueError, "tol must be a finite .* number; got nan"),
        ({"max_iter": 0}, ValueError, "max_iter must be a positive integer; got 0"),
        ({"max_iter": 1.5}, (ValueError, TypeError), "max_iter must be a positive integer; got 1.5"),
        ({"warm": np.ones((2, 4))}, ValueError, r"warm must have one row per signal .* got \(2, 4\)"),
        ({"warm": np.full((2, 5), np.nan)}, ValueError, "warm must be finite"),
        ({"gram": np.eye(4)}, ValueError, r"gram must be D.T @ D, of shape \(5, 5\); got shape \(4, 4\)"),
        ({"gram": np.eye(5)}, ValueError, "gram must be D.T @ D; its diagonal"),
        ({"out": np.empty((2, 4))}, ValueError, r"out must be an array of shape \(2, 5\) and dtype float64"),
        ({"out": np.empty((2, 5), np.float32)}, ValueError, "out must be an array of shape .* and dtype float64"),
        ({"out": [[0.0] * 5] * 2}, ValueError, "out must be an array"),
        ({"out": np.empty((5, 2)).T}, ValueError, "out must be C-ordered and writable"),
        ({"out": np.broadcast_to(0.0, (2, 5))}, ValueError, "out must be C-ordered and writable"),
    ]
)
def test_bad_arguments(arguments, error, message):
    with pytest.raises(error, match=message):
        encode(**(good_arguments(penalty=L1(0.1)) | arguments))
