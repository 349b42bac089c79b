"""The claim that joins sparse attention to the lasso: blocks of keys and features are screened by one bound."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import attention
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.sparse_attention.instances import seeds
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.working_set import Solution, duality_gap, solve_lasso
from sparsetheory.typing import BoolArray, Float64Array


@dataclass(frozen=True, eq=False)
class Design:
    """A lasso problem, and how precisely the classical solver solves it."""

    X: Float64Array
    y: Float64Array
    alpha: float
    tol: float

    def solve(self, tol: float) -> tuple[Float64Array, Solution]:
        """Return the coefficients of the classical solver, and what it says of them."""
        solution = solve_lasso(Columns(self.X), self.y, np.full(self.X.shape[1], self.alpha), tol=tol)
        coef = np.zeros(self.X.shape[1])
        coef[solution.indices] = solution.values
        return coef, solution

    @cached_property
    def rough(self) -> tuple[Float64Array, Solution]:
        """The solution of the stated precision."""
        return self.solve(self.tol)

    def screened(self, radius_factor: float = 1.0) -> BoolArray:
        """Return which features the bound over the ball around the dual point shows to be zero.

        In root mean squares the best dual point is within sqrt(2 gap) of a multiple of the residual. Columns take the
        place of queries, and the ball that of a block of keys; a feature is zero if both its bounds, of the correlation
        and of its negative, are below the strength.
        """
        coef, n = self.rough[0], len(self.y)
        r = self.y - self.X @ coef
        ratio = float(np.abs(self.X.T @ r).max()) / (n * self.alpha)
        gap, scale = duality_gap(float(self.y @ r) / n, float(r @ r) / n, self.alpha * float(np.abs(coef).sum()), ratio)
        columns = tensor(self.X.T / np.sqrt(n))
        center = tensor(scale * r[None] / np.sqrt(n))
        radius = tensor(np.array([radius_factor * np.sqrt(2 * max(gap, 0.0))]))
        bounds = [array(attention.upper_bound(center, radius, q))[:, 0] for q in (columns, -columns)]
        below: BoolArray = np.maximum(*bounds) < self.alpha * (1 - 1e-9)
        return below


def _draw(seed: int, spread: float, fraction: float, tol: float) -> Design:
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(20, 50)), int(rng.integers(10, 60))
    X = rng.standard_normal((n, 4))[:, rng.integers(4, size=p)] + spread * rng.standard_normal((n, p))
    y = X @ (rng.standard_normal(p) * (rng.random(p) < 0.2)) + 0.1 * rng.standard_normal(n)
    return Design(np.asfortranarray(X), y, fraction * float(np.abs(X.T @ y).max()) / n, tol)


def _designs() -> st.SearchStrategy[Design]:
    return st.builds(
        _draw,
        seeds,
        st.sampled_from((0.3, 1.0, 10.0)),
        st.sampled_from((0.05, 0.2, 0.5, 0.9)),
        st.sampled_from((0.3, 1e-1, 1e-2, 1e-4)),
    )


def _mistakes(design: Design, radius_factor: float = 1.0) -> Measurement:
    """Count features screened by the ball that the minimum uses, and those of the classical solver that it misses.

    The classical solver screened with the balls of all its iterates, and keeps the members of its working set. The
    last ball is the smallest one, so that it screens what the earlier ones did.
    """
    found, best = design.screened(radius_factor), design.solve(1e-13)[0]
    wrong = found & (np.abs(best) > 1e-5 * np.abs(best).max(initial=0.0)) & (best != 0)
    missed = design.rough[1].screened & ~found
    return Measurement(float(wrong.sum() + missed.sum()), 0.0, scale=1.0)


def _without_radius(design: Design) -> Measurement:
    """Screen by the dual point alone."""
    return _mistakes(design, 0.0)


gap_safe_ball = Claim(
    name="sparse_attention.gap_safe_ball",
    summary="The bound that screens blocks of keys screens features of the lasso: it is the gap-safe sphere test.",
    statement=r"\max_{\|\theta - c\| \le r} |x_j^\top \theta| = "
    r"\max(x_j^\top c, -x_j^\top c) + r \|x_j\| < \alpha \implies \hat w_j = 0",
    source=Source.classic("Fercoq, Gramfort, Salmon (2015)", "gap-safe spheres"),
    verdict=Always(rtol=0.0),
    instances=_designs,
    evaluate=_mistakes,
    near_miss=_without_radius,
)
