"""Claims about the rates of forward-backward splitting with l1, plain and accelerated."""

import warnings
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import encode
from sparsetheory.penalties import L1
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.lq_coding.instances import (
    EPS,
    Coding,
    classic,
    codings,
    decades,
    draw_coding,
    objective,
)
from sparsetheory.proofs_checks.lq_coding.runs import take_steps
from sparsetheory.proofs_checks.verdicts import Always

_BECK = "Beck, Teboulle, SIAM J. Imaging Sci. 2 (2009)"
# Residuals and correlations of at most 30 atoms of length 10, squared and summed, over some hundred steps.
_ROUNDING = 1e4 * EPS


@dataclass(frozen=True)
class _Convex:
    """An l1 problem and a number of steps."""

    coding: Coding
    alpha: float
    count: int

    @property
    def energy(self) -> float:
        """Squared norm of the signal."""
        return max(float(self.coding.x @ self.coding.x), 1e-300)


def _convex() -> st.SearchStrategy[_Convex]:
    def build(coding: Coding, part: float, count: int) -> _Convex:
        return _Convex(coding, part * (np.abs(coding.correlations).max() or 1.0), count)

    return st.builds(build, codings(), decades(-4, 0), st.integers(1, 100))


def _draw_convex(rng: np.random.Generator, count: float) -> _Convex:
    coding = draw_coding("gaussian", "sparse", 10, 30, 0.0, int(rng.integers(2**32)))
    return _Convex(coding, 0.01 * float(np.abs(coding.correlations).max()), int(count))


def _run(problem: _Convex, *, accelerated: bool) -> tuple[float, int, float]:
    """Return how far some steps of 1/L end above the active-set code, how many they were, and L times its square."""
    coding, penalty = problem.coding, L1(problem.alpha)
    _, history = take_steps(coding, penalty, 1 / coding.L, problem.count, accelerated=accelerated)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)
        best = encode(coding.X, coding.A.T, penalty, solver="fss", tol=1e-9).codes[0]
    above = float(history.objective[-1, 0]) - objective(coding, penalty, best)
    return above, history.change.shape[0], coding.L * float(best @ best)


def _ista(problem: _Convex, power: float = 1.0) -> Measurement:
    """Compare k plain steps with any code, here that of the active-set solver."""
    above, k, size = _run(problem, accelerated=False)
    return Measurement(above, size / (2 * k**power), problem.energy)


def _fista(problem: _Convex, constant: float = 2.0) -> Measurement:
    """Compare k accelerated steps with any code, here that of the active-set solver."""
    above, k, size = _run(problem, accelerated=True)
    return Measurement(above, constant * size / (k + 1) ** 2, problem.energy)


_STEPS = (1, 3, 10, 30, 100, 300)

ista_rate = Claim(
    name="lq_coding.ista_rate",
    summary="Plain steps approach the l1 minimum at least like one over their number.",
    statement=r"F(c_k) - F(c) \le \frac{L \|c_0 - c\|^2}{2k} \text{ for } \ell_1,\ \tau = 1/L, \text{ every } c",
    source=classic(_BECK, "Theorem 3.1"),
    verdict=Always(_ROUNDING),
    instances=_convex,
    evaluate=_ista,
    near_miss=lambda problem: _ista(problem, power=2.0),
    sweep=Sweep(
        axis="steps",
        values=_STEPS,
        draw=_draw_convex,
        trials=50,
        quick_trials=8,
        log="xy",
        measured_label="ISTA, objective above its minimum",
        y_label="objective above its minimum",
        bound_label="bound",
    ),
)

fista_rate = Claim(
    name="lq_coding.fista_rate",
    summary="Accelerated steps approach the l1 minimum at least like one over the square of their number.",
    statement=r"F(c_k) - F(c) \le \frac{2 L \|c_0 - c\|^2}{(k+1)^2} \text{ for } \ell_1 \text{ with extrapolation}",
    source=classic(_BECK, "Theorem 4.4"),
    verdict=Always(_ROUNDING),
    instances=_convex,
    evaluate=_fista,
    near_miss=lambda problem: _fista(problem, constant=0.5),
    sweep=Sweep(
        axis="steps",
        values=_STEPS,
        draw=_draw_convex,
        trials=50,
        quick_trials=8,
        log="xy",
        measured_label="FISTA, objective above its minimum",
        y_label="objective above its minimum",
        bound_label="bound",
    ),
)
