"""Evidence that a penalised least-squares fit is optimal, recomputed from raw data."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from sparsetheory.certificates import Certificate, Status
from sparsetheory.coding.penalty import Penalty
from sparsetheory.numba_kernels import penalty_tags
from sparsetheory.numba_kernels.proximal import prox
from sparsetheory.regression.regularization_path import RegularizationPath

__all__ = ["LassoCertificate"]

# Relative rounding of the sums behind a gap, in units of the loss at zero.
_ROUNDING = 1e-12


@dataclass(frozen=True)
class LassoCertificate(Certificate):
    """A duality gap (l1 norm), or the largest violation of the optimality conditions (other penalties).

    Attributes
    ----------
    penalty : Penalty
        Its kind and numbers; the level is that of the fit.
    levels : ndarray of shape (n_features,)
        Level of each feature; zero where it is not penalised.
    coef, intercept
        The solution in double precision.
    fit_intercept : bool
        Whether the constant was free.
    """

    penalty: Penalty = field(kw_only=True)
    levels: NDArray[np.float64] = field(kw_only=True, repr=False)
    coef: NDArray[np.float64] = field(kw_only=True, repr=False)
    intercept: float = field(kw_only=True)
    fit_intercept: bool = field(kw_only=True)

    @classmethod
    def of(
        cls,
        path: RegularizationPath,
        index: int,
        penalty: Penalty,
        weights: NDArray[np.float64],
        coef: NDArray[np.float64],
        intercept: float,
        fit_intercept: bool,
    ) -> "LassoCertificate":
        """Certify one level of a path."""
        lam = float(path.lams[index])
        what = (
            "the objective is within gap of its minimum"
            if penalty.kind == penalty_tags.L1
            else "no condition is violated by more"
        )
        gap = float(path.gaps[index])
        return cls(
            f"{type(penalty).__name__} at lam={lam:.6g}: {what}",
            max(gap, path.tolerance),
            gap,
            Status.of(gap <= path.tolerance),
            penalty=penalty.with_lam(lam),
            levels=lam * weights,
            coef=coef,
            intercept=intercept,
            fit_intercept=fit_intercept,
        )

    def check(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None) -> "LassoCertificate":
        """Recompute the gap or violation from the data, with nothing but matrix products and one least-squares fit.

        Parameters
        ----------
        X : array or sparse matrix of shape (n_samples, n_features)
            Design of the fit.
        y : array-like of shape (n_samples,)
            Response of the fit.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights of the fit.

        Returns
        -------
        LassoCertificate
            With a fresh `measured` and `valid`.
        """
        y = np.asarray(y, dtype=np.float64)
        weight = np.ones(y.size) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
        weight = weight / weight.sum()
        residual = y - np.asarray(X @ self.coef, dtype=np.float64) - self.intercept
        free = np.flatnonzero(self.levels == 0)
        block = X[:, free].toarray() if hasattr(X, "toarray") else np.asarray(X)[:, free]
        outside = np.column_stack([np.ones(y.size), block]) if self.fit_intercept else np.asarray(block, np.float64)
        residual, target = (_without(outside, v, weight) for v in (residual, y))
        gradient = np.asarray(X.T @ (weight * residual), dtype=np.float64)
        energy = float(weight @ target**2)
        if self.penalty.kind == penalty_tags.L1:
            measured = self._gap(residual, target, gradient, weight)
        else:
            measured = self._violation(X, outside, weight, gradient)
        scale = energy if self.penalty.kind == penalty_tags.L1 else float(np.max(np.abs(gradient), initial=0.0))
        return replace(self, measured=measured, status=Status.of(measured <= self.bound + _ROUNDING * scale))

    def _gap(self, residual: Any, target: Any, gradient: Any, weight: Any) -> float:
        paid = self.levels > 0
        ratio = np.max(np.abs(gradient[paid]) / self.levels[paid], initial=0.0)
        primal = 0.5 * weight @ residual**2 + self.levels @ np.abs(self.coef)
        square, fit = weight @ residual**2, weight @ (residual * target)
        best = fit / square if square > 0 else 0.0
        dual_point = residual * (float(np.clip(best, -1.0 / ratio, 1.0 / ratio)) if ratio > 0 else best)
        dual = 0.5 * (weight @ target**2 - weight @ (target - dual_point) ** 2)
        return float(max(primal - dual, 0.0))

    def _violation(self, X: Any, outside: NDArray[Any], weight: Any, gradient: Any) -> float:
        shape = np.broadcast_to(np.asarray(self.penalty.shape, dtype=np.float64), self.levels.size)
        worst = 0.0
        for j in np.flatnonzero(self.levels > 0):
            column = np.asarray(X[:, [j]].toarray() if hasattr(X, "toarray") else X[:, [j]], dtype=np.float64)[:, 0]
            curvature = float(weight @ _without(outside, column, weight) ** 2)
            if curvature > 0:
                best = prox(
                    self.penalty.kind,
                    self.coef[j] + gradient[j] / curvature,
                    1 / curvature,
                    float(self.levels[j]),
                    float(shape[j]),
                )
                worst = max(worst, curvature * abs(best - self.coef[j]))
        return worst


def _without(block: NDArray[Any], vector: NDArray[Any], weight: NDArray[Any]) -> NDArray[Any]:
    """Return the part of a vector that weighted least squares on a block leaves."""
    if block.shape[1] == 0:
        return vector
    roots = np.sqrt(weight)
    scaled = block * roots[:, None]
    norms = np.linalg.norm(scaled, axis=0)
    norms[norms == 0] = 1.0
    solution = np.linalg.lstsq(scaled / norms, roots * vector, rcond=1e-11)[0]
    return np.asarray(vector - block @ (solution / norms))
