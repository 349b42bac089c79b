"""Claims about l1 codes: the duality gap certifies any code, what makes it small, and that active sets close it."""

import warnings
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from sparsetheory.coding import duality_gap, encode
from sparsetheory.penalties import L1
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.lq_coding.instances import (
    EPS,
    Coding,
    classic,
    codings,
    decades,
    objective,
    ours,
    seeds,
)
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

# Squares and products of at most 20 correlations, themselves sums of at most 10 products.
_ROUNDING = 1000 * EPS


@dataclass(frozen=True)
class _Lasso:
    """An l1 problem, and how far from its solution to look."""

    coding: Coding
    alpha: float
    away: float

    @property
    def energy(self) -> float:
        """Objective of the zero code."""
        return max(float(self.coding.x @ self.coding.x) / 2, 1e-300)

    def solution(self) -> tuple[Float64Array, bool]:
        """Return the code of the active-set solver, and whether it met its tolerance."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = encode(self.coding.X, self.coding.A.T, L1(self.alpha), solver="fss", tol=1e-9)
        return found.codes[0], bool(found.converged[0])

    def other(self, solution: Float64Array) -> Float64Array:
        """Return a code at about the given distance from the solution."""
        rng = self.coding.rng()
        move = rng.standard_normal(solution.size) * (rng.random(solution.size) < 0.5) / self.coding.norms
        return solution + self.away * np.linalg.norm(self.coding.x) * move


@st.composite
def _nearly_dependent(draw: st.DrawFn) -> Coding:
    """Search atoms that differ by little, as few as the signal is long: entries in use may be a million times it."""
    rng, m = np.random.default_rng(draw(seeds)), draw(st.integers(2, 6))
    A = rng.standard_normal((m, 1)) + draw(decades(-7, -1)) * rng.standard_normal((m, draw(st.integers(2, m))))
    return Coding(A / np.linalg.norm(A, axis=0), rng.standard_normal(m), int(rng.integers(2**31)))


def _lassos() -> st.SearchStrategy[_Lasso]:
    def build(coding: Coding, part: float, away: float) -> _Lasso:
        return _Lasso(coding, part * (np.abs(coding.correlations).max() or 1.0), away)

    parts = decades(-3, 0.1) | decades(-8, -3)
    return st.builds(build, codings() | _nearly_dependent(), parts, st.just(0.0) | decades(-6, 0))


def _textbook_gap(problem: _Lasso, code: Float64Array, *, scaled: bool = True) -> float:
    """Return objective minus dual objective at the residual, scaled down until it is feasible."""
    x = problem.coding.x
    residual = x - problem.coding.A @ code
    largest = np.abs(problem.coding.A.T @ residual).max()
    theta = residual * (min(1.0, problem.alpha / largest) if scaled and largest > 0 else 1.0)
    dual = (x @ x - (x - theta) @ (x - theta)) / 2
    return objective(problem.coding, L1(problem.alpha), code) - float(dual)


def _gap(problem: _Lasso, *, scaled: bool = True) -> Measurement:
    r"""Order suboptimality, the gap of the library, and the gap at the scaled residual.

    For :math:`\|A^T\theta\|_\infty \le \lambda`, :math:`\lambda\|c\|_1 \ge \langle A^T\theta, c\rangle` and
    :math:`\tfrac12\|r\|^2 \ge \langle r, \theta\rangle - \tfrac12\|\theta\|^2`; their sum is the dual objective. The
    library takes the best multiple of the residual, so its gap is the smaller one.
    """
    solution, _ = problem.solution()
    code = problem.other(solution)
    penalty = L1(problem.alpha)
    above = objective(problem.coding, penalty, code) - objective(problem.coding, penalty, solution)
    textbook = _textbook_gap(problem, code, scaled=scaled)
    gap = (
        float(duality_gap(problem.coding.X, problem.coding.A.T, code[None], alpha=problem.alpha)[0])
        if scaled
        else textbook
    )
    scale = problem.energy + objective(problem.coding, penalty, code)
    return Measurement(above, gap, scale, {"gap at the residual": textbook}, (("bound", "gap at the residual"),))


l1_gap = Claim(
    name="lq_coding.l1_gap",
    summary="The duality gap bounds how far any l1 code is above the minimum.",
    statement=r"F(c) - F^* \le \mathrm{gap}(c) \le F(c) - \tfrac12 \|x\|^2 + \tfrac12 \|x - \theta\|^2,"
    r" \quad \theta = r \min(1, \lambda / \|A^\top r\|_\infty)",
    source=classic("Fenchel duality of the Lasso", "weak duality"),
    verdict=Always(_ROUNDING),
    instances=_lassos,
    evaluate=_gap,
    near_miss=lambda problem: _gap(problem, scaled=False),
)


def _violation(problem: _Lasso, code: Float64Array) -> tuple[float, float]:
    """Return how far correlations are from optimal, in extended precision, and how much rounding leaves of them.

    Optimal correlations are at most alpha in size, and alpha with the sign of their entry where that is not zero. The
    residual of a code is known to some roundings of the terms that it sums.
    """
    A, x, c = (np.asarray(a, np.longdouble) for a in (problem.coding.A, problem.coding.x, code))
    correlations = A.T @ (x - A @ c)
    off = np.where(c != 0, np.abs(problem.alpha - np.sign(c) * correlations), np.abs(correlations) - problem.alpha)
    norms = problem.coding.norms
    terms = float(np.linalg.norm(problem.coding.x) + np.abs(code) @ norms)
    return max(float(off.max()), 0.0), sum(problem.coding.A.shape) * EPS * terms * float(norms.max())


def _allowed(problem: _Lasso, code: Float64Array, error: float, fraction: float = 1.0) -> float:
    """Return the bound on the gap of a code whose correlations are off by at most `error`."""
    residual = problem.coding.x - problem.coding.A @ code
    length = float(np.abs(code).sum())
    return fraction * 2 * error * length + (error / problem.alpha) ** 2 * float(residual @ residual) / 2


def _gap_from_correlations(problem: _Lasso, fraction: float = 1.0) -> Measurement:
    r"""Bound the gap of a code, as the library computes it, by how far its correlations are from optimal.

    With residual r, let all :math:`|A_i^T r| \le \lambda + e`, and :math:`\mathrm{sign}(c_i) A_i^T r \ge \lambda - e`
    where :math:`c_i \ne 0`. Scaled by :math:`s = \lambda / (\lambda + e)` the residual is dual feasible, and its gap is

    .. math:: \tfrac12 (1 - s)^2 \|r\|^2 + \sum_i |c_i| (\lambda - s\, \mathrm{sign}(c_i) A_i^T r).

    Here :math:`1 - s \le e / \lambda`, and :math:`\lambda - s (\lambda - e) = 2 s e \le 2 e`: the entries in use
    multiply what their correlations lack. The library takes the best multiple, whose gap is no larger.
    """
    coding, (solution, _) = problem.coding, problem.solution()
    codes = np.array([solution, problem.other(solution), np.where(solution != 0, problem.other(solution), 0.0)])
    gaps = duality_gap(coding.X.repeat(len(codes), axis=0), coding.A.T, codes, alpha=problem.alpha)
    errors = [sum(_violation(problem, code)) for code in codes]
    bounds = [_allowed(problem, code, error, fraction) for code, error in zip(codes, errors, strict=True)]
    return Measurement.worst(gaps, bounds)


gap_from_correlations = Claim(
    name="lq_coding.gap_from_correlations",
    summary="Nearly optimal correlations make a small duality gap, in proportion to the length of the code.",
    statement=r"\mathrm{gap}(c) \le 2 e \|c\|_1 + \tfrac{e^2}{2\lambda^2} \|r\|^2,"
    r" \quad e = \max\left( \|A^\top r\|_\infty - \lambda,"
    r" \max_{c_i \ne 0} |\lambda - \mathrm{sign}(c_i) A_i^\top r| \right)",
    source=ours("gap of a nearly optimal l1 code"),
    # Gap and bound are sums of terms that are not negative.
    verdict=Always(_ROUNDING),
    instances=_lassos,
    evaluate=_gap_from_correlations,
    near_miss=lambda problem: _gap_from_correlations(problem, fraction=0.5),
)


def _elsewhere(problem: _Lasso) -> Float64Array:
    """Return the code of scikit-learn, whose objective is divided by the length of the signal."""
    other = Lasso(alpha=problem.alpha / problem.coding.x.size, fit_intercept=False, tol=1e-9, max_iter=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        return np.asarray(other.fit(problem.coding.A, problem.coding.x).coef_, np.float64)


def _parity(problem: _Lasso, *, rounded: bool = False) -> Measurement:
    r"""Bound the gap of the active-set code, and compare its objective with that of coordinate descent elsewhere.

    The solver has converged once no correlation is further from optimal than :math:`10^{-9} \|A^T x\|_\infty` and
    roundings; :func:`_gap_from_correlations` says what that leaves. Each objective is above the other by at most the
    gap of its own code. A code that is rounded to single precision is not that accurate.
    """
    coding, alpha = problem.coding, problem.alpha
    solution, converged = problem.solution()
    if not converged:
        return Measurement(0.0, 0.0, 1.0)
    error = 1e-9 * float(np.abs(coding.correlations).max()) + _violation(problem, solution)[1]
    allowed = _allowed(problem, solution, error)
    solution = solution.astype(np.float32).astype(np.float64) if rounded else solution
    gap = float(duality_gap(coding.X, coding.A.T, solution[None], alpha=alpha)[0])
    other = _elsewhere(problem)
    apart = objective(coding, L1(alpha), other) - objective(coding, L1(alpha), solution)
    extras = {
        "above the reference": -apart,
        "allowed": allowed,
        "below the reference": apart,
        "gap of the reference": _textbook_gap(problem, other),
    }
    also = (("above the reference", "allowed"), ("below the reference", "gap of the reference"))
    return Measurement(gap, allowed, problem.energy, extras, also)


l1_parity = Claim(
    name="lq_coding.l1_parity",
    summary="Active-set codes are optimal to their tolerance and to rounding, and agree with scikit-learn.",
    statement=r"\mathrm{gap}(c) \le 2 e \|c\|_1 + \tfrac{e^2}{2\lambda^2} \|r\|^2,"
    r" \ e = 10^{-9} \|A^\top x\|_\infty \text{ and roundings, for active-set codes; }"
    r" -\mathrm{gap}(c) \le F(c') - F(c) \le \mathrm{gap}(c') \text{ for the code } c' \text{ of scikit-learn}",
    source=ours("accuracy of feature-sign search; scikit-learn as the reference"),
    verdict=Always(_ROUNDING),
    instances=_lassos,
    evaluate=_parity,
    near_miss=lambda problem: _parity(problem, rounded=True),
)
