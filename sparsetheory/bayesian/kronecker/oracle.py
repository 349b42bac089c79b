"""Least squares on a known Kronecker support, and the error that noise leaves it."""

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.algebra import mode_products
from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.bayesian.kronecker.factor_checks import check_supports
from sparsetheory.bayesian.noise import VARIANCE
from sparsetheory.typing import AnyArray, IndexArray, InexactArray

__all__ = ["fit_on_supports", "oracle_ls", "oracle_nmse"]


def fit_on_supports(matrices: Sequence[InexactArray], Y: InexactArray, supports: Sequence[IndexArray]) -> InexactArray:
    """Return least-squares coefficients on a product of supports, of shape (K_1, ..., K_d) or with snapshots behind."""
    inverses = [np.linalg.pinv(A[:, support]) for A, support in zip(matrices, supports, strict=True)]
    return mode_products(Y, inverses)


def oracle_ls(dictionaries: Sequence[ArrayLike], y: ArrayLike, supports: Sequence[ArrayLike]) -> AnyArray:
    """Fit a vector by least squares on the product of known supports.

    Parameters
    ----------
    dictionaries : sequence of array-like, of shapes (M_i, N_i)
        Mode dictionaries.
    y : array-like of shape (M,), (M, n_snapshots) or (M_1, ..., M_d)
        Measurements.
    supports : sequence of array-like of int
        Support of each mode.

    Returns
    -------
    ndarray of shape (N,) or (N, n_snapshots)
        Zero elsewhere.

    Raises
    ------
    ValueError
        If a shape does not fit or an index is out of range.

    Notes
    -----
    One pseudoinverse per mode: the pseudoinverse of a Kronecker product is the product of those of its factors.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import make_kron_sparse, oracle_ls
    >>> problem = make_kron_sparse((4, 5), (6, 7), (2, 3), snr_db=300, random_state=0)
    >>> np.allclose(oracle_ls(problem.dictionaries, problem.y, problem.supports), problem.x)
    True
    """
    modes = check_dictionaries(dictionaries)
    data = as_tensor(y, modes.rows, "y")
    chosen = check_supports(supports, modes.columns)
    values = fit_on_supports(modes.matrices, data.values, chosen)
    x = np.zeros((*modes.columns, *values.shape[data.n_modes :]), dtype=values.dtype)
    x[np.ix_(*chosen)] = values
    flat = x.reshape(math.prod(modes.columns), *x.shape[data.n_modes :])
    return modes.with_precision(flat, data.single)


def oracle_nmse(
    dictionaries: Sequence[ArrayLike], supports: Sequence[ArrayLike], truth: ArrayLike, *, noise_variance: float
) -> float:
    r"""Return the expected relative squared error of least squares on the true supports.

    Parameters
    ----------
    dictionaries : sequence of array-like, of shapes (M_i, N_i)
        Mode dictionaries, of full column rank on the supports.
    supports : sequence of array-like of int
        Support of each mode.
    truth : array-like of shape (N,)
        The true coefficients x.
    noise_variance : float
        Variance of the noise; of both parts together for complex data.

    Returns
    -------
    float
        :math:`\sigma^2 \prod_i \mathrm{tr}(A_{i,S_i}^H A_{i,S_i})^{-1} / \|x\|^2`.

    Raises
    ------
    ValueError
        If a shape does not fit, the truth is zero, or the columns of a support are linearly dependent.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import oracle_nmse
    >>> oracle_nmse([np.eye(3), np.eye(2)], [[0, 1], [1]], [0, 3.0, 0, 4.0, 0, 0], noise_variance=0.5) == 0.5 * 2 / 25
    True
    """
    modes = check_dictionaries(dictionaries)
    values = as_tensor(truth, modes.columns, "truth").values
    energy = float(np.sum(np.abs(values) ** 2))
    if energy == 0:
        raise ValueError("truth must not be zero: the error is relative to it")
    traces = VARIANCE.check("noise_variance", noise_variance)
    for k, (A, support) in enumerate(zip(modes.matrices, check_supports(supports, modes.columns), strict=True)):
        values = np.linalg.svd(A[:, support], compute_uv=False)
        if support.size > A.shape[0] or values[-1] <= values[0] * max(A.shape) * np.finfo(float).eps:
            raise ValueError(f"the columns of mode {k} on its support are linearly dependent: the error is infinite")
        traces *= float(np.sum(values**-2.0))
    return traces / energy
