"""The Lasso on noisy moments, made positive semidefinite. A bridge to the path solver of the regression room."""

import numpy as np

from sparsetheory.regression.lasso.path import gram_lasso_path
from sparsetheory.typing import Float64Array

__all__ = ["positive_part", "psd_lasso"]


def positive_part(second: Float64Array) -> Float64Array:
    """Return the nearest positive semidefinite matrix in the Frobenius norm."""
    eigenvalues, vectors = np.linalg.eigh(second)
    return (vectors * np.maximum(eigenvalues, 0.0)) @ vectors.T


def psd_lasso(second: Float64Array, cross: Float64Array, alpha: float, tol: float) -> Float64Array:
    r"""Minimise :math:`\frac12 \theta^T A_+ \theta - \langle b, \theta \rangle + \alpha \|\theta\|_1`.

    The part of b outside the range of :math:`A_+` is dropped, as the objective would be unbounded along it for a small
    `alpha`.

    Parameters
    ----------
    second : ndarray of shape (n_features, n_features)
        Released moments A.
    cross : ndarray of shape (n_features,)
        Released moments b.
    alpha : float
        Strength of the penalty, positive.
    tol : float
        Tolerance, relative to half the energy of the projected moments, for the duality gap.

    Returns
    -------
    ndarray of shape (n_features,)
    """
    eigenvalues, vectors = np.linalg.eigh(second)
    kept = eigenvalues > 1e-8 * eigenvalues[-1]
    if not kept.any():
        return np.zeros_like(cross)
    basis, curvatures = vectors[:, kept], eigenvalues[kept]
    projected = basis.T @ cross
    gram = (basis * curvatures) @ basis.T
    energy = float(projected @ (projected / curvatures)) * (1 + 1e-9)
    path = gram_lasso_path((gram + gram.T) / 2, basis @ projected, energy, alphas=[alpha], tol=tol)
    return path.coefs[:, 0]
