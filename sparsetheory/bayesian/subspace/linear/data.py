"""Data of a linear model on a subspace, in units of their own."""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sparsetheory.bayesian.data_units import require_coefficients
from sparsetheory.bayesian.kronecker.checks import check_dictionaries
from sparsetheory.bayesian.sbl.data import LinearData, contrasts
from sparsetheory.ranges import require_squares
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["SubspaceData", "centred", "require_dense"]

# Decimal logarithm of the largest quotient of a given number and its unit.
_FAR = 60.0


def require_dense(X: Any) -> None:
    """Raise TypeError for a sparse matrix."""
    if sparse.issparse(X):
        raise TypeError("X must be dense: sparse data were passed, make them dense with X.toarray()")


def centred(X: FloatArray, y: FloatArray) -> tuple[Float64Array, Float64Array]:
    """Return data less their means over the rows; columns that vary no more than rounding become zero."""
    data = LinearData(check_dictionaries([X], names=["X"]), y.astype(np.float64), X.dtype == np.float32)
    F, values = data.centred()
    return np.asarray(F, np.float64), np.asarray(values, np.float64)


@dataclass(frozen=True, eq=False)
class SubspaceData:
    """Checked data.

    Attributes
    ----------
    F : ndarray of shape (n_rows, N)
        Design in double precision; contrasts beside an intercept.
    y : ndarray of shape (n_rows,)
        Data with mean square one, or zero.
    unit, column_unit : float
        Root mean square of the data, and of the norms of the columns; one for zeros.
    usable : ndarray of int
        Columns that are not zero.
    dtype : dtype
        Precision of the results.
    means : tuple of (ndarray, float), optional
        Of columns and data, beside an intercept.
    """

    F: Float64Array
    y: Float64Array
    unit: float
    column_unit: float
    usable: IndexArray
    dtype: Any
    means: tuple[Float64Array, float] | None

    @classmethod
    def of(cls, X: FloatArray, y: FloatArray, *, fit_intercept: bool) -> "SubspaceData":
        """Take data in their units.

        Raises
        ------
        ValueError
            If there is one row beside an intercept, or squares leave the range of double precision.
        """
        if fit_intercept and y.size < 2:
            raise ValueError("fit_intercept=True needs at least two rows; got n_samples=1")
        F, values, means = X.astype(np.float64, copy=False), y.astype(np.float64), None
        if fit_intercept:
            means = F.mean(axis=0), float(values.mean())
            F, values = (np.asarray(contrasts(block), np.float64) for block in centred(X, y))
        require_squares("X", F)
        require_squares("y", values)
        squares = np.einsum("ij,ij->j", F, F)
        unit = math.sqrt(float(np.mean(values**2))) or 1.0
        column_unit = math.sqrt(float(squares.mean())) or 1.0
        size = math.log10(unit) - math.log10(column_unit)
        require_coefficients("X", math.log10(unit), size, size)
        return cls(F, values / unit, unit, column_unit, np.flatnonzero(squares > 0), X.dtype, means)

    @property
    def n_rows(self) -> int:
        """Rows that carry information."""
        return self.y.size

    @property
    def n_usable(self) -> int:
        """Columns that are not zero."""
        return self.usable.size

    @property
    def coefficient_unit(self) -> float:
        """Unit of the coefficients."""
        return self.unit / self.column_unit

    def precision_in(self, noise_variance: float) -> float:
        """Return the precision of noise in these units.

        Raises
        ------
        ValueError
            If it is too far from the mean square of the data.
        """
        exponent = math.log10(noise_variance) - 2.0 * math.log10(self.unit)
        if abs(exponent) > _FAR:
            raise ValueError(
                f"noise_variance must not be 1e{exponent:.0f} times the mean square of y; got {noise_variance!r}"
            )
        return (self.unit / math.sqrt(noise_variance)) ** 2

    def prior_in(self, prior_std: float) -> float:
        """Return the variance of the prior in these units.

        Raises
        ------
        ValueError
            If its root is too far from the size of y over that of the columns.
        """
        exponent = math.log10(prior_std) - math.log10(self.unit) + math.log10(self.column_unit)
        if abs(exponent) > _FAR:
            raise ValueError(
                f"prior_std must not be 1e{exponent:.0f} times the size of y over that of columns; got {prior_std!r}"
            )
        return (prior_std / self.unit * self.column_unit) ** 2

    def intercept(self, coef: FloatArray) -> float:
        """Return the constant that goes with coefficients."""
        return 0.0 if self.means is None else float(self.means[1] - self.means[0] @ coef)
