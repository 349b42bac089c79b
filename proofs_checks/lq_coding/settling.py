"""Claims about how runs of forward-backward splitting with nonconvex penalties end."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.coding.proximal_gradient.step_sizes import step_limit
from sparsetheory.penalties import CEL0, Penalty
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.lq_coding.instances import (
    ALL,
    EPS,
    Coding,
    classic,
    codings,
    decades,
    draw_coding,
    ours,
    penalty_of,
    seeds,
)
from sparsetheory.proofs_checks.lq_coding.runs import take_steps
from sparsetheory.proofs_checks.lq_coding.zero_code import critical_strength
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array


@dataclass(frozen=True)
class _Ending:
    """A run that is given time to settle, and a window after that."""

    coding: Coding
    penalty: Penalty
    step: float
    before: int
    window: int

    def codes(self) -> list[Float64Array]:
        """Return the codes of the window, one after each step."""
        codes = [take_steps(self.coding, self.penalty, self.step, self.before)[0]]
        for _ in range(self.window):
            codes.append(take_steps(self.coding, self.penalty, self.step, 1, codes[-1])[0])
        return codes


def _build_ending(coding: Coding, name: str, part: float, fraction: float, before: int, window: int) -> _Ending:
    step = fraction / coding.L
    strength = part * (critical_strength(name, coding, step, 1.0, 0.5) or 1.0)
    return _Ending(coding, penalty_of(name, strength, 1.0, 0.5, coding.norms), step, before, window)


def _endings() -> st.SearchStrategy[_Ending]:
    return st.builds(
        _build_ending,
        codings(zero=False),
        st.sampled_from(["l0", "cel0"]),
        decades(-3, -0.1),
        st.floats(0.05, 0.99),
        st.integers(5, 200),
        st.integers(1, 12),
    )


def _has_settled(ending: _Ending, codes: list[Float64Array]) -> bool:
    """Say whether the penalty is constant between the codes: one support, and with CEL0 no entry below its knee."""
    least = np.sqrt(2 * ending.penalty.alpha) / ending.coding.norms if isinstance(ending.penalty, CEL0) else 0.0
    return all(np.array_equal(c != 0, codes[0] != 0) and np.all((c == 0) | (np.abs(c) >= least)) for c in codes)


def _linear_rate(ending: _Ending, *, square: bool = True) -> Measurement:
    r"""Compare distances to least squares on the support that is left, step by step.

    There :math:`c_{k+1} - c^* = (I - \tau A_S^T A_S)(c_k - c^*)`, where c* is the least-squares solution that fractions
    with :math:`c_k` its part in the null space of :math:`A_S`; the difference has no such part. Singular values that
    are rounding are taken for zero.
    """
    codes, coding = ending.codes(), ending.coding
    support = codes[0] != 0
    if not support.any() or not _has_settled(ending, codes):
        return Measurement(0.0, 0.0, 1.0)
    u, s, vt = np.linalg.svd(coding.A[:, support], full_matrices=False)
    kept = s > 1e-10 * s[0]
    inverse, least = vt[kept].T @ (u[:, kept] / s[kept]).T, s[kept][-1]
    first, last = (np.linalg.norm(inverse @ (coding.x - coding.A @ code)) for code in (codes[0], codes[-1]))
    rate = 1 - ending.step * (least**2 if square else least)
    # A residual known to a few roundings is divided by the least singular value.
    scale = (np.linalg.norm(coding.x) + s[0] * max(np.linalg.norm(code) for code in codes)) / least
    if first <= 1e-9 * scale:
        # What is left of the distance is rounding.
        return Measurement(0.0, 0.0, 1.0)
    return Measurement(float(last / first), float(rate**ending.window), float(scale / first))


def _draw_ending(rng: np.random.Generator, window: float) -> _Ending:
    coding = draw_coding("gaussian", "sparse", 10, 30, 0.0, int(rng.integers(2**32)))
    return _build_ending(coding, "l0", 0.1, 0.9, 300, int(window))


linear_rate = Claim(
    name="lq_coding.linear_rate",
    summary="Once the support stays, the rest of the distance shrinks at a constant rate.",
    statement=r"\|c_{k+1} - c^*\| \le (1 - \tau \sigma_{\min}(A_S)^2) \|c_k - c^*\|"
    r" \text{ once the support } S \text{ stays, } c^* \text{ least squares on } S",
    source=ours("linear rate after identification, l0 and CEL0 above its knees; also for dependent atoms"),
    # Roundings of at most 12 steps, over the least singular value.
    verdict=Always(1000 * EPS),
    instances=_endings,
    evaluate=_linear_rate,
    near_miss=lambda ending: _linear_rate(ending, square=False),
    sweep=Sweep(
        axis="steps after the support has settled, l0",
        values=(1, 3, 10, 30, 60),
        draw=_draw_ending,
        trials=50,
        quick_trials=5,
        log="y",
        measured_label="distance to least squares on the support, over the first",
        y_label="distance over that at the start",
        bound_label="rate to the number of steps",
    ),
)


@dataclass(frozen=True)
class _Descent:
    """A well-conditioned problem and a step in units of its limit."""

    coding: Coding
    penalty: Penalty
    fraction: float


_STEPS = 2000


def _draw_descent(rng: np.random.Generator, fraction: float) -> _Descent:
    """Draw at most half as many atoms as entries, a penalty of any family, and a strength that selects."""
    coding = draw_coding("gaussian", "sparse", 16, int(rng.integers(1, 9)), 0.0, int(rng.integers(2**32)))
    name, free, q = rng.choice(ALL), 10 ** rng.uniform(-1, 1), rng.choice([0.5, 2 / 3, 0.3])
    strength = 10 ** rng.uniform(-3, -0.3) * critical_strength(name, coding, 1 / coding.L, free, q)
    return _Descent(coding, penalty_of(name, strength, free, q, coding.norms), fraction)


def _converges(descent: _Descent) -> Measurement:
    """Measure criticality after many steps, and the length of the second half of the path against the first.

    Finite length is what the theorem promises. It gives no constant: where CEL0 is nearly flat, a path can be slow for
    as long as one likes.
    """
    coding, penalty = descent.coding, descent.penalty
    code, history = take_steps(coding, penalty, descent.fraction * step_limit(coding.L, penalty), _STEPS)
    moves = np.zeros(_STEPS)
    moves[: history.change.shape[0]] = history.change[:, 0]
    early, late = moves[: _STEPS // 2].sum(), moves[_STEPS // 2 :].sum()
    size = float(np.linalg.norm(coding.x))
    residual = float(np.linalg.norm(penalty.subgrad_dist(code, coding.gradient(code))))
    halves = {"second half of the path": late / size, "first half, times one half": early / 2 / size + 1e-12}
    also = (("second half of the path", "first half, times one half"),)
    return Measurement(residual / size, 1e-8, 1.0, halves, also)


def _too_long(descent: _Descent) -> Measurement:
    """Take steps beyond the limit."""
    with np.errstate(over="ignore", invalid="ignore"):
        return _converges(_Descent(descent.coding, descent.penalty, 1.3))


finite_length = Claim(
    name="lq_coding.finite_length",
    summary="Below the limit of the step, paths have finite length and end at critical points.",
    statement=r"\sum_k \|c_{k+1} - c_k\| < \infty \text{ and } \mathrm{dist}(0, \partial F(c_k)) \to 0"
    r" \text{ below the limit of the step, as } F \text{ is definable}",
    source=classic(
        "Attouch, Bolte, Svaiter, Math. Program. 137 (2013)",
        "convergence under the Kurdyka-Łojasiewicz inequality; 2000 steps on well-conditioned problems are ours",
    ),
    verdict=WithProbability(0.95),
    instances=lambda: st.builds(
        lambda seed, fraction: _draw_descent(np.random.default_rng(seed), fraction), seeds, st.sampled_from([0.5, 0.99])
    ),
    evaluate=_converges,
    near_miss=_too_long,
    sweep=Sweep(
        axis="step over its limit",
        values=(0.3, 0.6, 0.9, 0.99),
        draw=_draw_descent,
        trials=100,
        quick_trials=32,
        quick_values=(0.3, 0.9, 0.99),
        log="y",
        measured_label="distance of zero from the subdifferential, over the signal",
        bound_label="1e-8",
    ),
)
