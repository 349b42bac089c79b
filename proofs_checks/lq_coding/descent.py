"""Claims about single steps of forward-backward splitting: how much they gain, where they lead, how often they flip."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.coding.proximal_gradient.step_sizes import step_limit
from sparsetheory.penalties import Penalty
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.lq_coding.instances import (
    ALL,
    EPS,
    JUMPING,
    Coding,
    classic,
    codings,
    decades,
    draw_coding,
    ours,
    penalty_of,
)
from sparsetheory.proofs_checks.lq_coding.runs import take_steps
from sparsetheory.proofs_checks.lq_coding.zero_code import critical_strength
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_ABS = "Attouch, Bolte, Svaiter, Math. Program. 137 (2013)"
# Residuals and correlations of at most 20 atoms of length 10, squared and summed.
_ROUNDING = 1000 * EPS


@dataclass(frozen=True)
class _Run:
    """Some steps from a code.

    Parameters
    ----------
    coding : Coding
        Atoms and signal.
    penalty : Penalty
        Of the code.
    step : float
        Step size.
    count : int
        Number of steps.
    from_zero : bool
        Whether to start at zero, or at a random sparse code.
    """

    coding: Coding
    penalty: Penalty
    step: float
    count: int
    from_zero: bool

    @property
    def start(self) -> Float64Array:
        """The first code."""
        n, rng = self.coding.A.shape[1], self.coding.rng()
        code = rng.standard_normal(n) * (rng.random(n) < 0.5) / self.coding.norms
        return np.zeros(n) if self.from_zero else code

    @property
    def scale(self) -> float:
        """What roundings of objectives are relative to."""
        start = self.start
        return float(self.coding.x @ self.coding.x) + self.coding.L * float(start @ start) + self.penalty.value(start)


@st.composite
def _runs(draw: st.DrawFn, names: tuple[str, ...] = ALL, *, max_count: int = 8, from_zero: bool = False) -> _Run:
    """Search runs below the limit of the step, with strengths around the one that leaves zero alone.

    Parameters
    ----------
    draw : callable
        Supplied by hypothesis.
    names : tuple of str
        Families of penalties.
    max_count : int
        Most steps.
    from_zero : bool
        Whether all runs start at zero.
    """
    coding = draw(codings())
    fraction = draw(st.sampled_from([0.99, 0.5]) | st.floats(0.01, 0.999))
    name, free = draw(st.sampled_from(names)), draw(decades(-1, 1))
    q = draw(st.sampled_from([0.5, 2 / 3]) | st.floats(0.02, 0.95))
    critical = critical_strength(name, coding, fraction / coding.L, free, q)
    part = draw(st.sampled_from([0.999999, 0.99, 0.9, 1.01]) | decades(-3, 0))
    penalty = penalty_of(name, part * (critical or 1.0), free, q, coding.norms)
    count = draw(st.integers(1, max_count))
    return _Run(coding, penalty, fraction * step_limit(coding.L, penalty), count, from_zero or draw(st.booleans()))


def _decrease(run: _Run, *, all_convex: bool = False) -> Measurement:
    r"""Compare what steps gain with their squared length.

    The objective of the operator, :math:`\tfrac1{2\tau}\|c - u\|^2 + \phi(c)` with
    :math:`u = c_k - \tau \nabla f(c_k)`, falls by at least half of :math:`(1/\tau - \rho)_+ \|\Delta\|^2`, by strong
    convexity where the difference is positive. The loss lies below its tangent at :math:`c_k` plus
    :math:`\tfrac{L}{2}\|\Delta\|^2`. Add both.
    """
    _, history = take_steps(run.coding, run.penalty, run.step, run.count, run.start)
    gains, lengths = -np.diff(history.objective[:, 0]), history.change[:, 0] ** 2
    rho = 0.0 if all_convex else run.penalty.weak_convexity()
    factor = (1 / run.step - run.coding.L + max(1 / run.step - rho, 0.0)) / 2
    return Measurement.worst(factor * lengths, gains, max(run.scale, 1e-300))


def _weakly_convex_runs(rng: np.random.Generator, fraction: float) -> _Run:
    coding = draw_coding("gaussian", "sparse", 10, 30, 0.0, int(rng.integers(2**32)))
    penalty = penalty_of("cel0", 0.01, 1.0, 0.5, coding.norms)
    return _Run(coding, penalty, fraction * step_limit(coding.L, penalty), 1, False)


sufficient_decrease = Claim(
    name="lq_coding.sufficient_decrease",
    summary="Every step below the limit lowers the objective by at least its squared length times a constant.",
    statement=r"F(c_k) - F(c_{k+1}) \ge \tfrac12 \left[ (\tfrac1\tau - L) + (\tfrac1\tau - \rho)_+ \right]"
    r" \|c_{k+1} - c_k\|^2 \ge 0 \text{ for } \tau < 2 / (L + \min(\rho, L))",
    source=ours("sufficient decrease for every penalty; without weak convexity it is that of " + _ABS),
    verdict=Always(_ROUNDING),
    instances=_runs,
    evaluate=_decrease,
    near_miss=lambda run: _decrease(run, all_convex=True),
    sweep=Sweep(
        axis="step over its limit 2/(L + rho), CEL0",
        values=(0.1, 0.3, 0.5, 0.7, 0.9, 0.99),
        draw=_weakly_convex_runs,
        trials=100,
        quick_trials=20,
        log="y",
        measured_label="guaranteed decrease",
        y_label="decrease of the objective",
        bound_label="decrease of one step",
    ),
)


def _shortest(run: _Run, power: float = 1.0) -> Measurement:
    """Compare the shortest of k steps with the objective at the start: all decreases together are at most that."""
    _, history = take_steps(run.coding, run.penalty, run.step, run.count, run.start)
    lengths = np.minimum.accumulate(history.change[:, 0] ** 2)
    k = np.arange(1, lengths.size + 1)
    bounds = 2 * history.objective[0, 0] / ((1 / run.step - run.coding.L) * k**power)
    worst = int(np.argmax(lengths - bounds))
    return Measurement(float(lengths[worst]), float(bounds[worst]), max(float(bounds[0]), 1e-300))


def _general_runs(names: tuple[str, ...] = ALL, max_count: int = 8, **options: bool) -> st.SearchStrategy[_Run]:
    """Search runs with steps below 1/L."""
    drawn = _runs(names, max_count=max_count, **options)
    return drawn.filter(lambda run: run.step * run.coding.L < 0.999)


def _draw_long(rng: np.random.Generator, count: float) -> _Run:
    coding = draw_coding("gaussian", "sparse", 10, 30, 1.0, int(rng.integers(2**32)))
    penalty = penalty_of("lq", 0.01, 1.0, 0.5, coding.norms)
    return _Run(coding, penalty, 0.9 / coding.L, int(count), True)


shortest_step = Claim(
    name="lq_coding.shortest_step",
    summary="The shortest of k steps is at most of order one over the root of k.",
    statement=r"\min_{j < k} \|c_{j+1} - c_j\|^2 \le \frac{2 F(c_0)}{(1/\tau - L)\, k} \text{ for } \tau < 1/L",
    source=classic(_ABS, "consequence of sufficient decrease"),
    verdict=Always(_ROUNDING),
    instances=lambda: _general_runs(max_count=60),
    evaluate=_shortest,
    near_miss=lambda run: _shortest(run, power=2.0),
    sweep=Sweep(
        axis="steps",
        values=(1, 3, 10, 30, 100, 300),
        draw=_draw_long,
        trials=50,
        quick_trials=10,
        log="xy",
        measured_label="shortest step, squared; l1/2",
        y_label="squared length of a step",
        bound_label="bound",
    ),
)


def _residual(run: _Run, factor: float = 1.0) -> Measurement:
    r"""Compare the distance of zero from the subdifferential with the length of the step that led there.

    Optimality of the operator puts :math:`(c_k - c_{k+1})/\tau - \nabla f(c_k)` into the subdifferential of the penalty
    at the new code. Add its gradient there: what remains is :math:`(I/\tau - A^T A)(c_k - c_{k+1})`, and the matrix has
    eigenvalues between :math:`1/\tau - L` and :math:`1/\tau`.
    """
    code, history = take_steps(run.coding, run.penalty, run.step, run.count, run.start)
    distance = np.linalg.norm(run.penalty.subgrad_dist(code, run.coding.gradient(code)))
    slope = max(1 / run.step, run.coding.L - 1 / run.step)
    # Entries of the last code carry roundings of its argument, which the step divides.
    size = np.linalg.norm(code) / run.step + run.coding.norms.max() * np.linalg.norm(run.coding.x)
    return Measurement(float(distance), factor * slope * float(history.change[-1, 0]), max(float(size), 1e-300))


criticality_of_steps = Claim(
    name="lq_coding.criticality_of_steps",
    summary="A short step ends near a critical point.",
    statement=r"\mathrm{dist}(0, \partial F(c_{k+1})) \le \max(\tfrac1\tau, L - \tfrac1\tau)\, \|c_{k+1} - c_k\|",
    source=ours("relative error of a step; sharper than 1/tau + L in " + _ABS),
    verdict=Always(_ROUNDING),
    instances=_runs,
    evaluate=_residual,
    near_miss=lambda run: _residual(run, factor=0.5),
)


def _flips(run: _Run, *, forget_the_loss: bool = False) -> Measurement:
    """Count entries that become zero or cease to be, and compare with the objective over the least cost of a flip.

    Each of them moves by at least the jump of the operator, so a step with s flips is at least ``sqrt(s)`` jumps long.
    """
    _, history = take_steps(run.coding, run.penalty, run.step, run.count)
    gap = 1 / run.step - (0.0 if forget_the_loss else run.coding.L)
    bound = 2 * history.objective[0, 0] / (gap * float(run.penalty.jump(run.step)) ** 2)
    return Measurement(float(history.flips.sum()), float(bound), extras={"steps": float(history.change.shape[0])})


def _crowded_pair(angle: float, lead: float, fraction: float) -> _Run:
    """Return two atoms that both switch on at once, whereupon the weaker one overshoots and switches off."""
    second = np.array([np.cos(angle), np.sin(angle)])
    A = np.column_stack([[1.0, 0.0], second])
    correlations = np.array([1.0, 1.0 - lead])
    coding = Coding(A, np.linalg.solve(A.T, correlations), 0)
    step = fraction / coding.L
    return _Run(coding, penalty_of("l0", 0.999 * step * correlations[1] ** 2 / 2, 1.0, 0.5), step, 30, True)


def _flipping_runs() -> st.SearchStrategy[_Run]:
    pairs = st.builds(_crowded_pair, st.floats(0.2, 1.4), decades(-3, -1), st.floats(0.5, 0.998))
    return _general_runs(JUMPING, max_count=60, from_zero=True) | pairs


def _draw_flipping(rng: np.random.Generator, fraction: float) -> _Run:
    coding = draw_coding("common part", "sparse", 10, 40, 0.0, int(rng.integers(2**32)))
    step = fraction / coding.L
    strength = 0.1 * critical_strength("l0", coding, step, 1.0, 0.5)
    return _Run(coding, penalty_of("l0", strength, 1.0, 0.5), step, 500, True)


flip_budget = Claim(
    name="lq_coding.flip_budget",
    summary="Iterative thresholding changes its support a bounded number of times.",
    statement=r"\sum_k \#\{i : 1\{c_{k+1,i} \ne 0\} \ne 1\{c_{k,i} \ne 0\}\}"
    r" \le \frac{2 F(0)}{(1/\tau - L) J^2} \text{ from } c_0 = 0,\ J = (2 \tau \lambda (1-q))^{1/(2-q)}",
    source=ours("budget of support changes for operators that jump"),
    verdict=Always(_ROUNDING),
    instances=_flipping_runs,
    evaluate=_flips,
    near_miss=lambda run: _flips(run, forget_the_loss=True),
    sweep=Sweep(
        axis="step times L, l0",
        values=(0.03, 0.1, 0.3, 0.9),
        draw=_draw_flipping,
        trials=50,
        quick_trials=10,
        log="xy",
        measured_label="support changes",
        bound_label="budget",
    ),
)
