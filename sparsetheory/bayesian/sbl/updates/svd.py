"""Nearest separable tensor by successive truncation: the approximate maximisation step of SVD-KroSBL."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.factor_checks import check_moments
from sparsetheory.typing import Float64Array

__all__ = ["separable_factors", "svd_update"]

# Eigenvalues this close to the largest, relative to it, count as equal: rounding of a symmetric eigensolver.
_TIED = 1e-13


def _leading_vector(gram: Float64Array) -> Float64Array:
    """Return a leading eigenvector without negative entries of a matrix without negative entries.

    Where the largest eigenvalue is multiple, the projection of the vector of ones on its eigenspace: a sum of Perron
    vectors with disjoint supports, each with a positive weight.
    """
    values, vectors = np.linalg.eigh(gram)
    tied = values >= values[-1] * (1.0 - _TIED * values.size)
    if tied.sum() == 1:
        return np.abs(vectors[:, -1])
    block = vectors[:, tied]
    vector = np.abs(block @ block.sum(axis=0))
    return vector / np.linalg.norm(vector)


def _truncated(T: Float64Array) -> tuple[Float64Array, Float64Array]:
    """Return a unit vector u and ``u.T @ T`` for the leading singular triplet of a matrix without negative entries."""
    # Squares of tiny entries underflow in the Gram matrix.
    scale = float(T.max())
    if scale == 0.0:
        return np.full(T.shape[0], T.shape[0] ** -0.5), np.zeros(T.shape[1])
    T = T / scale
    if T.shape[0] <= T.shape[1]:
        u = _leading_vector(T @ T.T)
    else:
        u = T @ _leading_vector(T.T @ T)
        u /= np.linalg.norm(u)
    return u, (u @ T) * scale


def separable_factors(second_moment: Float64Array) -> list[Float64Array]:
    """Approximate a tensor without negative entries by an outer product.

    Parameters
    ----------
    second_moment : ndarray of shape (N_1, ..., N_d)
        C-ordered.

    Returns
    -------
    list of ndarray of shape (N_i,)
        Not negative; all but the last of unit norm.
    """
    factors, rest = [], second_moment
    for n in second_moment.shape[:-1]:
        factor, rest = _truncated(rest.reshape(n, -1))
        factors.append(factor)
    return [*factors, rest.reshape(-1)]


def svd_update(second_moment: ArrayLike) -> list[Float64Array]:
    r"""Return a nearly nearest outer product of posterior second moments.

    Mode by mode, the leading singular vector of the unfolding becomes the factor, and the rest goes on.

    Parameters
    ----------
    second_moment : array-like of shape (N_1, ..., N_d)
        Posterior second moments.

    Returns
    -------
    list of ndarray of shape (N_i,)
        Not negative; all but the last of unit norm.

    Raises
    ------
    ValueError
        If a moment is negative or not finite.

    Notes
    -----
    O(N min(N_k, N/N_k)) per mode: one eigenvalue problem of the smaller Gram matrix. The distance to `second_moment` is
    at most :math:`\sqrt{d - 1}` times that of any outer product (ours, as for other truncated decompositions of
    tensors). This is not a maximisation step: the cost may rise. Y. He and G. Joseph, arXiv:2307.14719, SVD-KroSBL.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import svd_update
    >>> np.outer(*svd_update(np.outer([1.0, 2.0], [3.0, 4.0, 5.0]))).round(12).tolist()
    [[3.0, 4.0, 5.0], [6.0, 8.0, 10.0]]
    """
    return separable_factors(check_moments("second_moment", second_moment))
