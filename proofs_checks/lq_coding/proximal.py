"""Claims about thresholding operators: what they minimise, where they jump, how fast they grow."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsetheory.penalties import MCP, Penalty
from sparsetheory.proofs_checks.claim import Claim, Measurement
from sparsetheory.proofs_checks.lq_coding.definitions import definition, kinks
from sparsetheory.proofs_checks.lq_coding.instances import (
    ALL,
    EPS,
    WEAKLY_CONVEX,
    classic,
    decades,
    ours,
    penalties,
    penalty_of,
    wide,
)
from sparsetheory.proofs_checks.verdicts import Always

_Array = NDArray[np.float64]
_POINTS = 20001
_PLACES = ("anywhere", "zero", "at the threshold", "just above", "just below", "near the threshold")


@dataclass(frozen=True)
class _Shrinkage:
    """A number to be thresholded."""

    penalty: Penalty
    step: float
    u: float


def _threshold_or(penalty: Penalty, step: float, size: float, place: str) -> _Shrinkage:
    threshold = penalty.zero_threshold(step)
    places = (
        size,
        0.0,
        threshold,
        np.nextafter(threshold, np.inf),
        np.nextafter(threshold, 0.0),
        threshold * (1 + size / 100),
    )
    return _Shrinkage(penalty, step, float(places[_PLACES.index(place)]))


def _shrinkages(names: tuple[str, ...] = ALL) -> st.SearchStrategy[_Shrinkage]:
    """Search numbers, half of them at or around the threshold of their penalty; steps make it jump or not."""
    return st.builds(
        _threshold_or,
        penalties(names),
        wide(-2, 1),
        wide(-2, 1.3),
        st.just("anywhere") | st.sampled_from(_PLACES[1:]),
    )


# Shapes at which every penalty is checked in every instance, besides one that is searched.
_SHAPES: dict[str, tuple[float, ...]] = {
    "l1": (1.0,),
    "l0": (1.0,),
    "lq": (0.1, 0.3, 0.5, 2 / 3, 0.9),
    "cel0": (0.5, 1.0, 2.0),
    "mcp": (0.5, 3.0, 10.0),
    "scad": (0.1, 1.7, 8.0),
    "log_sum": (0.1, 1.0, 10.0),
    "capped_l1": (0.1, 1.0, 10.0),
}


@dataclass(frozen=True)
class _Shrinkages:
    """One number to be thresholded for every penalty, and another one for a penalty that is searched."""

    alpha: float
    step: float
    size: float
    place: str
    other: _Shrinkage

    def each(self) -> list[_Shrinkage]:
        """Return what is to be thresholded, penalty by penalty."""
        family = [penalty_of(name, self.alpha, shape, shape, shape) for name in ALL for shape in _SHAPES[name]]
        return [*(_threshold_or(penalty, self.step, self.size, self.place) for penalty in family), self.other]


def _all_shrinkages() -> st.SearchStrategy[_Shrinkages]:
    places = st.just("anywhere") | st.sampled_from(_PLACES[1:])
    return st.builds(_Shrinkages, wide(-2, 1), wide(-2, 1), wide(-2, 1.3), places, _shrinkages())


def _excess(instance: _Shrinkage, used: Penalty) -> float:
    """Return by how much the objective at the thresholded number exceeds its minimum, relative to ``u^2 / 2``.

    The minimum is over a grid from 0 to u and all kinks. Outside of that interval nothing is better: the penalty does
    not decrease with the size of its argument, and the square does not either beyond u.
    """
    penalty, step, u = instance.penalty, instance.step, instance.u
    grid = np.concatenate([np.linspace(0.0, u, _POINTS), [k for k in kinks(penalty) if k <= u]])
    found = np.array([used.prox(u, step)])
    at_found, on_grid = ((x - u) ** 2 / 2 + step * definition(penalty, x) for x in (found, grid))
    return float(at_found[0] - on_grid.min()) / (u**2 / 2) if u > 0 else float(at_found[0])


def _minimum(instance: _Shrinkages) -> Measurement:
    """Find the penalty whose operator is furthest from the minimum."""
    return Measurement(float(np.max([_excess(one, one.penalty) for one in instance.each()])), 0.0, 1.0)


def _half_the_strength(instance: _Shrinkages) -> Measurement:
    """Forget the factor 1/2 of the square, as operators that minimise ``(x - u)^2 + step alpha |x|^q`` do."""
    halved = [_excess(one, one.penalty.with_alpha(one.penalty.alpha / 2)) for one in instance.each()]
    return Measurement(float(np.max(halved)), 0.0, 1.0)


prox_optimality = Claim(
    name="lq_coding.prox_optimality",
    summary="Thresholding operators minimise what they are defined by.",
    statement=r"\tfrac12 (p - u)^2 + \tau \phi(p) = \min_x \tfrac12 (x - u)^2 + \tau \phi(x),"
    r" \quad p = \mathrm{prox}_{\tau \phi}(u)",
    source=classic("definition of the proximal operator, for eight penalties in 22 shapes", "global minimality"),
    # Both terms are at most u^2 / 2 at the minimum, and each is known to some ten roundings, powers included.
    verdict=Always(64 * EPS),
    instances=_all_shrinkages,
    evaluate=_minimum,
    near_miss=_half_the_strength,
)


def _lq_gap(instance: _Shrinkage, half: float = 1.0) -> Measurement:
    r"""Compare u with the threshold, and what is not zero with the jump.

    With c = step alpha, zero loses as soon as :math:`x/2 + c x^{q-1} < u` for some x; the left-hand side is least at
    :math:`x^* = (2c(1-q))^{1/(2-q)}`, where it is :math:`u^* = x^* (2-q)/(2(1-q))`. Beyond u* the minimiser is the
    larger root of :math:`x + cqx^{q-1} = u`, which grows with u from x*.
    """
    q, c = float(instance.penalty.shape), half * instance.step * instance.penalty.alpha
    jump = (2 * c * (1 - q)) ** (1 / (2 - q))
    threshold = jump * (2 - q) / (2 * (1 - q))
    p = float(instance.penalty.prox(instance.u, instance.step))
    if p == 0:
        return Measurement(instance.u, threshold)
    return Measurement.worst([threshold, jump], [instance.u, p], threshold)


lq_gap = Claim(
    name="lq_coding.lq_gap",
    summary="The operators of lq jump from zero at their threshold, by the known amount.",
    statement=r"\mathrm{prox}(u) = 0 \Leftrightarrow |u| \le u^*, \quad"
    r" |\mathrm{prox}(u)| \ge x^* = (2 \tau \lambda (1-q))^{1/(2-q)} \text{ otherwise}",
    source=classic(
        "Marjanovic, Solo (2012); Xu, Chang, Xu, Zhang (2012) for q = 1/2; Cao, Sun, Xu (2013) for q = 2/3",
        "threshold and jump of lq",
    ),
    # Powers with exponents of at most one, on both sides, and a root whose derivative is at most 2.
    verdict=Always(64 * EPS),
    instances=lambda: _shrinkages(("lq",)),
    evaluate=_lq_gap,
    near_miss=lambda instance: _lq_gap(instance, half=0.5),
)

# How far the argument may move when two formulas round the same threshold differently.
_SAME = 64 * EPS


def _distance_up_to_rounding(p: float, other: Penalty, u: float, step: float) -> float:
    """Return how far p is from what another operator, which does not decrease, makes of numbers next to u."""
    low, high = (float(other.prox(u * (1 + sign * _SAME), step)) for sign in (-1, 1))
    return max(low - p, p - high, 0.0)


def _firm(v: float, step: float, slope: float, rho: float) -> float:
    """Return firm thresholding: zero up to ``step slope``, then a line of slope ``1/(1 - step rho)``, then v."""
    return min(max((v - step * slope) / (1 - step * rho), 0.0), v)


def _cel0_is_mcp(instance: _Shrinkage, power: int = 2) -> Measurement:
    r"""Compare CEL0 with MCP in value and operator, and with firm thresholding where the step allows it.

    Multiply out: :math:`\lambda - \tfrac{a^2}{2}(v - \sqrt{2\lambda}/a)^2 = \sqrt{2\lambda}\,a\,v - a^2 v^2 / 2` up to
    :math:`\sqrt{2\lambda}/a`, which is MCP with slope :math:`\sqrt{2\lambda}\,a` and :math:`\gamma = a^{-2}`.
    """
    cel0, step, u = instance.penalty, instance.step, instance.u
    a = float(cel0.shape)
    mcp = MCP(np.sqrt(2 * cel0.alpha) * a, a**-power)
    p = float(cel0.prox(u, step))
    apart = [_distance_up_to_rounding(p, mcp, u, step) / max(u, 1e-300)]
    apart.append(abs(cel0.value(u) - mcp.value(u)) / cel0.alpha)
    if step * a**2 < 1:
        firm = _firm(u, step, np.sqrt(2 * cel0.alpha) * a, a**2)
        apart.append(abs(p - firm) * (1 - step * a**2) / max(u, 1e-300))
    return Measurement(max(apart), 0.0, 1.0)


cel0_is_mcp = Claim(
    name="lq_coding.cel0_is_mcp",
    summary="CEL0 is a minimax concave penalty.",
    statement=r"\phi_{\mathrm{CEL0}}(\cdot\,; a, \lambda) = \phi_{\mathrm{MCP}}(\cdot\,; \sqrt{2\lambda}\, a, a^{-2}),"
    r" \text{ with firm thresholding if } \tau a^2 < 1",
    source=ours("CEL0 is a minimax concave penalty"),
    # Values and operators are a handful of roundings of terms that are at most twice the strength, or twice u.
    verdict=Always(64 * EPS),
    instances=lambda: _shrinkages(("cel0",)),
    evaluate=_cel0_is_mcp,
    near_miss=lambda instance: _cel0_is_mcp(instance, power=1),
)


@dataclass(frozen=True)
class _Pair:
    """Two numbers, and a step below the inverse of the weak convexity of a penalty."""

    penalty: Penalty
    fraction: float
    u: float
    v: float

    @property
    def step(self) -> float:
        return self.fraction / self.penalty.weak_convexity()


def _pairs() -> st.SearchStrategy[_Pair]:
    def build(penalty: Penalty, fraction: float, size: float, ratio: float, at_threshold: bool) -> _Pair:
        pair = _Pair(penalty, fraction, size, size * ratio)
        if not at_threshold:
            return pair
        threshold = float(penalty.zero_threshold(pair.step))
        return _Pair(penalty, fraction, threshold, threshold * (1 + abs(ratio)))

    return st.builds(
        build,
        penalties(WEAKLY_CONVEX),
        st.sampled_from([0.999, 0.5]) | st.floats(0.01, 0.999),
        decades(-2, 2),
        st.floats(-2, 2) | decades(-6, 0),
        st.booleans(),
    )


def _lipschitz(pair: _Pair, rho: float | None = None) -> Measurement:
    r"""Compare the distance of two values with that of their arguments, and the jump with zero.

    The objective of the operator is :math:`(1 - \tau\rho)`-strongly convex, so its minimiser is unique, and adding the
    two optimality conditions gives :math:`(1 - \tau\rho)(p - q)^2 \le (p - q)(u - v)`.
    """
    p, q = pair.penalty.prox(np.array([pair.u, pair.v]), pair.step)
    keep = 1 - pair.step * (pair.penalty.weak_convexity() if rho is None else rho)
    # A jump is measured against the threshold at which it would happen.
    jump = pair.penalty.jump(pair.step)
    return Measurement.worst([keep * abs(p - q), jump], [abs(pair.u - pair.v), 0.0], max(abs(pair.u), abs(pair.v)))


prox_lipschitz = Claim(
    name="lq_coding.prox_lipschitz",
    summary="Operators of weakly convex penalties stretch distances by a bounded factor.",
    statement=r"(1 - \tau \rho) |\mathrm{prox}(u) - \mathrm{prox}(v)| \le |u - v| \text{ for }"
    r" \rho\text{-weakly convex } \phi,\ \tau \rho < 1",
    source=classic("strong convexity of the proximal objective", "Lipschitz constant"),
    # The operators are backward stable: a few roundings of the larger argument.
    verdict=Always(64 * EPS),
    instances=_pairs,
    evaluate=_lipschitz,
    near_miss=lambda pair: _lipschitz(pair, rho=0.0),
)
