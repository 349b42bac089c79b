"""What Lassos after a change of the design have in common: the last step, and a singular value decomposition."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import scipy.linalg
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.constraints import COUNT, FLAG, POSITIVE, Constraint
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.certificate import warn_if_rounding_spoils
from sparsetheory.regression.lasso.working_set import Solution, solve_lasso
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.regression.linear_model import SparseLinearModel
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["RANK", "PreconditionedLasso", "decompose"]

# Singular values below this fraction of the largest, and the squares of these for eigenvalues, are taken for zero.
RANK = 1e-10


class PreconditionedLasso(SparseLinearModel):
    """The final step of both estimators."""

    tol: float
    max_iter: int
    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "alpha": POSITIVE,
        "tol": POSITIVE,
        "max_iter": COUNT,
        "fit_intercept": FLAG,
    }

    def _solve(
        self, data: LeastSquaresData, columns: Columns, y: Float64Array, alpha: Float64Array, scale: Any
    ) -> Solution:
        """Solve a Lasso and store its coefficients, multiplied by `scale`."""
        solution = solve_lasso(columns, y, alpha, tol=self.tol, max_iter=self.max_iter)
        if not solution.converged:
            warnings.warn(
                f"{type(self).__name__}: duality gap {solution.gap:.2e} above its tolerance {solution.tolerance:.2e} "
                f"after max_iter={self.max_iter} working sets; increase max_iter or tol",
                ConvergenceWarning,
                stacklevel=3,
            )
        coef = np.zeros(columns.n_features)
        coef[solution.indices] = solution.values
        self.n_iter_ = solution.n_iter
        self._set_coefficients(data, coef * scale)
        return solution

    def _certify(self, certificate: Any, X: Any, y: AnyArray, data: LeastSquaresData, solution: Solution) -> Self:
        """Check a certificate on the data and keep it."""
        self.certificate_ = certificate.on(X, y, data)
        self.dual_gap_ = float(self.certificate_.measured)
        warn_if_rounding_spoils(self.certificate_, converged=solution.converged)
        return self


def decompose(columns: Columns, scale: Float64Array) -> tuple[Float64Array, Float64Array, Float64Array]:
    """Return the singular value decomposition of the scaled columns up to the numerical rank."""
    dense = columns.take(np.arange(columns.n_features)) * scale
    left, values, right = scipy.linalg.svd(dense, full_matrices=False, check_finite=False, overwrite_a=True)
    kept = values > RANK * np.max(values, initial=0.0)
    return left[:, kept], values[kept], right[kept]
