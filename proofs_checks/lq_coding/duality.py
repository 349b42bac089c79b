"""Claims about l1 codes: the duality gap certifies any code, and the active-set solver closes it."""

import warnings
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from sparsetheory.coding import L1, duality_gap, encode
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.lq_coding.instances import EPS, Coding, classic, codings, decades, objective, ours
from sparsetheory.proofs_checks.verdicts import Always

_Array = NDArray[np.float64]
# Squares and products of at most 20 correlations, themselves sums of at most 10 products.
_ROUNDING = 1000 * EPS


@dataclass(frozen=True)
class _Lasso:
    """An l1 problem, and how far from its solution to look."""

    coding: Coding
    lam: float
    away: float

    @property
    def energy(self) -> float:
        """Objective of the zero code."""
        return max(float(self.coding.x @ self.coding.x) / 2, 1e-300)

    def solution(self) -> tuple[_Array, bool]:
        """Return the code of the active-set solver, and whether it met its tolerance."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            codes, info = encode(self.coding.X, self.coding.D, L1(self.lam), "fss", tol=1e-9)
        return codes[0], bool(info.converged[0])

    def other(self, solution: _Array) -> _Array:
        """Return a code at about the given distance from the solution."""
        rng = self.coding.rng()
        move = rng.standard_normal(solution.size) * (rng.random(solution.size) < 0.5) / self.coding.norms
        return solution + self.away * np.linalg.norm(self.coding.x) * move


def _lassos() -> st.SearchStrategy[_Lasso]:
    def build(coding: Coding, part: float, away: float) -> _Lasso:
        return _Lasso(coding, part * (np.abs(coding.correlations).max() or 1.0), away)

    return st.builds(build, codings(), decades(-3, 0.1), st.just(0.0) | decades(-6, 0))


def _textbook_gap(problem: _Lasso, code: _Array, *, scaled: bool = True) -> float:
    """Return objective minus dual objective at the residual, scaled down until it is feasible."""
    x = problem.coding.x
    residual = x - problem.coding.D @ code
    largest = np.abs(problem.coding.D.T @ residual).max()
    theta = residual * (min(1.0, problem.lam / largest) if scaled and largest > 0 else 1.0)
    dual = (x @ x - (x - theta) @ (x - theta)) / 2
    return objective(problem.coding, L1(problem.lam), code) - float(dual)


def _gap(problem: _Lasso, *, scaled: bool = True) -> Measurement:
    r"""Order suboptimality, the gap of the library, and the gap at the scaled residual.

    For :math:`\|D^T\theta\|_\infty \le \lambda`, :math:`\lambda\|c\|_1 \ge \langle D^T\theta, c\rangle` and
    :math:`\tfrac12\|r\|^2 \ge \langle r, \theta\rangle - \tfrac12\|\theta\|^2`; their sum is the dual objective. The
    library takes the best multiple of the residual, so its gap is the smaller one.
    """
    solution, _ = problem.solution()
    code = problem.other(solution)
    penalty = L1(problem.lam)
    above = objective(problem.coding, penalty, code) - objective(problem.coding, penalty, solution)
    textbook = _textbook_gap(problem, code, scaled=scaled)
    gap = float(duality_gap(problem.coding.X, problem.coding.D, code[None], problem.lam)[0]) if scaled else textbook
    scale = problem.energy + objective(problem.coding, penalty, code)
    return Measurement(above, gap, scale, {"gap at the residual": textbook}, (("bound", "gap at the residual"),))


l1_gap = Claim(
    name="lq_coding.l1_gap",
    statement=r"F(c) - F^* \le \mathrm{gap}(c) \le F(c) - \tfrac12 \|x\|^2 + \tfrac12 \|x - \theta\|^2,"
    r" \quad \theta = r \min(1, \lambda / \|D^\top r\|_\infty)",
    source=classic("Fenchel duality of the Lasso", "weak duality"),
    verdict=Always(_ROUNDING),
    instances=_lassos,
    evaluate=_gap,
    near_miss=lambda problem: _gap(problem, scaled=False),
)


def _parity(problem: _Lasso, *, per_sample: bool = True) -> Measurement:
    r"""Measure the gap of the active-set code, and compare its objective with that of coordinate descent elsewhere.

    The solver has converged once no correlation exceeds lam by more than :math:`e = 10^{-9} \|D^T x\|_\infty`. To
    scale the residual by :math:`s = \lambda / (\lambda + e)` costs at most :math:`1 - s \le e / \lambda` of the
    objective, which is at most that of the zero code.
    """
    coding, lam = problem.coding, problem.lam
    solution, converged = problem.solution()
    if not converged:
        return Measurement(0.0, 0.0, 1.0)
    allowed = 1e-9 * float(np.abs(coding.correlations).max()) / lam * problem.energy
    gap = float(duality_gap(coding.X, coding.D, solution[None], lam)[0])
    # The objective elsewhere is divided by the length of the signal.
    m = coding.x.size if per_sample else 1
    other = Lasso(alpha=lam / m, fit_intercept=False, tol=1e-9, max_iter=5000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        other.fit(coding.D, coding.x)
    apart = objective(coding, L1(lam), other.coef_) - objective(coding, L1(lam), solution)
    extras = {"distance of the objectives": abs(apart), "gap elsewhere": m * float(other.dual_gap_) + allowed}
    also = (("distance of the objectives", "gap elsewhere"),)
    return Measurement(gap, allowed, problem.energy, extras, also)


l1_parity = Claim(
    name="lq_coding.l1_parity",
    statement=r"\mathrm{gap}(c) \le 10^{-9} \tfrac{\|D^\top x\|_\infty}{\lambda} \tfrac12 \|x\|^2"
    r" \text{ for active-set codes, and } |F(c) - F(c')| \le \mathrm{gap}(c')"
    r" \text{ for those of scikit-learn}",
    source=ours("accuracy of feature-sign search; scikit-learn as the reference"),
    verdict=Always(_ROUNDING),
    instances=_lassos,
    evaluate=_parity,
    near_miss=lambda problem: _parity(problem, per_sample=False),
)
