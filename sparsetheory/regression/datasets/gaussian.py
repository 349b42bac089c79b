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


def gaussian_columns(rng: np.random.Generator, n_samples: int, n_features: int) -> Float64Array:
    """Draw an (n_samples, n_features) matrix of standard normal entries, column after column."""
    return rng.standard_normal((n_features, n_samples)).T


def gaussian(n_samples: int, n_features: int, *, random_state: Any = None) -> Float64Array:
    """Draw independent standard normal entries: the control on which every method works.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns.
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
    COUNT.require(n_samples=n_samples, n_features=n_features)
    return unit_columns(gaussian_columns(generator(random_state), n_samples, n_features))


def brownian(n_samples: int, n_features: int, *, random_state: Any = None) -> Float64Array:
    """Draw rows that are independent random walks of `n_features` steps.

    The condition number of their covariance grows like the square of `n_features`, but a few random columns are far
    apart on the path and well conditioned: a case that looks hard and is easy. The example is that of Kelner, Koehler,
    Meka and Rohatgi.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns.
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
    COUNT.require(n_samples=n_samples, n_features=n_features)
    return unit_columns(np.cumsum(gaussian_columns(generator(random_state), n_samples, n_features), axis=1))


def lowrank(
    n_samples: int, n_features: int, *, rank: int = 4, perturbation: float = 1e-3, random_state: Any = None
) -> Float64Array:
    """Draw columns that lie close to one random subspace.

    With a rank below the size of the support, every support nearly cancels: the Lasso and greedy selection without
    anchors fail.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns.
    rank : int
        Dimension of the subspace, at most `n_samples`.
    perturbation : float
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
    >>> int(np.linalg.matrix_rank(lowrank(20, 30, rank=4, perturbation=0.0, random_state=0)))
    4
    """
    NONNEGATIVE.check("perturbation", perturbation)
    return multiscale(n_samples, n_features, rank=rank, n_scales=1, decay=perturbation, random_state=random_state)


def multiscale(
    n_samples: int, n_features: int, *, rank: int = 2, n_scales: int = 3, decay: float = 3e-2, random_state: Any = None
) -> Float64Array:
    r"""Draw columns whose parts in q random subspaces shrink geometrically.

    :math:`X = \sum_{l<q} \tau^l L_l + \tau^q G` with :math:`L_l` of rank r, columns of all parts of one length, and
    G Gaussian.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns.
    rank : int
        Dimension r of every subspace, at most `n_samples`.
    n_scales : int
        Number q of subspaces.
    decay : float
        Ratio :math:`\tau` of successive sizes.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.linalg.svd(multiscale(50, 80, rank=2, n_scales=2, decay=1e-3, random_state=0), compute_uv=False)
    >>> bool(values[2] < 0.01 * values[1] and values[4] < 0.01 * values[3])
    True
    """
    COUNT.require(n_samples=n_samples, n_features=n_features, rank=rank, n_scales=n_scales)
    NONNEGATIVE.require(decay=decay)
    if rank > n_samples:
        raise ValueError(f"rank must be at most n_samples={n_samples}; got {rank}")
    rng = generator(random_state)
    X = np.zeros((n_samples, n_features), order="F")
    for scale in range(n_scales):
        part = gaussian_columns(rng, n_samples, rank) @ gaussian_columns(rng, rank, n_features)
        X += decay**scale * unit_columns(part)
    X += decay**n_scales * gaussian_columns(rng, n_samples, n_features)
    return unit_columns(X)
