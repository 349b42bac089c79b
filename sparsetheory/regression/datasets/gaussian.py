"""Designs made of Gaussian vectors: independent, low rank, multiscale, random walks."""

from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, NONNEGATIVE, generator
from sparsetheory.typing import Float64Array

__all__ = ["brownian", "gaussian", "gaussian_columns", "lowrank", "multiscale", "unit_columns"]


def unit_columns(X: Float64Array) -> Float64Array:
    """Scale every column to Euclidean norm ``sqrt(n_rows)`` and return them in Fortran order."""
    X = np.asfortranarray(X, dtype=np.float64)
    return np.asfortranarray(X * (np.sqrt(X.shape[0]) / np.linalg.norm(X, axis=0)))


def gaussian_columns(rng: np.random.Generator, N: int, d: int) -> Float64Array:
    """Draw an (N, d) matrix of standard normal entries, column after column."""
    return rng.standard_normal((d, N)).T


def gaussian(N: int, d: int, *, random_state: Any = None) -> Float64Array:
    """Draw independent standard normal entries: the control on which every method works.

    Parameters
    ----------
    N, d : int
        Rows and columns.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> gaussian(4, 3, random_state=0).shape
    (4, 3)
    """
    COUNT.require(N=N, d=d)
    return unit_columns(gaussian_columns(generator(random_state), N, d))


def brownian(N: int, d: int, *, random_state: Any = None) -> Float64Array:
    """Draw rows that are independent random walks of d steps.

    The condition number of their covariance grows like d squared, but a few random columns are far apart on the path
    and well conditioned: a case that looks hard and is easy. The example is that of Kelner, Koehler, Meka and Rohatgi.

    Parameters
    ----------
    N, d : int
        Rows and columns.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> X = brownian(500, 100, random_state=0)
    >>> bool(X[:, 98] @ X[:, 99] > 0.98 * 500)
    True
    """
    COUNT.require(N=N, d=d)
    return unit_columns(np.cumsum(gaussian_columns(generator(random_state), N, d), axis=1))


def lowrank(N: int, d: int, *, r: int = 4, tau: float = 1e-3, random_state: Any = None) -> Float64Array:
    """Draw columns that lie close to one random subspace.

    With r below the size of the support, every support nearly cancels: the Lasso and greedy selection without anchors
    fail.

    Parameters
    ----------
    N, d : int
        Rows and columns.
    r : int
        Dimension of the subspace, at most N.
    tau : float
        Size of the independent Gaussian part, relative to the part in the subspace.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> import numpy as np
    >>> int(np.linalg.matrix_rank(lowrank(20, 30, r=4, tau=0.0, random_state=0)))
    4
    """
    return multiscale(N, d, r=r, q=1, tau=tau, random_state=random_state)


def multiscale(N: int, d: int, *, r: int = 2, q: int = 3, tau: float = 3e-2, random_state: Any = None) -> Float64Array:
    r"""Draw columns whose parts in q random subspaces shrink geometrically.

    :math:`X = \sum_{l<q} \tau^l L_l + \tau^q G` with :math:`L_l` of rank r, columns of all parts of one length, and
    G Gaussian.

    Parameters
    ----------
    N, d : int
        Rows and columns.
    r : int
        Dimension of every subspace, at most N.
    q : int
        Number of subspaces.
    tau : float
        Ratio of successive sizes.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.linalg.svd(multiscale(50, 80, r=2, q=2, tau=1e-3, random_state=0), compute_uv=False)
    >>> bool(values[2] < 0.01 * values[1] and values[4] < 0.01 * values[3])
    True
    """
    COUNT.require(N=N, d=d, r=r, q=q)
    NONNEGATIVE.require(tau=tau)
    if r > N:
        raise ValueError(f"r must be at most N={N}, got {r}")
    rng = generator(random_state)
    X = np.zeros((N, d), order="F")
    for level in range(q):
        X += tau**level * unit_columns(gaussian_columns(rng, N, r) @ gaussian_columns(rng, r, d))
    X += tau**q * gaussian_columns(rng, N, d)
    return unit_columns(X)
