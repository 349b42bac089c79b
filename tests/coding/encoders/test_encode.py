"""Codes against other solvers, optimality conditions, grids and the functions that the encoder dispatches to."""

import warnings
from types import SimpleNamespace

import numpy as np
import pytest
from coding.coding_references import (
    draw_problem,
    l0_value,
    objective,
    penalties,
    seeds,
)
from hypothesis import example, given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from sparsetheory.coding.encoders.encode import encode
from sparsetheory.coding.l0.coordinate_descent import cd_l0
from sparsetheory.coding.l0.single_best_replacement import is_sbr_stable, sbr
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import CEL0, L0, L1, Lq
from sparsetheory.penalties.per_feature import PenaltyRows

families = st.integers(0, 9)
kinds = st.sampled_from(["unit", "norms", "repeated", "near"])
EPS = np.finfo(float).eps


def _draw(seed, kind, power, n_samples=3):
    """Draw signals, atoms, and l1 weights as a share of the largest correlation of all signals."""
    X, A, _ = draw_problem(seed, m=(3, 13), n=(2, 26), n_samples=n_samples, plain=kind == "unit")
    rng, n = np.random.default_rng(seed), A.shape[1]
    if kind in ("repeated", "near"):
        A[:, n // 2 :] = A[:, : n - n // 2] * rng.choice([-1, 1], n - n // 2)
    if kind == "near":
        A += 10.0 ** rng.integers(-9, -1) * rng.standard_normal(A.shape)
    return X, A, float(10**power * np.abs(X @ A).max())


def _values(X, A, C, penalty):
    return np.array([objective(x, A, c, penalty) for x, c in zip(X, C, strict=True)])


def _by_sklearn(X, A, alpha):
    model = Lasso(alpha=alpha / A.shape[0], fit_intercept=False, tol=1e-14, max_iter=20_000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.array([model.fit(A, x).coef_ for x in X])


def _rounding(X, A, C, eps=EPS):
    """Bound the rounding errors of the correlations with the residuals, which are sums of n + m products."""
    size = np.abs(A)
    return (sum(A.shape) + 8) * eps * ((np.abs(X) + np.abs(C) @ size.T) @ size).max(axis=1)


def _announced(X, A, alpha, solver, start, tol, *, may_fail):
    """Return the converged rows of a problem; with nearly dependent atoms others may be left, and a warning says so."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = encode(X, A.T, L1(alpha), solver=solver, init=start, tol=tol)
        C = found.codes
    done = found.converged
    assert may_fail or done.all()
    assert any(issubclass(w.category, ConvergenceWarning) for w in caught) == (not done.all())
    kept = {name: getattr(found, name)[done] for name in ("objective", "gap", "n_iter")}
    return X[done], C[done], SimpleNamespace(**kept)


@given(seeds, kinds, st.floats(-3, 0), st.sampled_from(["fss", "cd"]), st.booleans())
def test_l1_codes_are_optimal(seed, kind, power, solver, warm):
    X, A, alpha = _draw(seed, kind, power)
    start = np.random.default_rng(seed).standard_normal((3, A.shape[1])) if warm else None
    X, C, found = _announced(X, A, alpha, solver, start, 1e-12, may_fail=kind == "near")
    values = _values(X, A, C, L1(alpha))
    assert found.objective == pytest.approx(values, rel=1e-12)
    assert (values <= _values(X, A, _by_sklearn(X, A, alpha), L1(alpha)) * (1 + 1e-10)).all()
    # Correlations are wrong by rounding and by tol: of alpha for one solver, of the largest correlation for the other.
    r, Q = (X - C @ A.T) @ A, np.abs(X @ A).max(axis=1)
    slack = _rounding(X, A, C) * (1 + found.n_iter) + 1e-12 * np.maximum(alpha, A.shape[1] * Q)
    assert (np.abs(r) <= alpha + slack[:, None]).all()
    assert (np.abs(r - alpha * np.sign(C))[C != 0] <= np.broadcast_to(slack[:, None], C.shape)[C != 0]).all()
    # Violations of a share v of alpha leave a gap of at most 2 v of the objective.
    assert (found.gap <= 2 * (1e-12 + slack / alpha) * np.maximum(values, alpha * np.abs(C).sum(axis=1))).all()


@given(seeds, kinds, st.floats(-2, 0))
def test_l1_in_single_precision(seed, kind, power):
    X, A, alpha = _draw(seed, kind, power)
    X, A, tol = X.astype(np.float32), A.astype(np.float32), 1e-5
    found = encode(X, A.T, L1(alpha), tol=tol)
    C = found.codes
    assert C.dtype == np.float32
    assert found.converged.all()
    slack = _rounding(X, A, C, np.finfo(np.float32).eps) * (1 + found.n_iter)
    assert (found.gap <= 2 * (tol + slack / alpha) * found.objective).all()


@given(seeds, kinds, st.floats(-3, 0))
def test_the_gap_is_within_the_tolerance(seed, kind, power):
    X, A, alpha = _draw(seed, kind, power)
    for tol in (1e-2, 1e-6):
        found = encode(X, A.T, L1(alpha), tol=tol)
        assert found.converged.all()
        assert (found.gap <= tol * found.objective).all()


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("family", range(10))
def test_signals_that_atoms_do_not_see(rng, family, dtype):
    A = rng.standard_normal((9, 6))
    basis = np.linalg.svd(A)[0]
    X = np.vstack([np.zeros(9), basis[:, 6:].T, 1e-30 * rng.standard_normal(9)]).astype(dtype)
    assert np.abs(X.astype(float) @ A).max() < 1e-6
    penalty = penalties(0.1, A)[family]
    for solver in ("auto", "cd"):
        found = encode(X, A.astype(dtype).T, penalty, solver=solver)
        C = found.codes
        assert not C.any()
        assert found.converged.all()
    # With a weight of nearly nothing, codes are rounding errors, but numbers; a gap beside them cannot be proved.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if isinstance(penalty, L1) else "error", ConvergenceWarning)
        tiny = encode(X[1:3], A.astype(dtype).T, penalty.with_alpha(1e-25), max_iter=100).codes
    assert (np.abs(tiny) < 1e-4).all()


@given(seeds, st.integers(-9, -2), st.floats(-3, -2))
def test_signals_along_the_weakest_direction(seed, power, share):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((9, 9))
    A[:, 4:] = A[:, :5] + 10.0**power * rng.standard_normal((9, 5))
    A *= rng.uniform(0.01, 1, 9)
    X = np.linalg.svd(A)[0][:, [-1, -2]].T
    alpha = float(10**share * np.abs(X @ A).max(axis=1).min())
    X, C, found = _announced(X, A, alpha, "fss", None, 1e-9, may_fail=True)
    # Products of the signal err by more than alpha where it is nearly orthogonal to all atoms.
    slack = _rounding(X, A, C) * (1 + found.n_iter)
    assert (found.gap <= 2 * (1e-9 + slack / alpha) * np.maximum(found.objective, alpha * np.abs(C).sum(axis=1))).all()


@given(seeds, families, st.sampled_from(["plain", "repeated"]), st.booleans())
def test_no_change_of_one_entry_improves(seed, family, kind, warm):
    X, A, alpha = draw_problem(seed)
    if kind == "repeated":
        A[:, A.shape[1] // 2 :] = A[:, : A.shape[1] - A.shape[1] // 2]
    norms, tol = np.linalg.norm(A, axis=0), 1e-10
    penalty = penalties(alpha, A)[family]
    start = np.random.default_rng(seed).standard_normal((4, A.shape[1])) if warm else None
    found = encode(X, A.T, penalty, solver="cd", tol=tol, init=start)
    C = found.codes
    assert found.converged.all()
    scale = np.abs(X @ A).max(axis=1)
    best = C + (X - C @ A.T) @ A / norms**2
    for i, h in enumerate(norms**2):
        one = PenaltyRows(penalties(alpha, A[:, [i]])[family], 1, A.dtype)
        for c, u, size in zip(C[:, i], best[:, i], scale, strict=True):
            reach = 2 * abs(u) + abs(c)
            grid = np.concatenate([np.linspace(-reach, reach, 4001), [0.0, u, c]])
            values = 0.5 * h * (grid - u) ** 2 + one.values(grid[:, None])
            # An entry or a correlation is off by tol at most, and so is the value by that times the way to go.
            slack = tol * size * (reach + tol * size / h) + 1e-13 * abs(values[-3])
            assert values[-1] <= values.min() + slack
    assert (found.residual <= 1e-8 * scale).all()


def _half(alpha):
    return Lq(alpha, 0.5)


# In the example active atoms are further beyond their thresholds than the one that may not be left out.
@example(876, _half)
@given(seeds, st.sampled_from([L0, _half]))
def test_no_atom_is_left_out_by_a_loose_tolerance(seed, family):
    # To enter, it would change by the whole jump.
    X, A, alpha = draw_problem(seed)
    found = encode(X, A.T, family(alpha), solver="cd", tol=0.03)
    C = found.codes
    h = np.sum(A**2, axis=0)
    thresholds = np.array([size * family(alpha).zero_threshold(1 / size) for size in h])
    excess = np.where(C == 0, np.abs((X - C @ A.T) @ A) - thresholds, -1.0)
    assert (excess[found.converged] <= 1e-12 * np.abs(X @ A).max()).all()


@given(seeds, st.floats(0.1, 1))
def test_cel0_keeps_its_own_norms(seed, share):
    X, A, alpha = draw_problem(seed)
    norms = np.linalg.norm(A, axis=0)
    # With the norms of the atoms, or larger ones, its steps are those of l0.
    C = encode(X, A.T, L0(alpha)).codes
    np.testing.assert_array_equal(encode(X, A.T, CEL0(alpha, norms)).codes, C)
    np.testing.assert_array_equal(encode(X, A.T, CEL0(alpha, norms / share)).codes, C)
    # With smaller ones it is another penalty, convex in every entry.
    found = encode(X, A.T, CEL0(alpha, share * norms), tol=1e-10)
    C = found.codes
    assert found.converged.all()
    assert (found.residual <= 1e-8 * np.abs(X @ A).max()).all()


# Greedy descent may need more steps than it has, there as here.
@pytest.mark.filterwarnings(
    "ignore:cd_l0:sklearn.exceptions.ConvergenceWarning", "ignore:. of 4 codes:sklearn.exceptions.ConvergenceWarning"
)
@given(seeds, st.sampled_from([L0, CEL0]), st.booleans())
def test_dispatch(seed, family, warm):
    X, A, alpha = draw_problem(seed)
    start = np.random.default_rng(seed).standard_normal((4, A.shape[1])) if warm else None
    penalty = L0(alpha) if family is L0 else CEL0(alpha, np.linalg.norm(A, axis=0))
    found = encode(X, A.T, penalty, solver="sbr", init=start)
    C = found.codes
    np.testing.assert_array_equal(C, sbr(X, A.T, alpha=alpha, init=start).codes)
    assert found.converged.all()
    found = encode(X, A.T, penalty, solver="greedy", init=start)
    C = found.codes
    np.testing.assert_array_equal(C, cd_l0(X, A.T, alpha=alpha, init=start).codes)
    assert (found.solver, found.gap) == ("greedy", None)


@pytest.mark.parametrize("family", range(10))
def test_dispatch_to_forward_backward(family):
    X, A, _ = draw_problem(3, m=8, n=12, n_samples=20, plain=True)
    penalty = penalties(0.3, A)[family]
    found = encode(X, A.T, penalty, solver="fb", tol=1e-5, max_iter=50_000)
    C = found.codes
    other = forward_backward(X, A.T, penalty, accelerated=family == 0, tol=1e-5, max_iter=50_000)
    expected = other.codes
    np.testing.assert_array_equal(C, expected)
    np.testing.assert_array_equal(found.n_iter, other.n_iter)
    assert found.solver == "fb"
    assert found.converged.all()


def test_auto_is_fss_for_l1_and_cd_for_all_else():
    X, A, _ = draw_problem(1)
    chosen = [encode(X, A.T, penalty).solver for penalty in penalties(0.2, A)]
    assert chosen == ["fss"] + 9 * ["cd"]


# Greedy descent may need more steps than it has; what is polished has to converge.
@pytest.mark.filterwarnings("ignore:. of 4 codes:sklearn.exceptions.ConvergenceWarning")
@given(seeds, st.sampled_from(["cd", "greedy", "sbr"]), st.booleans())
def test_polish(seed, solver, is_l0):
    X, A, alpha = draw_problem(seed)
    penalty = L0(alpha) if is_l0 else CEL0(alpha, np.linalg.norm(A, axis=0))
    before = encode(X, A.T, penalty, solver=solver).codes
    found = encode(X, A.T, penalty, solver=solver, polish=True)
    C = found.codes
    assert is_sbr_stable(X, A.T, C, alpha=alpha).all()
    assert found.converged.all()
    old, new = (np.array([l0_value(x, A, c, alpha) for x, c in zip(X, codes, strict=True)]) for codes in (before, C))
    slack = 128 * EPS * 0.5 * np.sum(X**2, axis=1)
    assert (new <= old + slack).all()
    assert (found.polished.gained >= -slack).all()
    assert found.gained == pytest.approx(old - new, abs=1e-9)
    assert encode(X, A.T, penalty, solver=solver).gained is None
