"""One expectation step, and the cost, as plain functions."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bayesian.kronecker.checks import as_tensor, check_dictionaries
from sparsetheory.bayesian.kronecker.factor_checks import check_factors
from sparsetheory.bayesian.noise import VARIANCE
from sparsetheory.bayesian.sbl.posterior.kronecker import KronPosterior, posterior_of

__all__ = ["kron_posterior", "sbl_cost"]


def kron_posterior(
    dictionaries: Sequence[ArrayLike], y: ArrayLike, variances: Sequence[ArrayLike], *, noise_variance: float
) -> KronPosterior:
    """Return the posterior of a vector with separable prior variances, given noisy Kronecker measurements.

    Parameters
    ----------
    dictionaries : sequence of array-like, of shapes (M_i, N_i)
        Mode dictionaries, real or complex; A is ``kron(dictionaries[0], kron(dictionaries[1], ...))``.
    y : array-like of shape (M,), (M, n_snapshots) or (M_1, ..., M_d)
        Measurements; the last mode varies fastest.
    variances : sequence of array-like of shape (N_i,)
        Factors of the prior variances; their outer product counts. Zeros are allowed.
    noise_variance : float
        Positive.

    Returns
    -------
    KronPosterior
        In double precision.

    Raises
    ------
    ValueError
        If a shape does not fit, a value is not finite, or a variance is out of range.

    Notes
    -----
    O(sum of M_i^3 + N_i M_i^2) for the small matrices, 2 d mode products, and memory O(N + M): the Kronecker matrix
    and the covariance are never formed. For N = 216 000 that is milliseconds. Y. He and G. Joseph, arXiv:2307.14719
    (model); the eigenvalue form of all quantities is ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import kron_posterior
    >>> rng = np.random.default_rng(0)
    >>> dictionaries = [rng.standard_normal((4, 6)), rng.standard_normal((3, 5))]
    >>> y, g = rng.standard_normal(12), [np.ones(6), rng.uniform(size=5)]
    >>> p = kron_posterior(dictionaries, y, g, noise_variance=0.1)
    >>> A, G = np.kron(*dictionaries), np.kron(*g)
    >>> C = 0.1 * np.eye(12) + A * G @ A.T
    >>> np.allclose(p.mean.ravel(), G * (A.T @ np.linalg.solve(C, y)))
    True
    """
    modes = check_dictionaries(dictionaries)
    data = as_tensor(y, modes.rows, "y")
    factors = check_factors("variances", variances, modes.columns)
    noise = VARIANCE.check("noise_variance", noise_variance)
    dtype = np.result_type(data.values, modes.matrices[0])
    matrices = [A.astype(dtype, copy=False) for A in modes.matrices]
    return posterior_of(matrices, data.values.astype(dtype, copy=False), factors, noise)


def sbl_cost(
    dictionaries: Sequence[ArrayLike], y: ArrayLike, variances: Sequence[ArrayLike], *, noise_variance: float
) -> float:
    r"""Return the cost that sparse Bayesian learning minimises.

    Parameters
    ----------
    dictionaries, y, variances, noise_variance
        As in :func:`kron_posterior`.

    Returns
    -------
    float
        :math:`\log\det C + y^H C^{-1} y`, the second term averaged over snapshots: up to a constant, minus the log
        evidence per snapshot (times two for real data).

    Raises
    ------
    ValueError
        As in :func:`kron_posterior`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import sbl_cost
    >>> print(round(sbl_cost([np.ones((1, 1))], [2.0], [[3.0]], noise_variance=1.0) - np.log(4.0), 12))
    1.0
    """
    return kron_posterior(dictionaries, y, variances, noise_variance=noise_variance).cost
