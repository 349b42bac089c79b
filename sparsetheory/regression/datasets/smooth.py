"""Designs whose columns are samples of smooth functions on a grid, with fast decay of singular values."""

from typing import Any

import numpy as np

from sparsetheory.constraints import COUNT, FINITE, NONNEGATIVE, generator
from sparsetheory.regression.datasets.gaussian import gaussian_columns, unit_columns
from sparsetheory.typing import Float64Array

__all__ = ["analytic", "cauchy", "runge", "vandermonde"]


def _grid(N: int, start: float) -> Float64Array:
    return np.linspace(start, 1.0, N)[:, None]


def analytic(N: int, d: int, *, width: float = 0.1, tau: float = 1e-6, random_state: Any = None) -> Float64Array:
    """Sample Gaussian bumps at uniform random centres on a grid of [0, 1].

    Singular values decay faster than exponentially, down to the level of the added noise.

    Parameters
    ----------
    N, d : int
        Rows (grid points) and columns (bumps).
    width : float
        Standard deviation of a bump, positive.
    tau : float
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
    >>> values = np.linalg.svd(analytic(50, 80, tau=0.0, random_state=0), compute_uv=False)
    >>> bool(values[30] < 1e-9 * values[0])
    True
    """
    COUNT.require(N=N, d=d)
    NONNEGATIVE.require(tau=tau)
    if not (FINITE.accepts(width) and width > 0):
        raise ValueError(f"width must be positive and finite, got {width!r}")
    rng = generator(random_state)
    # Relative to the grid point nearest to the centre: a very narrow bump must not underflow to a zero column.
    squares = ((_grid(N, 0.0) - rng.uniform(0, 1, d)) / width) ** 2
    bumps = unit_columns(np.exp(-(squares - squares.min(axis=0)) / 2))
    return unit_columns(bumps + tau * gaussian_columns(rng, N, d))


def cauchy(N: int, d: int, *, random_state: Any = None) -> Float64Array:
    """Sample ``1 / (t + theta)`` on a grid of [0, 1], with theta uniform in [0.05, 1].

    No noise, no groups, and six random columns have a condition number of millions.

    Parameters
    ----------
    N, d : int
        Rows (grid points) and columns (poles).
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
    COUNT.require(N=N, d=d)
    return unit_columns(1 / (_grid(N, 0.0) + generator(random_state).uniform(0.05, 1, d)))


def runge(N: int, d: int, *, random_state: Any = None) -> Float64Array:
    """Sample ``1 / (1 + 25 (t - c)^2)`` on a grid of [-1, 1], with c uniform in [-1, 1].

    Smooth like :func:`cauchy`, but the bumps are narrow: a few random columns are well conditioned, an easy case.

    Parameters
    ----------
    N, d : int
        Rows (grid points) and columns (centres).
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
    COUNT.require(N=N, d=d)
    return unit_columns(1 / (1 + 25 * (_grid(N, -1.0) - generator(random_state).uniform(-1, 1, d)) ** 2))


def vandermonde(N: int, d: int, *, random_state: Any = None) -> Float64Array:
    """Sample the monomials ``t^0 .. t^(d-1)`` at ``t = 1/N, 2/N .. 1``.

    Parameters
    ----------
    N, d : int
        Rows (points) and columns (powers).
    random_state : None, int, Generator or RandomState
        Not used: the family is deterministic.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Notes
    -----
    High powers see the last few points only: with d far above N, columns repeat to working precision.

    Examples
    --------
    >>> vandermonde(2, 2).round(4)
    array([[1.    , 0.6325],
           [1.    , 1.2649]])
    """
    COUNT.require(N=N, d=d)
    points = np.arange(1, N + 1)[:, None] / N
    return unit_columns(points ** np.arange(d))
