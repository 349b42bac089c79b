"""Small linear problems with subspaces, hard ones among them, and the bound written out term by term."""

from dataclasses import dataclass

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bayesian.subspace.linear.posterior import SubspacePosterior, subspace_posterior
from sparsetheory.proofs_checks.claim import Source
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["LI", "LinearCase", "linear_cases", "ours"]

LI = "J. Li, Z. Miao, Q. Qiu, R. Zhang, Training Bayesian neural networks with sparse subspace variational inference"
_N = 9


def ours(item: str) -> Source:
    """Cite a derivation of this package for the linear model with the prior of Li et al. (2024)."""
    return Source.ours(f"{item} (linear case of Li et al., arXiv:2402.11025)")


@dataclass(frozen=True, eq=False)
class LinearCase:
    """Data, numbers of the model, and a subspace.

    Parameters
    ----------
    F, y
        Design and data.
    kappa, prior_std : float
        Precision of the noise and standard deviation of the prior.
    active : ndarray of int
        Columns of the subspace.
    """

    F: Float64Array
    y: Float64Array
    kappa: float
    prior_std: float
    active: IndexArray

    @property
    def scale(self) -> float:
        """Size of the terms that bounds are made of."""
        return 1.0 + self.kappa * float(self.y @ self.y) + abs(self.y.size * float(np.log(self.kappa)))

    @property
    def others(self) -> IndexArray:
        """Columns that are not active."""
        return np.setdiff1d(np.arange(self.F.shape[1]), self.active)

    def posterior(self, active: IndexArray | None = None) -> SubspacePosterior:
        """Return the posterior on a subspace, by default on that of the case."""
        given = self.active if active is None else active
        return subspace_posterior(self.F, self.y, self.kappa, self.prior_std, given)

    def curvature(self) -> Float64Array:
        """Return what data add to the precision of every coefficient."""
        return self.kappa * np.sum(self.F**2, axis=0)

    def bound(self, active: IndexArray, mean: Float64Array, variance: Float64Array) -> float:
        """Return the evidence lower bound of any independent normal factors, from its definition."""
        columns, prior = self.F[:, active], self.prior_std**2
        left = self.y - columns @ mean
        expected = float(left @ left) + float(np.sum(columns**2, axis=0) @ variance)
        divergence = 0.5 * float(np.sum((variance + mean**2) / prior - 1.0 - np.log(variance / prior)))
        return 0.5 * (self.y.size * float(np.log(self.kappa / (2 * np.pi))) - self.kappa * expected) - divergence


def _draw(seed: int, rows: int, size: int, kind: str) -> LinearCase:
    rng = np.random.default_rng(seed)
    F = rng.standard_normal((rows, _N))
    if kind == "scales":
        F *= 10 ** rng.uniform(-2, 2, _N)
    if kind == "repeated":
        F[:, _N // 2 :] = F[:, : _N - _N // 2]
    if kind == "zeros":
        F[:, rng.random(_N) < 0.4] = 0.0
    if kind == "correlated":
        F = F + 3.0 * rng.standard_normal((rows, 1))
    x = rng.standard_normal(_N) * (rng.random(_N) < 0.4)
    y = F @ x + 10 ** rng.uniform(-2, 0.5) * rng.standard_normal(rows)
    y /= np.linalg.norm(y)
    numbers = float(10 ** rng.uniform(-1, 3)), float(10 ** rng.uniform(-2, 1.5))
    return LinearCase(F, y, *numbers, rng.permutation(_N)[:size])


def linear_cases(
    kinds: tuple[str, ...] = ("plain", "scales", "repeated", "zeros", "correlated"), most: int = 5
) -> st.SearchStrategy[LinearCase]:
    """Return problems of nine columns: with one row or many, scales apart, columns repeated, of zeros, or alike."""
    return st.builds(_draw, st.integers(0, 2**32 - 1), st.integers(1, 12), st.integers(1, most), st.sampled_from(kinds))
