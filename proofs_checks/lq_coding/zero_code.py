"""Claims about the zero code: up to which strength it is left, and that below l1 it is always a local minimiser."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.coding import alpha_max
from sparsetheory.penalties import Penalty
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.lq_coding.instances import (
    ALL,
    EPS,
    Coding,
    codings,
    decades,
    ours,
    penalty_of,
    seeds,
    shape_of,
)
from sparsetheory.proofs_checks.lq_coding.runs import take_steps
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

__all__ = ["critical_strength"]


def critical_strength(name: str, coding: Coding, step: float, free: float, q: float) -> float:
    """Return the least strength at which a step from zero stays there, by inverting the threshold of the operator.

    Parameters
    ----------
    name : str
        Family of the penalty; "cel0" with the norms of the atoms.
    coding : Coding
        Atoms and signal.
    step : float
        Step size.
    free, q : float
        As in :func:`penalty_of`. The strength of log-sum is right for steps up to eps over the largest correlation.

    Returns
    -------
    float
    """
    c = np.abs(coding.correlations)
    top = float(c.max())
    if name == "l0":
        return step * top**2 / 2
    if name == "lq":
        threshold = (2 * (1 - q)) ** (1 / (2 - q)) * (2 - q) / (2 * (1 - q))
        return step ** (1 - q) * (top / threshold) ** (2 - q)
    if name == "cel0":
        return float(np.max(c**2 / 2 * np.maximum(coding.norms**-2.0, step)))
    if name == "log_sum":
        return top * free
    plateau = {"mcp": free, "scad": 3 + free, "l1": np.inf}
    if name == "capped_l1":
        return max(top, step * top**2 / (2 * free))
    return top * max(1.0, float(np.sqrt(step / plateau[name])))


@dataclass(frozen=True)
class _FirstStep:
    """A coding, a family of penalties, and a step."""

    coding: Coding
    name: str
    step: float
    free: float
    q: float

    def penalty(self, alpha: float) -> Penalty:
        return penalty_of(self.name, alpha, self.free, self.q, self.coding.norms)

    @property
    def threshold_is_explicit(self) -> bool:
        return self.name != "log_sum" or self.step * np.abs(self.coding.correlations).max() <= self.free


def _first_steps() -> st.SearchStrategy[_FirstStep]:
    q = st.sampled_from([0.5, 2 / 3, 0.3]) | st.floats(0.02, 0.95) | st.floats(0.95, 0.999)
    built = st.builds(_FirstStep, codings(), st.sampled_from(ALL), decades(-2, 1), decades(-1, 1), q)
    return built.filter(lambda instance: instance.threshold_is_explicit)


def _zero_is_left(instance: _FirstStep, at_step: float | None = None) -> Measurement:
    """Take a step from zero just above and just below the critical strength, and compare with the library's own.

    A step from zero thresholds ``step * A'x`` entry by entry, so nothing happens iff the largest correlation is at
    most the zero threshold over the step. Half, 2/3 and hard thresholding depend on the step, soft does not, and CEL0
    does not below the inverse squared norm of an atom.
    """
    coding = instance.coding
    strength = critical_strength(instance.name, coding, at_step or instance.step, instance.free, instance.q)
    top = float(np.abs(coding.correlations).max())
    # The correlations of two products differ by roundings of |atom| |signal|; strengths are at most their square.
    slack = 32 * EPS * coding.x.size * (1 + np.linalg.norm(coding.x) * coding.norms.max() / max(top, 1e-300))
    above, below = (
        take_steps(coding, instance.penalty(strength * (1 + sign * slack)), instance.step, 1)[0] for sign in (1, -1)
    )
    penalty = instance.penalty(1.0)
    library = alpha_max(coding.X, coding.A.T, type(penalty), instance.step, **shape_of(penalty))
    stays = float(not below.any()) if strength > 0 else 0.0
    wrong = max(float(abs(library - strength)) - slack * strength, 0.0) / max(strength, 1e-300)
    return Measurement.worst([np.count_nonzero(above), stays, wrong], 0.0, 1.0)


zero_is_kept = Claim(
    name="lq_coding.zero_is_kept",
    summary="The strength from which on the zero code stays is known for every penalty.",
    statement=r"\mathrm{prox}_{\tau \phi}(\tau A^\top x) = 0 \Leftrightarrow \lambda \ge \lambda_{\max}(\tau):"
    r" \ \|A^\top x\|_\infty\ (\ell_1), \ \tfrac\tau2 \|A^\top x\|_\infty^2\ (\ell_0),"
    r" \ \max_i \tfrac{(A_i^\top x)^2}{2 a_i^2}\ (\mathrm{CEL0},\ \tau a_i^2 \le 1)",
    source=ours("strength at which zero becomes a fixed point, for every penalty"),
    verdict=Always(0.0),
    instances=_first_steps,
    evaluate=_zero_is_left,
    near_miss=lambda instance: _zero_is_left(instance, at_step=1.0),
)


@dataclass(frozen=True)
class _NearZero:
    """A coding, a strength, an exponent below one, and small codes in units of the radius around zero."""

    coding: Coding
    alpha: float
    q: float
    seed: int

    def codes(self) -> Float64Array:
        """Return codes of all scales up to the radius, some of them along the correlations."""
        rng = np.random.default_rng(self.seed)
        c = self.coding.correlations
        radius = min((self.alpha / max(np.abs(c).max(), 1e-9)) ** (1 / (1 - self.q)), 1e6)
        signs = np.where(rng.random((20, 1)) < 0.7, np.sign(c), rng.choice([-1.0, 1.0], (20, c.size)))
        kept = rng.random((20, c.size)) < 10 ** rng.uniform(-1, 0, (20, 1))
        return radius * signs * kept * rng.random((20, c.size)) ** 3


def _near_zero(instance: _NearZero, penalty: Penalty | None = None) -> Measurement:
    r"""Compare what a small code gains in the loss with what it costs.

    It gains at most :math:`c_0 \|c\|_1` with :math:`c_0 = \|A^T x\|_\infty`, and while every entry is at most
    :math:`(\lambda / c_0)^{1/(1-q)}`, every :math:`\lambda |c_i|^q` is at least :math:`c_0 |c_i|`.
    """
    coding = instance.coding
    used = penalty or penalty_of("lq" if instance.q else "l0", instance.alpha, 1.0, instance.q)
    codes = instance.codes()
    gains = codes @ coding.correlations - np.sum((codes @ coding.A.T) ** 2, axis=1) / 2
    costs = np.array([used.value(code) for code in codes])
    worst = np.argmax((gains - costs) / np.maximum(costs, 1e-300))
    return Measurement(float(gains[worst]), float(costs[worst]))


zero_is_local_minimum = Claim(
    name="lq_coding.zero_is_local_minimum",
    summary="Below l1, the zero code is optimal within a ball around it.",
    statement=r"\|c\|_\infty \le (\lambda / \|A^\top x\|_\infty)^{1/(1-q)} \Rightarrow F(c) \ge F(0)"
    r" \text{ for } \phi = \lambda |\cdot|^q,\ 0 \le q < 1",
    source=ours("ball in which the zero code is optimal"),
    # The radius is a power of at most 20, its argument known to a few roundings; sums have at most 20 terms.
    verdict=Always(400 * EPS),
    instances=lambda: st.builds(
        _NearZero,
        codings(),
        decades(-2, 1),
        st.sampled_from([0.0, 0.5, 2 / 3]) | st.floats(0.02, 0.95),
        seeds,
    ),
    evaluate=_near_zero,
    near_miss=lambda instance: _near_zero(instance, penalty_of("l1", instance.alpha, 1.0, 0.5)),
)
