"""Units in which the data have mean square one and every column has unit norm, so that nothing depends on the user's."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from sparsetheory.ranges import require_squares

__all__ = ["DataUnits", "column_norms"]

_Array = NDArray[np.inexact]
_Real = NDArray[np.float64]
# Squares of coefficients, times shares as small as those of pruned variances, stay in range between these sizes.
_SMALLEST, _LARGEST = 1e-130, 1e150


def column_norms(A: _Array, *, each: bool = True) -> _Real:
    """Return norms of columns, one for columns of zeros.

    Parameters
    ----------
    A : ndarray of shape (M, N)
        Dictionary.
    each : bool
        Whether every column has a unit of its own; otherwise all get the root mean square of the norms.

    Returns
    -------
    ndarray of shape (N,)
    """
    norms = np.linalg.norm(A, axis=0)
    if not each:
        norms = np.full(norms.size, math.sqrt(float(np.mean(norms**2))))
    return np.where(norms > 0, norms, 1.0)


@dataclass(frozen=True, eq=False)
class DataUnits:
    """Units of the data and of the columns of each mode.

    Attributes
    ----------
    data : float
        Root mean square of the data.
    columns : list of ndarray of shape (N_k,)
        Norms of the columns.
    """

    data: float
    columns: list[_Real]

    @classmethod
    def of(cls, names: Sequence[str], matrices: Sequence[_Array], Y: _Array, each: Sequence[bool]) -> "DataUnits":
        """Measure units.

        Parameters
        ----------
        names : sequence of str
            What errors call the matrices.
        matrices : sequence of ndarray of shape (M_k, N_k)
            Mode dictionaries.
        Y : ndarray
            Data, not all zero.
        each : sequence of bool
            For each mode, whether every column has a unit of its own.

        Returns
        -------
        DataUnits

        Raises
        ------
        ValueError
            If squares of the data, of columns or of coefficients would leave the range of double precision.
        """
        require_squares("y", Y.reshape(-1))
        for name, A, own in zip(names, matrices, each, strict=True):
            require_squares(name, A, each_column=own)
        columns = [column_norms(A, each=own) for A, own in zip(matrices, each, strict=True)]
        data = math.sqrt(float(np.mean(np.abs(Y) ** 2)))
        # In logarithms: products of norms may leave the range where their quotient does not.
        sizes = [math.log10(data) - sum(math.log10(pick(c)) for c in columns) for pick in (np.max, np.min)]
        if sizes[0] < math.log10(_SMALLEST) or sizes[1] > math.log10(_LARGEST):
            raise ValueError(
                f"y and {', '.join(names)} must have units closer together: coefficients of size 1e{sizes[0]:.0f} to "
                f"1e{sizes[1]:.0f} have squares outside the range of float64; multiply y or columns by constants"
            )
        return cls(data, columns)

    def matrices(self, matrices: Sequence[_Array]) -> list[_Array]:
        """Return dictionaries whose columns have unit norm."""
        return [A / norms for A, norms in zip(matrices, self.columns, strict=True)]

    def _scales(self) -> list[_Real]:
        """Return what variances of each mode are divided by to be in the units of the user."""
        largest = [float(norms.max()) for norms in self.columns]
        unit = self.data
        for size in largest:
            unit /= size
        scales = [(norms / size) ** 2 for norms, size in zip(self.columns, largest, strict=True)]
        scales[-1] = scales[-1] / unit**2
        return scales

    def variances_in(self, gammas: Sequence[_Real]) -> list[_Real]:
        """Return factors of variances, given in the units of the user on all columns, in these units."""
        return [gamma * scale for gamma, scale in zip(gammas, self._scales(), strict=True)]

    def variances_out(self, gammas: Sequence[_Real], kept: Sequence[NDArray[np.intp]]) -> list[_Real]:
        """Return factors of variances on kept columns in the units of the user."""
        return [gamma / scale for gamma, scale in zip(gammas, self.scales_of(kept), strict=True)]

    def scales_of(self, kept: Sequence[NDArray[np.intp]]) -> list[_Real]:
        """Return what variances on kept columns are divided by to be in the units of the user."""
        return [scale[k] for scale, k in zip(self._scales(), kept, strict=True)]

    def coefficients(self) -> _Real:
        """Return the units of all coefficients, shape (N_1, ..., N_d)."""
        result = np.asarray(self.data)
        for norms in self.columns:
            result = result[..., None] / norms
        return result

    def log_volume(self, n_rows: int) -> float:
        """Return what the change of units adds to a cost: the logarithm of the determinant of the data's unit."""
        return 2.0 * n_rows * math.log(self.data)
