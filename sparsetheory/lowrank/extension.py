"""Orthogonal extension of a basis by the new directions of a matrix."""

from dataclasses import dataclass

import numpy as np

from sparsetheory.lowrank.operands import Matrix, largest, squared_norm
from sparsetheory.lowrank.spectra import thin_svd
from sparsetheory.typing import Float64Array

__all__ = ["Extension", "extend_basis"]

# Directions this much weaker than the matrix are rounding noise.
_RELATIVE_DROP = 1e-13


@dataclass(frozen=True, eq=False)
class Extension:
    """A matrix A in terms of a basis U and new directions Q: ``A = U @ inside + Q @ outside`` up to rounding.

    Parameters
    ----------
    inside : ndarray of shape (k, n)
        Coefficients in the basis.
    directions : ndarray of shape (m, t)
        Orthonormal, and orthogonal to the basis.
    outside : ndarray of shape (t, n)
        Coefficients in the new directions.
    values : ndarray of shape (t,)
        Singular values of the part outside the basis, descending.
    """

    inside: Matrix
    directions: Matrix
    outside: Matrix
    values: Float64Array


def extend_basis(basis: Matrix, matrix: Matrix) -> Extension:
    """Split a matrix by an orthonormal basis and find an orthonormal basis of the rest.

    Notes
    -----
    What is left of a column after projection keeps an error of u times its norm inside the basis. Normalising a weak
    direction magnifies that error, so the second projection is applied to the normalised directions, not to the
    matrix. Costs O(m (k + n) n).
    """
    inside = basis.conj().T @ matrix
    directions, values, vh = thin_svd(matrix - basis @ inside)
    new = values > _RELATIVE_DROP * _norm(matrix)
    directions, values = directions[:, new], values[new]
    outside = values[:, None] * vh[new]
    if basis.shape[1] and values.size:
        leak = basis.conj().T @ directions
        directions, change = np.linalg.qr(directions - basis @ leak)
        inside, outside = inside + leak @ outside, change @ outside
    return Extension(inside, directions, outside, values)


def _norm(matrix: Matrix) -> float:
    """Frobenius norm, also where squares leave the range of float64."""
    peak = largest(matrix)
    return peak * squared_norm(matrix / peak) ** 0.5 if peak else 0.0
