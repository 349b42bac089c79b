"""Designs whose columns are samples of smooth functions on a grid, with fast decay of singular values."""

from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE, generator
from sparsetheory.regression.datasets.gaussian import gaussian_columns, unit_columns
from sparsetheory.typing import Float64Array

__all__ = ["analytic", "cauchy", "runge", "vandermonde"]


def _grid(n_samples: int, start: float) -> Float64Array:
    return np.linspace(start, 1.0, n_samples)[:, None]


def analytic(
    n_samples: int, n_features: int, *, width: float = 0.1, perturbation: float = 1e-6, random_state: Any = None
) -> Float64Array:
    """Sample Gaussian bumps at uniform random centres on a grid of [0, 1].

    Singular values decay faster than exponentially, down to the level of the added noise.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows (grid points) and columns (bumps).
    width : float
        Standard deviation of a bump, positive.
    perturbation : float
        Size of the added Gaussian noise, relative to the bump.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> import numpy as np
    >>> values = np.linalg.svd(analytic(50, 80, perturbation=0.0, random_state=0), compute_uv=False)
    >>> bool(values[30] < 1e-9 * values[0])
    True
    """
    COUNT.require(n_samples=n_samples, n_features=n_features)
    NONNEGATIVE.require(perturbation=perturbation)
    POSITIVE.check("width", width)
    rng = generator(random_state)
    # Relative to the grid point nearest to the centre: a very narrow bump must not underflow to a zero column.
    squares = ((_grid(n_samples, 0.0) - rng.uniform(0, 1, n_features)) / width) ** 2
    bumps = unit_columns(np.exp(-(squares - squares.min(axis=0)) / 2))
    return unit_columns(bumps + perturbation * gaussian_columns(rng, n_samples, n_features))


def cauchy(n_samples: int, n_features: int, *, random_state: Any = None) -> Float64Array:
    """Sample ``1 / (t + theta)`` on a grid of [0, 1], with theta uniform in [0.05, 1].

    No noise, no groups, and six random columns have a condition number of millions.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows (grid points) and columns (poles).
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> import numpy as np
    >>> bool(np.linalg.cond(cauchy(100, 6, random_state=0)) > 1e5)
    True
    """
    COUNT.require(n_samples=n_samples, n_features=n_features)
    return unit_columns(1 / (_grid(n_samples, 0.0) + generator(random_state).uniform(0.05, 1, n_features)))


def runge(n_samples: int, n_features: int, *, random_state: Any = None) -> Float64Array:
    """Sample ``1 / (1 + 25 (t - c)^2)`` on a grid of [-1, 1], with c uniform in [-1, 1].

    Smooth like :func:`cauchy`, but the bumps are narrow: a few random columns are well conditioned, an easy case.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows (grid points) and columns (centres).
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Examples
    --------
    >>> runge(5, 3, random_state=0).shape
    (5, 3)
    """
    COUNT.require(n_samples=n_samples, n_features=n_features)
    centres = generator(random_state).uniform(-1, 1, n_features)
    return unit_columns(1 / (1 + 25 * (_grid(n_samples, -1.0) - centres) ** 2))


def vandermonde(n_samples: int, n_features: int, *, random_state: Any = None) -> Float64Array:
    """Sample the monomials ``t^0 .. t^(d-1)`` at ``t = 1/N, 2/N .. 1``, with N rows and d columns.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows (points) and columns (powers).
    random_state : None, int, Generator or RandomState
        Not used: the family is deterministic.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Notes
    -----
    High powers see the last few points only: with many more columns than rows, columns repeat to working precision.

    Examples
    --------
    >>> vandermonde(2, 2).round(4)
    array([[1.    , 0.6325],
           [1.    , 1.2649]])
    """
    COUNT.require(n_samples=n_samples, n_features=n_features)
    points = np.arange(1, n_samples + 1)[:, None] / n_samples
    return unit_columns(points ** np.arange(n_features))
