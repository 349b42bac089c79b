"""Designs that are hard on chosen supports only, and those supports: negative controls."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.linalg

from sparsetheory.constraints import COUNT, POSITIVE, Integer, generator
from sparsetheory.regression.datasets.gaussian import gaussian_columns, unit_columns
from sparsetheory.regression.datasets.near_duplicates import pairs
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["WorstCase", "sparse_precision", "worst_pairs", "worst_sparse_precision", "worst_zwj_blocks", "zwj_blocks"]


@dataclass(frozen=True, eq=False)
class WorstCase:
    """A design with a support and coefficients on which methods fail.

    Parameters
    ----------
    X : ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``.
    support : ndarray of shape (n_nonzero,)
        Features that count, ascending.
    coef : ndarray of shape (n_nonzero,)
        Their coefficients, in the order of `support`.
    """

    X: Float64Array
    support: IndexArray
    coef: Float64Array

    @property
    def signal(self) -> Float64Array:
        """The noiseless response ``X[:, support] @ coef``, of shape (n_samples,)."""
        return self.X[:, self.support] @ self.coef


def _of_unit_size(X: Float64Array, support: IndexArray, coef: Float64Array) -> WorstCase:
    """Sort the support and scale the signal to a root mean square of 1."""
    order = np.argsort(support)
    case = WorstCase(X, support[order], coef[order])
    return WorstCase(X, case.support, case.coef * (np.sqrt(X.shape[0]) / np.linalg.norm(case.signal)))


def zwj_blocks(n_samples: int, n_features: int, *, random_state: Any = None) -> Float64Array:
    r"""Build pairs of columns that almost cancel when added, on which no separable penalty is fast.

    Block diagonal with blocks :math:`\sqrt n \begin{pmatrix} \cos a & -\cos a \\ \sin a & \sin a \end{pmatrix}`,
    :math:`\sin a = n^{-1/4}`.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns: the same even number n.
    random_state : None, int, Generator or RandomState
        Not used: the family is deterministic.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Notes
    -----
    The mechanism is that of Zhang, Wainwright and Jordan (Electronic Journal of Statistics 11, 2017): coordinate
    separable penalties have an error of order :math:`n^{-1/2}` where best subset selection has 1/n. The exact angle
    is ours; that the Lasso with the best penalty does no better than zero was measured.

    Examples
    --------
    >>> zwj_blocks(16, 16)[:3, :2].round(3)
    array([[ 3.464, -3.464],
           [ 2.   ,  2.   ],
           [ 0.   ,  0.   ]])
    """
    COUNT.require(n_samples=n_samples, n_features=n_features)
    if n_features != n_samples or n_samples % 2:
        raise ValueError(
            f"n_samples and n_features must be the same even number for zwj_blocks; got {n_samples} and {n_features}"
        )
    sine = n_samples**-0.25
    cosine = np.sqrt(1 - sine**2)
    X = np.zeros((n_samples, n_features), order="F")
    first, second = np.arange(0, n_samples, 2), np.arange(1, n_samples, 2)
    X[first, first], X[first, second] = cosine, -cosine
    X[second, first] = X[second, second] = sine
    return X * np.sqrt(n_samples)


def worst_zwj_blocks(n_samples: int, n_features: int, *, n_nonzero: int = 2, random_state: Any = None) -> WorstCase:
    """Return the first block of :func:`zwj_blocks` with coefficients 1/2 and 1/2.

    The signal has the size ``n_samples ** -0.25``.

    Parameters
    ----------
    n_samples, n_features : int
        The same even number.
    n_nonzero : int
        Must be 2.
    random_state : None, int, Generator or RandomState
        Not used.

    Returns
    -------
    WorstCase

    Examples
    --------
    >>> import numpy as np
    >>> case = worst_zwj_blocks(256, 256)
    >>> round(float(np.mean(case.signal**2)), 6)  # 256 ** -0.5
    0.0625
    """
    if not (COUNT.accepts(n_nonzero) and n_nonzero == 2):
        raise ValueError(f"n_nonzero must be 2 for zwj_blocks; got {n_nonzero!r}")
    return WorstCase(zwj_blocks(n_samples, n_features), np.arange(2), np.full(2, 0.5))


def worst_pairs(
    n_samples: int, n_features: int, *, n_nonzero: int = 2, perturbation: float = 1e-3, random_state: Any = None
) -> WorstCase:
    """Draw :func:`pairs` with the first pair on the support, as a difference; the rest are other heads, at zero.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns; `n_features` is even.
    n_nonzero : int
        Size of the support, between 2 and ``n_features / 2 + 1``.
    perturbation : float
        Size of the difference within a pair, positive.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    WorstCase
        The signal has root mean square 1. Only the pair has coefficients other than zero.

    Examples
    --------
    >>> case = worst_pairs(50, 20, n_nonzero=3, perturbation=1e-4, random_state=0)
    >>> case.support[:2].tolist(), bool(abs(case.coef[:2]).min() > 5e3)
    ([0, 1], True)
    """
    rng = generator(random_state)
    X = pairs(n_samples, n_features, perturbation=perturbation, random_state=rng)
    # Equal columns would cancel completely.
    POSITIVE.check("perturbation", perturbation)
    n_pairs = n_features // 2
    Integer(2, n_pairs + 1).check("n_nonzero", n_nonzero)
    others = 2 * (1 + rng.choice(n_pairs - 1, n_nonzero - 2, replace=False)) if n_nonzero > 2 else np.zeros(0, np.intp)
    support = np.concatenate([np.arange(2), others])
    return _of_unit_size(X, support, np.concatenate([[1.0, -1.0], np.zeros(n_nonzero - 2)]))


def sparse_precision(
    n_samples: int, n_features: int, *, weight: int = 4, ridge: float = 1e-4, random_state: Any = None
) -> Float64Array:
    r"""Draw Gaussian rows that almost satisfy many sparse linear relations.

    Rows are :math:`N(0, \Theta^{-1})` with :math:`\Theta = A^\top A + \eta I` and A of d/2 rows with `weight` random
    signs each: :math:`X a` is small for every row a of A. In the spirit of the erasure-robust hard instances of
    Kelner, Koehler, Meka and Rohatgi for preconditioned Lassos; the details are ours.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns, `n_features` at least 2.
    weight : int
        Entries of a row of A, at most `n_features`.
    ridge : float
        Strength :math:`\eta` of the ridge, positive: the condition number of the rows' covariance is about its
        inverse.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    ndarray of shape (n_samples, n_features)
        Columns of Euclidean norm ``sqrt(n_samples)``, Fortran order.

    Notes
    -----
    O(d^3 + N d^2).

    Examples
    --------
    >>> sparse_precision(5, 8, random_state=0).shape
    (5, 8)
    """
    return unit_columns(_draw_rows(n_samples, n_features, weight, ridge, generator(random_state))[0])


def _draw_rows(
    n_samples: int, n_features: int, weight: int, ridge: float, rng: np.random.Generator
) -> tuple[Float64Array, Float64Array]:
    """Draw rows with the sparse precision matrix, and A."""
    COUNT.require(n_samples=n_samples, n_features=n_features, weight=weight)
    if n_features < 2 or weight > n_features:
        raise ValueError(f"n_features must be at least 2 and at least weight={weight}; got {n_features}")
    POSITIVE.check("ridge", ridge)
    A = np.zeros((n_features // 2, n_features))
    for row in A:
        row[rng.choice(n_features, weight, replace=False)] = rng.choice([-1.0, 1.0], weight)
    factor = np.linalg.cholesky(A.T @ A + ridge * np.eye(n_features))
    rows = scipy.linalg.solve_triangular(factor, gaussian_columns(rng, n_features, n_samples), trans="T", lower=True)
    return rows.T, A


def worst_sparse_precision(
    n_samples: int, n_features: int, *, n_nonzero: int = 4, ridge: float = 1e-4, random_state: Any = None
) -> WorstCase:
    """Draw :func:`sparse_precision` with relations among `n_nonzero` columns, and take one relation as the signal.

    Parameters
    ----------
    n_samples, n_features : int
        Numbers of rows and columns.
    n_nonzero : int
        Size of the support: the weight of the relations.
    ridge : float
        Strength of the ridge, positive.
    random_state : None, int, Generator or RandomState
        Seed.

    Returns
    -------
    WorstCase
        The signal has root mean square 1.

    Examples
    --------
    >>> worst_sparse_precision(50, 20, n_nonzero=3, random_state=0).support.size
    3
    """
    COUNT.require(n_samples=n_samples, n_features=n_features, n_nonzero=n_nonzero)
    if n_nonzero > n_features:
        raise ValueError(f"n_nonzero must be at most n_features={n_features}; got {n_nonzero}")
    rows, A = _draw_rows(n_samples, n_features, n_nonzero, ridge, generator(random_state))
    support = np.flatnonzero(A[0])
    coef = A[0, support] * np.linalg.norm(rows[:, support], axis=0)
    return _of_unit_size(unit_columns(rows), support, coef)
