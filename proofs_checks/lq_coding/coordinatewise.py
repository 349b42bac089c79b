"""Claims about codes that no change of one entry improves: what coordinate descent and CEL0 have in common."""

import warnings
from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.coding import alpha_max, cd_l0, encode
from sparsetheory.penalties import CEL0, L0, Penalty
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.lq_coding.definitions import definition, kinks
from sparsetheory.proofs_checks.lq_coding.instances import (
    ALL,
    EPS,
    JUMPING,
    Coding,
    classic,
    codings,
    decades,
    ours,
    penalty_of,
    shape_of,
)
from sparsetheory.proofs_checks.lq_coding.runs import take_steps
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_TOL = 1e-10
_POINTS = 4001


@dataclass(frozen=True)
class _Problem:
    """A coding with a penalty, and a step in units of 1/L."""

    coding: Coding
    penalty: Penalty
    fraction: float

    def descend(self) -> tuple[Float64Array, bool]:
        """Return the code of coordinate descent, and whether it met its tolerance."""
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            found = encode(self.coding.X, self.coding.A.T, self.penalty, solver="cd", tol=_TOL)
        return found.codes[0], bool(found.converged[0])

    def split(self, steps: int = 300) -> Float64Array:
        """Return the code of forward-backward splitting."""
        return take_steps(self.coding, self.penalty, self.fraction / self.coding.L, steps)[0]


def _problems(names: tuple[str, ...] = ALL) -> st.SearchStrategy[_Problem]:
    def build(coding: Coding, name: str, part: float, free: float, q: float, fraction: float) -> _Problem:
        penalty = penalty_of(name, 1.0, free, q, coding.norms)
        strength = alpha_max(coding.X, coding.A.T, type(penalty), **shape_of(penalty))
        return _Problem(coding, penalty.with_alpha(part * (strength or 1.0)), fraction)

    return st.builds(
        build,
        codings(),
        st.sampled_from(names),
        decades(-2, 0),
        decades(-1, 1),
        st.sampled_from([0.5, 2 / 3]) | st.floats(0.02, 0.95),
        st.sampled_from([0.1, 0.99]),
    )


def _gain_of_one_entry(problem: _Problem, code: Float64Array, target: float, i: int) -> float:
    """Return by how much the best value of one entry, on a grid from 0 to its least-squares value, improves on it."""
    coding, penalty = problem.coding, problem.penalty
    square = float(coding.norms[i]) ** 2
    one = CEL0(penalty.alpha, float(coding.norms[i])) if isinstance(penalty, CEL0) else penalty
    inside = [np.sign(target) * kink for kink in kinks(one) if kink < abs(target)]
    grid = np.concatenate([[code[i]], np.linspace(0.0, target, _POINTS), inside])
    values = square / 2 * (grid - target) ** 2 + definition(one, np.abs(grid))
    return float(values[0] - values.min())


def _coordinatewise(problem: _Problem, *, split: bool = False) -> Measurement:
    """Compare what the best change of one entry gains with what the tolerance of the solver leaves.

    The solver has converged once every entry misses its best value, or exceeds the threshold of zero, by at most the
    tolerance times the largest correlation in units of correlations. That times the distances which entries can move,
    from the code to zero and to least squares, bounds the gain.
    """
    coding = problem.coding
    code, converged = (problem.split(), True) if split else problem.descend()
    if not converged:
        return Measurement(0.0, 0.0, 1.0)
    targets = code - coding.gradient(code) / coding.norms**2
    gains = [_gain_of_one_entry(problem, code, float(target), i) for i, target in enumerate(targets)]
    left = 2 * _TOL * float(np.abs(coding.correlations).max()) * (np.abs(code) + np.abs(targets))
    size = float(coding.x @ coding.x) + float(np.max((coding.norms * targets) ** 2))
    return Measurement.worst(gains, left, max(size, 1e-300))


coordinatewise_optimality = Claim(
    name="lq_coding.coordinatewise_optimality",
    summary="After coordinate descent no change of one entry lowers the objective.",
    statement=r"F(c) \le \min_z F(c_1, \ldots, c_{i-1}, z, c_{i+1}, \ldots, c_n) \text{ for all } i,"
    r" \text{ after coordinate descent}",
    source=ours("limit of exact coordinate descent, every penalty, atoms of any norm"),
    verdict=Always(100 * EPS),
    instances=_problems,
    evaluate=_coordinatewise,
    near_miss=lambda problem: _coordinatewise(problem, split=True),
)


def _least_nonzero(problem: _Problem, *, same_bound: bool = False) -> Measurement:
    r"""Compare nonzeros of both solvers with the jump of the operator that produced them.

    An entry of a coordinate-wise minimiser is the operator at step :math:`1/a_i^2` of something, an entry of a fixed
    point of forward-backward splitting is the operator at its step: short steps allow small entries.
    """
    coding, alpha = problem.coding, problem.penalty.alpha
    q = float(problem.penalty.shape)
    step = problem.fraction / coding.L
    jumps = (2 * alpha * (1 - q) * coding.norms**-2) ** (1 / (2 - q))
    fixed = jumps if same_bound else np.full(jumps.size, (2 * step * alpha * (1 - q)) ** (1 / (2 - q)))
    found = np.abs([problem.descend()[0], problem.split(60)])
    used = found > 0
    return Measurement.worst(np.array([jumps, fixed])[used] / found[used], 1.0)


least_nonzero = Claim(
    name="lq_coding.least_nonzero",
    summary="Entries are zero or larger than the jump of the operator that made them.",
    statement=r"c_i \ne 0 \Rightarrow |c_i| \ge (2 \lambda (1-q) / a_i^2)^{1/(2-q)} \text{ after coordinate descent, }"
    r"(2 \tau \lambda (1-q))^{1/(2-q)} \text{ after forward-backward steps}",
    source=classic(
        "Chen, Xu, Ye, SIAM J. Sci. Comput. 32 (2010)", "lower bound on nonzeros, by the jump of the operator"
    ),
    # A nonzero is the last value of the operator, known to a few roundings.
    verdict=Always(64 * EPS),
    instances=lambda: _problems(JUMPING),
    evaluate=_least_nonzero,
    near_miss=lambda problem: _least_nonzero(problem, same_bound=True),
)


@dataclass(frozen=True)
class _Candidate:
    """A problem with l0 and CEL0, a way to a code, and steps below the inverse squared norms of the atoms."""

    coding: Coding
    alpha: float
    way: str

    @property
    def knees(self) -> Float64Array:
        return np.sqrt(2 * self.alpha) / self.coding.norms

    def code(self) -> Float64Array:
        """Return a code none of whose entries lies strictly between zero and its knee."""
        coding, n = self.coding, self.coding.norms.size
        if self.way in ("greedy", "cyclic"):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", ConvergenceWarning)
                code = cd_l0(coding.X, coding.A.T, alpha=self.alpha, rule=self.way, tol=_TOL, max_iter=1000).codes[0]
        elif self.way == "support":
            support = coding.rng().random(n) < 0.3
            code = np.zeros(n)
            code[support] = np.linalg.lstsq(coding.A[:, support], coding.x, rcond=None)[0]
        else:
            penalty = L0(self.alpha) if self.way == "short steps" else CEL0(self.alpha, coding.norms)
            code = take_steps(coding, penalty, (0.01 if self.way == "short steps" else 0.99) / coding.L, 200)[0]
        return np.where(np.abs(code) < self.knees, 0.0, code)


def _candidates() -> st.SearchStrategy[_Candidate]:
    def build(coding: Coding, part: float, way: str) -> _Candidate:
        return _Candidate(coding, part * (float(coding.x @ coding.x) / 2 or 1.0), way)

    ways = st.sampled_from(["greedy", "cyclic", "support", "short steps", "CEL0"])
    return st.builds(build, codings(), decades(-4, 0), ways)


def _best_gains(candidate: _Candidate, code: Float64Array) -> Float64Array:
    """Return by how much the best value of each entry alone lowers the l0 objective."""
    coding = candidate.coding
    squares, slopes = coding.norms**2, -coding.gradient(code)
    now = slopes**2 / (2 * squares) + candidate.alpha * (code != 0)
    return now - np.minimum((slopes + squares * code) ** 2 / (2 * squares), candidate.alpha)


def _both_optimal(candidate: _Candidate, *, of_l0: bool = False) -> Measurement:
    r"""Compare what one entry can gain under l0 with how far the code is from critical under CEL0, both ways.

    With :math:`\delta_i` the distance of CEL0 from criticality, which is the residual correlation on the support and
    its excess over :math:`\sqrt{2\lambda} a_i` off it, the gain lies between :math:`\delta_i^2 / (2a_i^2)` and
    :math:`\delta_i^2 / (2a_i^2) + \sqrt{2\lambda}\,\delta_i / a_i`. So one vanishes with the other.
    """
    coding, code = candidate.coding, candidate.code()
    penalty = L0(candidate.alpha) if of_l0 else CEL0(candidate.alpha, coding.norms)
    delta = penalty.subgrad_dist(code, coding.gradient(code)) / coding.norms
    gains = _best_gains(candidate, code)
    left = np.concatenate([gains, delta**2 / 2])
    right = np.concatenate([delta**2 / 2 + np.sqrt(2 * candidate.alpha) * delta, gains])
    # Correlations carry roundings of |x| + |A c|, which a gain multiplies by the larger of themselves and the knee.
    size = float(np.linalg.norm(coding.x) + np.abs(code) @ coding.norms + np.sqrt(candidate.alpha))
    return Measurement.worst(left, right, size**2)


cel0_critical_points = Claim(
    name="lq_coding.cel0_critical_points",
    summary="Critical points of CEL0 are the codes that no change of one entry improves under l0.",
    statement=r"\tfrac{\delta_i^2}{2a_i^2} \le F_0(c) - \min_z F_0(c_{-i}, z)"
    r" \le \tfrac{\delta_i^2}{2a_i^2} + \sqrt{2\lambda} \tfrac{\delta_i}{a_i},"
    r" \quad \delta_i = \mathrm{dist}(0, \partial_i F_{\mathrm{CEL0}}(c)),"
    r" \ |c_i| \notin (0, \sqrt{2\lambda}/a_i)",
    source=ours("critical points of CEL0 are the coordinate-wise minimisers of l0, with constants"),
    verdict=Always(200 * EPS),
    instances=_candidates,
    evaluate=_both_optimal,
    near_miss=lambda candidate: _both_optimal(candidate, of_l0=True),
)


def _fixed_at_every_step(candidate: _Candidate, *, nonexpansive: bool = False) -> Measurement:
    r"""Compare how far a step of CEL0 moves each entry, over the step, with its distance from criticality.

    Off the support, :math:`u = \tau\rho` becomes :math:`\tau(|\rho| - \sqrt{2\lambda} a)_+ / (1 - \tau a^2)`, at most
    u. On it, :math:`c - \tau g` stays, or is pulled towards zero by a line of slope :math:`1/(1 - \tau a^2)` that ends
    in the knee, at most c. Only if it has changed sign can the pull shorten the move; then the move is longer than c.
    """
    coding, code = candidate.coding, candidate.code()
    penalty, gradient = CEL0(candidate.alpha, coding.norms), coding.gradient(code)
    delta, top = penalty.subgrad_dist(code, gradient), float(coding.norms.max())
    left, right = [], []
    for fraction in (0.01, 0.5, 0.9):
        step = fraction / top**2
        moved = np.abs(code - penalty.prox(code - step * gradient, step)) / step
        stretch = 1.0 if nonexpansive else 1 / (1 - step * coding.norms**2)
        least = np.where(code != 0, np.minimum(delta, np.abs(code) / step), delta)
        left += [least, moved]
        right += [moved, delta * stretch]
    # Steps of 0.01 turn roundings of the code into a hundred times as large ones.
    size = top * (np.linalg.norm(coding.x) + top * np.abs(code).max())
    return Measurement.worst(left, right, 1e3 * max(float(size), 1e-300))


fixed_at_every_step = Claim(
    name="lq_coding.fixed_at_every_step",
    summary="What a step of CEL0 leaves alone does not depend on the length of the step.",
    statement=r"\min(\delta_i, \tfrac{|c_i|}{\tau} \text{ if } c_i \ne 0)"
    r" \le \tfrac1\tau |c_i - \mathrm{prox}_{\tau \phi}(c_i - \tau \nabla_i f(c))|"
    r" \le \frac{\delta_i}{1 - \tau a_i^2} \text{ for CEL0 and every } \tau < a_i^{-2},"
    r" \ |c_i| \notin (0, \sqrt{2\lambda}/a_i)",
    source=ours("fixed points of CEL0 do not depend on the step, with constants"),
    verdict=Always(10 * EPS),
    instances=_candidates,
    evaluate=_fixed_at_every_step,
    near_miss=lambda candidate: _fixed_at_every_step(candidate, nonexpansive=True),
)
