"""Claims about all minimisers of small problems: the ladder from local to global, and what CEL0 adds to it."""

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsetheory.coding import CEL0, L0, cd_l0, enumerate_l0_minima, sbr
from sparsetheory.coding.l0_minima import L0Minima
from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.lq_coding.instances import (
    Coding,
    classic,
    codings,
    decades,
    draw_coding,
    objective,
    ours,
)
from sparsetheory.proofs_checks.lq_coding.runs import take_steps
from sparsetheory.proofs_checks.verdicts import Always

_Array = NDArray[np.float64]
_SOUBIES = "Soubies, Blanc-Féraud, Aubert, SIAM J. Imaging Sci. 8 (2015)"
# Atoms that are nearly dependent leave the enumeration, and coordinate descent, more to rounding than to lam.
_CALM = ("gaussian", "orthogonal", "common part", "duplicates", "integers")


@dataclass(frozen=True)
class _Small:
    """A problem whose supports can all be tried, and two steps in units of 1/L."""

    coding: Coding
    lam: float
    share: float
    longer: float

    def minima(self) -> L0Minima:
        return enumerate_l0_minima(self.coding.x, self.coding.D, self.lam)


def _small(max_n: int = 7, kinds: tuple[str, ...] | None = None) -> st.SearchStrategy[_Small]:
    def build(coding: Coding, part: float, shares: list[float]) -> _Small:
        return _Small(coding, part * (float(coding.x @ coding.x) / 2 or 1.0), *sorted(shares))

    return st.builds(
        build,
        codings(max_m=7, max_n=max_n, kinds=kinds),
        decades(-4, 0),
        st.lists(st.sampled_from([0.01, 0.99]) | st.floats(0.001, 0.99), min_size=2, max_size=2),
    )


def _supports(codes: Iterable[_Array]) -> set[bytes]:
    return {(code != 0).tobytes() for code in codes}


def _nested(problem: _Small, *, backwards: bool = False) -> Measurement:
    r"""Check that every rung of the ladder contains the next, and count what stands on it.

    Hard thresholding at step tau keeps entries of at least :math:`\sqrt{2\lambda\tau}`, and zeros with correlations of
    at most :math:`\sqrt{2\lambda/\tau}`. Both conditions become stricter as tau grows, up to
    :math:`1/a_i^2 \ge 1/L`, where they are those of CEL0. A change of one entry with least squares on the support after
    it gains at least as much as the change alone. A global minimiser cannot be improved at all.
    """
    minima, L = problem.minima(), problem.coding.L
    fixed = [_supports(minima.iht_fixed(share / L)) for share in (problem.share, problem.longer)]
    rungs = [
        _supports(minima.local),
        *(reversed(fixed) if backwards else fixed),
        *(_supports(codes) for codes in (minima.cel0, minima.sbr, minima.global_)),
    ]
    nested = all(larger >= smaller for larger, smaller in pairwise(rungs))
    names = ("critical points of CEL0", "stable under single replacement", "global minimisers")
    sizes = dict(zip(names, [float(len(rung)) for rung in rungs[3:]], strict=True))
    return Measurement(float(len(rungs[1])) if nested else np.inf, float(len(rungs[0])), extras=sizes)


def _draw_small(rng: np.random.Generator, share: float) -> _Small:
    coding = draw_coding("gaussian", "sparse", 6, 9, 0.0, int(rng.integers(2**32)))
    return _Small(coding, 0.1 * float(np.max(coding.correlations**2)) / 2, share, max(share, 0.99))


nested_minimisers = Claim(
    name="lq_coding.nested_minimisers",
    statement=r"\{\text{local}\} \supseteq \mathrm{Fix}_{\tau_1} \supseteq \mathrm{Fix}_{\tau_2} \supseteq"
    r" \{\text{CEL0}\} \supseteq \{\text{SBR-stable}\} \supseteq \{\text{global}\},"
    r" \quad \tau_1 \le \tau_2 < 1/L",
    source=ours("ladder of minimisers of l0, for atoms of any norm"),
    verdict=Always(0.0),
    instances=_small,
    evaluate=_nested,
    near_miss=lambda problem: _nested(problem, backwards=True),
    sweep=Sweep(
        axis="step times L",
        values=(0.01, 0.03, 0.1, 0.3, 0.99),
        draw=_draw_small,
        trials=40,
        quick_trials=8,
        log="xy",
        measured_label="fixed points of iterative hard thresholding",
        bound_label="local minimisers of l0",
    ),
)


def _where_solvers_end(problem: _Small, *, confuse: bool = False) -> Measurement:
    """Count codes of the local searches whose supports are not on the rung that they must reach.

    The rungs list supports of independent atoms; coordinate descent may also end on others.
    """
    X, D, minima = problem.coding.X, problem.coding.D, problem.minima()
    codes = [cd_l0(X, D, problem.lam, rule=rule, tol=1e-10)[0] for rule in ("greedy", "cyclic")]
    descent = _supports(c for c in codes if np.linalg.matrix_rank(D[:, c != 0], 1e-6) == np.count_nonzero(c))
    replacement = _supports(sbr(X, D, problem.lam))
    rungs = _supports(minima.cel0), _supports(minima.sbr)
    if confuse:
        return Measurement(float(len(descent - rungs[1])), 0.0, 1.0)
    return Measurement(float(len(descent - rungs[0]) + len(replacement - rungs[1])), 0.0, 1.0)


solvers_on_the_ladder = Claim(
    name="lq_coding.solvers_on_the_ladder",
    statement=r"\text{coordinate descent ends at critical points of CEL0, SBR at points without a better replacement}",
    source=ours("what local searches reach, against all minimisers"),
    verdict=Always(0.0),
    instances=lambda: _small(kinds=_CALM).filter(lambda problem: np.linalg.norm(problem.coding.x) > 0),
    evaluate=_where_solvers_end,
    near_miss=lambda problem: _where_solvers_end(problem, confuse=True),
)


def _exactness(problem: _Small, *, one_norm_for_all: bool = False) -> Measurement:
    r"""Compare the minimum of l0, over all supports, with what CEL0 reaches from many starts, and both pointwise.

    CEL0 lies below l0 everywhere, and setting entries below their knees to zero turns one of its minimisers into one of
    l0 without changing the value; so the minima are equal, and CEL0 agrees with l0 at the minimisers of l0.
    """
    coding, lam, minima = problem.coding, problem.lam, problem.minima()
    cel0, l0 = CEL0(lam, coding.norms.min() if one_norm_for_all else coding.norms), L0(lam)
    starts = coding.rng().standard_normal((6, coding.norms.size)) / coding.norms
    starts *= np.linalg.norm(coding.x) * (coding.rng().random(starts.shape) < 0.5)
    ends = [take_steps(coding, cel0, 0.99 / coding.L, 60, start)[0] for start in [*starts, *minima.local[:6]]]
    least = float(minima.objective[0])
    reached = min(objective(coding, cel0, end) for end in ends)
    pointwise = [(objective(coding, cel0, c), objective(coding, l0, c)) for c in [*starts, *ends]]
    at_minima = max(abs(objective(coding, cel0, c) - least) for c in minima.global_)
    scale = float(coding.x @ coding.x) + max(sharp for _, sharp in pointwise)
    left, right = [least, at_minima, *(p[0] for p in pointwise)], [reached, 0.0, *(p[1] for p in pointwise)]
    return Measurement.worst(left, right, max(scale, 1e-300))


exactness = Claim(
    name="lq_coding.exactness",
    statement=r"\min F_{\mathrm{CEL0}} = \min F_0, \quad \arg\min F_0 \subseteq \arg\min F_{\mathrm{CEL0}},"
    r" \quad F_{\mathrm{CEL0}} \le F_0",
    source=classic(_SOUBIES, "same global minimisers"),
    # Least squares on supports of condition up to 1e7, whose objectives the enumeration allows 64 u over their distance
    # to dependence.
    verdict=Always(1e-8),
    instances=lambda: _small(6, _CALM),
    evaluate=_exactness,
    near_miss=lambda problem: _exactness(problem, one_norm_for_all=True),
)
