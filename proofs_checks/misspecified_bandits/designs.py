"""Claims about optimal designs: leverages, the steps that improve a design, and rows that no optimal design needs."""

import math
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bandits import (
    Design,
    core_set_bound,
    e_optimal_design,
    g_optimal_design,
    leverage,
    screen_optimal_support,
)
from sparsetheory.bandits.design.amplification import reweighted
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.misspecified_bandits.instances import KINDS, draw_rows, seeds
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_EQUIVALENCE = "Kiefer, Wolfowitz (1960)"
# Whitened rows, whose condition may be a million.
_ROUNDING = 1e-8


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows, and a seed of weights."""

    A: Float64Array
    seed: int

    def __repr__(self) -> str:
        """Show the shape."""
        return f"rows of shape {self.A.shape}, seed {self.seed}"

    @cached_property
    def rank(self) -> int:
        """Rank, of columns without their units."""
        sizes = np.abs(self.A).max(axis=0)
        return int(np.linalg.matrix_rank(self.A / np.where(sizes > 0, sizes, 1.0), tol=1e-7))

    @cached_property
    def design(self) -> Design:
        """A design within twice the optimum."""
        return g_optimal_design(self.A)

    @cached_property
    def weighted(self) -> Design:
        """Random weights on more rows than a design needs."""
        rng = np.random.default_rng(self.seed)
        wide = g_optimal_design(self.A, target_mult=1.001, max_iter=30)
        return reweighted(self.A, wide, rng.dirichlet(np.ones(len(wide.support))))

    def log_det(self, design: Design, reference: Float64Array) -> float:
        """Return the logarithm of the determinant of a design, in fixed coordinates that whiten another design."""
        rows = self.A[design.support] @ reference
        return float(np.linalg.slogdet((rows.T * design.weights) @ rows)[1])


def _draw(kind: str, n: int, d: int, seed: int) -> _Rows:
    rng = np.random.default_rng(seed)
    A = draw_rows(kind, n, d, min(d, 2), rng)
    if kind == "units":
        A *= 10.0 ** rng.integers(-3, 4, d)
    if not A.any():
        A[0, 0] = 1.0
    return _Rows(A, seed)


def _rows(kinds: tuple[str, ...] = KINDS[:6] + KINDS[7:-1]) -> st.SearchStrategy[_Rows]:
    """Search rows of all kinds but near copies, whose rank is a matter of tolerance, and codes."""
    return st.builds(_draw, st.sampled_from(kinds), st.integers(1, 60), st.integers(1, 8), seeds)


def _trace(rows: _Rows, rank: int | None = None) -> Measurement:
    r"""Compare the mean leverage with the rank, and the rank with the largest leverage.

    :math:`\sum_a p_a\, a^T V^{-1} a = \mathrm{tr}\, V^{-1} V`, which is the rank; no mean exceeds the maximum.
    """
    rank = rows.rank if rank is None else rank
    levers = leverage(rows.A, rows.weighted)
    mean = float(rows.weighted.weights @ levers[rows.weighted.support])
    return Measurement(abs(mean - rank), 0.0, float(rank)).and_chain({"rank": rank, "largest": float(levers.max())})


mean_leverage = Claim(
    name="misspecified_bandits.mean_leverage",
    summary="The leverages of a design are the rank of the rows on average, so none has a smaller largest one.",
    statement=r"\sum_a p_a\, \phi_a^T V^{-1} \phi_a = \mathrm{rank}\, \Phi \le \max_a \phi_a^T V^{-1} \phi_a",
    source=Source.classic(_EQUIVALENCE, "trace of the product of a matrix and its inverse"),
    verdict=Always(_ROUNDING),
    instances=_rows,
    evaluate=_trace,
    # The number of features, also where they depend on each other.
    near_miss=lambda rows: _trace(rows, rank=rows.A.shape[1]),
)


def _core_set(rows: _Rows, mult: float = 2.0) -> Measurement:
    """Compare the largest leverage with twice the rank, the number of rows with that of Todd, and leverages both ways.

    Those of the design come from steps of rank one and a final factorisation, ours from the pseudo-inverse of weighted
    rows. That steps from a pivoted start need no more rows than the theorem allows is observed, and not proved.
    """
    design = rows.design
    sizes = np.abs(rows.A).max(axis=0)
    A = rows.A / np.where(sizes > 0, sizes, 1.0)
    inverse = np.linalg.pinv(np.sqrt(design.weights)[:, None] * A[design.support], rcond=1e-7)
    largest = float(np.square(A @ inverse).sum(axis=1).max())
    measured = [largest, len(design.support)]
    worst = Measurement.worst(measured, [mult * rows.rank, core_set_bound(rows.rank)])
    return worst.and_chain({"difference of both ways": abs(largest - design.max_leverage), "nothing": 0.0})


core_set = Claim(
    name="misspecified_bandits.core_set",
    summary="A design on few rows has leverages of at most twice the rank.",
    statement=r"\max_a \phi_a^T V^{-1} \phi_a \le 2r, \quad |\mathrm{supp}\, p| \le 4 r \log \log r + 16,"
    r" \quad r = \mathrm{rank}\, \Phi",
    source=Source.classic(
        "Todd (2016), quoted by Lattimore, Szepesvari and Weisz (2020)", "existence; for our design it is observed"
    ),
    verdict=Always(_ROUNDING),
    instances=_rows,
    evaluate=_core_set,
    near_miss=lambda rows: _core_set(rows, mult=1.2),
)


def _gain(rows: _Rows, better: float = 1.0) -> Measurement:
    r"""Compare what one step adds to the logarithm of the determinant with the formula for it.

    A step of length g towards a row of leverage k multiplies the determinant by :math:`(1-g)^d (1 + g k / (1-g))`. The
    best length is :math:`g = (k - d) / (d (k - 1))`, and then the logarithm grows by :math:`\log(k/d) + (d-1)
    \log(k (d-1) / (d (k-1)))`.
    """
    steps = 1 + rows.seed % 10
    before, after = (g_optimal_design(rows.A, 1.0, "full", away=False, max_iter=count) for count in (steps, steps + 1))
    if after.n_iter == before.n_iter or before.rank == 1:
        return Measurement(0.0, 0.0, 1.0)  # it was optimal
    d, k = before.rank, float(leverage(rows.A, before).max())
    gain = better * (math.log(k / d) + (d - 1) * math.log(k * (d - 1) / (d * (k - 1))))
    grown = rows.log_det(after, before.whitening) - rows.log_det(before, before.whitening)
    return Measurement(abs(grown - gain), 0.0, 1.0)


step_gain = Claim(
    name="misspecified_bandits.step_gain",
    summary="A step of the design towards its worst row multiplies the determinant by what the formula says.",
    statement=r"\log \det V_{t+1} - \log \det V_t = \log \tfrac{\kappa}{d} +"
    r" (d - 1) \log \tfrac{\kappa (d-1)}{d (\kappa - 1)}, \quad \kappa = \max_a \phi_a^T V_t^{-1} \phi_a",
    source=Source.classic("Fedorov (1972), Wynn (1970)", "exact line search of a vertex direction"),
    verdict=Always(_ROUNDING),
    instances=_rows,
    evaluate=_gain,
    near_miss=lambda rows: _gain(rows, better=1.01),
)


def _multiplied(rows: _Rows, power: float = 1.0) -> Measurement:
    r"""Compare determinants before and after all weights are multiplied by leverages over the rank.

    By Cauchy and Binet :math:`\det V(p)` is a sum over sets of r rows, of products of their weights and a volume. So
    the ratio of determinants is the mean of :math:`\prod_{i \in S} g_i / r` over sets S drawn with these shares, where
    row i is in S with probability :math:`p_i g_i`. By Jensen its logarithm is at least
    :math:`r \sum_i q_i \log(q_i / p_i)` with :math:`q_i = p_i g_i / r`, a divergence of two distributions.
    """
    design = rows.weighted
    factors = leverage(rows.A, design)[design.support] ** power
    weights = design.weights * factors
    moved = replace(design, weights=weights / weights.sum())
    before, after = (rows.log_det(each, design.whitening) for each in (design, moved))
    return Measurement(before, after, 1.0)


multiplicative_step = Claim(
    name="misspecified_bandits.multiplicative_step",
    summary="Weights times leverages over the rank make a design no worse.",
    statement=r"p_a' = p_a g_a / r \implies \det V(p') \ge \det V(p)",
    source=Source.classic("Silvey, Titterington, Torsney (1978)", "monotone multiplicative algorithm"),
    verdict=Always(_ROUNDING),
    instances=_rows,
    evaluate=_multiplied,
    # Twice the step.
    near_miss=lambda rows: _multiplied(rows, power=2.0),
)


def _kept(rows: _Rows, *, strictly: bool = False) -> Measurement:
    """Compare the largest leverage that an optimal design on the rows that are kept gives to all rows with the rank.

    A design is optimal if no leverage exceeds the rank. One on the kept rows that is optimal for all rows shows that
    none of the rows that were discarded is needed.
    """
    steps = g_optimal_design(rows.A, 1.0, max_iter=5 + rows.seed % 60)
    kept = screen_optimal_support(rows.A, steps)
    if strictly:
        kept = leverage(rows.A, steps) >= steps.rank * (1 - 1e-9)
    best = g_optimal_design(rows.A[kept], 1.0 + 1e-5)
    if best.rank < rows.rank:
        return Measurement(np.inf, rows.rank)
    return Measurement(float(leverage(rows.A, best).max()), (1 + 1e-5) * rows.rank)


screened_rows = Claim(
    name="misspecified_bandits.screened_rows",
    summary="Rows of small leverage in any design are in no optimal one.",
    statement=r"g_a < d \bigl(1 + \tfrac{e}{2} - \tfrac12 \sqrt{e (4 + e - 4/d)}\bigr), \ e = \max g - d"
    r" \implies a \notin \mathrm{supp}\, p^*",
    source=Source.classic("Harman, Pronzato (2007)", "improvements on removing nonoptimal support points"),
    verdict=Always(_ROUNDING),
    instances=_rows,
    evaluate=_kept,
    # Rows of an optimal design have the rank as leverage; those of another design need not.
    near_miss=lambda rows: _kept(rows, strictly=True),
)


def _eigenvalue(rows: _Rows, share: float = 1.0) -> Measurement:
    r"""Compare smallest eigenvalues of designs with the upper bound, and the lower bound with that of the design found.

    For a positive semidefinite W of trace one, :math:`\lambda_{\min}(V) \le \mathrm{tr}(W V) = \sum_a p_a\, a^T W a
    \le \max_a a^T W a`, whatever the weights. Eigenvalues are those on the span of the rows.
    """
    found = e_optimal_design(rows.A, tol=1e-2)
    basis = np.linalg.svd(rows.A, full_matrices=False)[2][: found.rank]
    rng = np.random.default_rng(rows.seed)

    def smallest(A: Float64Array, weights: Float64Array) -> float:
        inside = A @ basis.T
        return float(np.linalg.eigvalsh((inside.T * weights) @ inside)[0])

    own = smallest(rows.A[found.support], found.weights)
    others = [smallest(rows.A, rng.dirichlet(np.full(len(rows.A), c))) for c in (0.05, 1.0)]
    size = float(np.square(rows.A).sum(axis=1).max())
    best = max(own, *others, smallest(rows.A[rows.design.support], rows.design.weights))
    return Measurement(best, share * found.cmin_upper, size).and_chain({"lower bound": found.cmin_lower, "own": own})


smallest_eigenvalue = Claim(
    name="misspecified_bandits.smallest_eigenvalue",
    summary="No design has a larger smallest eigenvalue than the upper bound, and the one found has the lower bound.",
    statement=r"\underline{c} \le \lambda_{\min}(V(\hat p)) \le \max_p \lambda_{\min}(V(p))"
    r" \le \max_a \phi_a^T W \phi_a, \quad W \succeq 0,\ \mathrm{tr}\, W = 1",
    source=Source.classic("duality of semidefinite programs", "E-optimal designs"),
    verdict=Always(_ROUNDING),
    instances=lambda: _rows(("gauss", "correlated", "blocks", "signs", "integers", "copies")),
    evaluate=_eigenvalue,
    near_miss=lambda rows: _eigenvalue(rows, share=0.95),
)
