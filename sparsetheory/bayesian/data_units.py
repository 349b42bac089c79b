"""Units in which data have mean square one and columns unit norm, so that nothing depends on those of the user."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsetheory.ranges import require_squares
from sparsetheory.typing import Float64Array, IndexArray, InexactArray

__all__ = ["DataUnits", "column_norms", "mode_names", "require_coefficients"]

# Squares of coefficients, times fractions as small as those of small variances, stay in range between these sizes
# (decimal logarithms).
_SMALLEST, _LARGEST = -130.0, 150.0
# Decimal logarithm of the largest quotient of noise and data, or of data and noise.
_FAR_NOISE = 100.0


def column_norms(A: InexactArray, *, each: bool = True) -> Float64Array:
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


def mode_names(n_modes: int) -> list[str]:
    """Return what errors call dictionaries: X for a single one."""
    return [f"the dictionary of mode {k}" for k in range(n_modes)] if n_modes > 1 else ["X"]


def require_coefficients(names: str, data: float, smallest: float, largest: float) -> None:
    """Raise ValueError if squares of coefficients, and small fractions of those, would leave the range.

    Parameters
    ----------
    names : str
        What the error calls the matrices.
    data : float
        Decimal logarithm of the root mean square of the data.
    smallest, largest : float
        Decimal logarithms of the units of coefficients: the data over norms of columns.
    """
    if min(data, smallest) < _SMALLEST or max(data, largest) > _LARGEST:
        raise ValueError(
            f"y and {names} must have other units: data of size 1e{data:.0f} and coefficients of size 1e{smallest:.0f} "
            f"to 1e{largest:.0f} have squares outside the range of float64; multiply y or columns by constants"
        )


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
    columns: list[Float64Array]

    @classmethod
    def of(
        cls, names: Sequence[str], matrices: Sequence[InexactArray], Y: InexactArray, each: Sequence[bool]
    ) -> "DataUnits":
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
        require_coefficients(", ".join(names), math.log10(data), *sizes)
        return cls(data, columns)

    def noise_in(self, noise_variance: float | None) -> float | None:
        """Return a noise variance in these units; None, for one that is learned, stays None.

        Raises
        ------
        ValueError
            If it is too far from the mean square of the data for double precision.
        """
        if noise_variance is None:
            return None
        exponent = math.log10(noise_variance) - 2.0 * math.log10(self.data)
        if abs(exponent) > _FAR_NOISE:
            raise ValueError(
                f"noise_variance must not be 1e{exponent:.0f} times the mean square of y; got {noise_variance!r}"
            )
        return (math.sqrt(noise_variance) / self.data) ** 2

    def matrices(self, matrices: Sequence[InexactArray]) -> list[InexactArray]:
        """Return dictionaries whose columns have unit norm."""
        return [A / norms for A, norms in zip(matrices, self.columns, strict=True)]

    def _scales(self) -> list[Float64Array]:
        """Return what variances of each mode are divided by to be in the units of the user."""
        largest = [float(norms.max()) for norms in self.columns]
        unit = self.data
        for size in largest:
            unit /= size
        scales = [(norms / size) ** 2 for norms, size in zip(self.columns, largest, strict=True)]
        scales[-1] = scales[-1] / unit**2
        return scales

    def variances_in(self, variances: Sequence[Float64Array]) -> list[Float64Array]:
        """Return factors of variances, given in the units of the user on all columns, in these units."""
        return [gamma * scale for gamma, scale in zip(variances, self._scales(), strict=True)]

    def variances_out(self, variances: Sequence[Float64Array], kept: Sequence[IndexArray]) -> list[Float64Array]:
        """Return factors of variances on kept columns in the units of the user."""
        return [gamma / scale for gamma, scale in zip(variances, self.scales_of(kept), strict=True)]

    def scales_of(self, kept: Sequence[IndexArray]) -> list[Float64Array]:
        """Return what variances on kept columns are divided by to be in the units of the user."""
        return [scale[k] for scale, k in zip(self._scales(), kept, strict=True)]

    def coefficients(self) -> Float64Array:
        """Return the units of all coefficients, shape (N_1, ..., N_d)."""
        result = np.asarray(self.data)
        for norms in self.columns:
            result = result[..., None] / norms
        return result

    def log_volume(self, n_rows: int) -> float:
        """Return what the change of units adds to a cost: the logarithm of the determinant of the data's unit."""
        return 2.0 * n_rows * math.log(self.data)
