"""Which supports are consistent with the rewards that were observed."""

import math

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.supports.enumeration import MAX_SUPPORTS, all_supports
from sparsetheory.bandits.supports.residuals import compressed, residual_norms, residuals_of_moments
from sparsetheory.constraints import COUNT, NONNEGATIVE, Integer
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["checked_rows", "screen_supports"]

# Limits below this share of the squared norm of the rewards are beyond what moments can tell.
_TELL = 1e-8


def screen_supports(
    XtX: ArrayLike,
    Xty: ArrayLike,
    yty: float,
    n: int,
    n_nonzero: int,
    eps: float,
    *,
    rows: ArrayLike | None = None,
    rewards: ArrayLike | None = None,
    max_supports: int = MAX_SUPPORTS,
) -> IndexArray:
    r"""Return the supports on which a linear function can be within `eps` of all observed rewards.

    If rewards are within eps of a function on the support M, then the residual sum of squares of M over the n
    observations is at most :math:`n\,\varepsilon^2`. All other supports are discarded. The true one never is, nor are
    supports that hold it.

    Parameters
    ----------
    XtX : array-like of shape (d, d)
        Sum of the outer products of the features of all observations, in double precision.
    Xty : array-like of shape (d,)
        Sum of features times rewards, in double precision.
    yty : float
        Sum of squares of rewards.
    n : int
        Number of observations.
    n_nonzero : int
        Size of supports, from 1 to d.
    eps : float
        Bound of the misspecification, in the unit of the rewards. With noise add a bound of all noise.
    rows : array-like of shape (n, d), optional
        Features of all observations. With them supports that moments cannot tell, because their features are nearly
        dependent or `eps` is tiny against the rewards, are decided by a factorisation; without them they are kept.
    rewards : array-like of shape (n,), optional
        The observed rewards; needed with `rows`.
    max_supports : int
        Most supports that may be listed.

    Returns
    -------
    ndarray of int, of shape (m, n_nonzero)
        Those that survive, in lexicographic order.

    Raises
    ------
    ValueError
        If there are more supports than `max_supports`, shapes do not fit, or an entry is NaN or infinite.

    Notes
    -----
    Takes O(C(d, s) s^2) time and O(C(d, s) s) memory, s being `n_nonzero`; a support that is decided by its rows takes
    O(min(n, d) s^2). Rounding is allowed for, by a share of ``yty`` of 1e-10 and of 1e-13 over the product of
    relative pivots; both leave room above the errors that were observed.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((40, 6))
    >>> y = X[:, 1] - X[:, 4] + 0.1 * np.sin(np.arange(40))
    >>> screen_supports(X.T @ X, X.T @ y, y @ y, 40, 2, eps=0.1).tolist()
    [[1, 4]]
    """
    G, b = _moments(XtX, Xty)
    yty, eps = NONNEGATIVE.check("yty", yty), NONNEGATIVE.check("eps", eps)
    n = COUNT.check("n", n)
    s = Integer(1, len(b)).check("n_nonzero", n_nonzero)
    if (rows is None) != (rewards is None):
        raise ValueError("rows and rewards must be given together, or neither")
    supports = all_supports(len(b), s, max_supports)
    limit = n * eps**2
    residuals, slack = residuals_of_moments(G, b, yty, supports)
    survive = residuals - slack <= limit
    if rows is not None and rewards is not None:
        X, y = checked_rows(rows, rewards)
        if X.shape != (n, len(b)):
            raise ValueError(f"rows must be of shape {(n, len(b))}, as n and XtX say; got shape {X.shape}")
        # What only the slack has kept, and everything where moments cannot tell.
        doubtful = np.flatnonzero(survive & ((residuals > limit) | (limit < _TELL * yty)))
        if doubtful.size:
            norms = residual_norms(compressed(X, y), supports[doubtful])
            survive[doubtful] = norms <= math.sqrt(n) * eps * (1 + 1e-12)
    return supports[survive]


def checked_rows(rows: ArrayLike, rewards: ArrayLike) -> tuple[Float64Array, Float64Array]:
    """Return features and rewards of observations in double precision.

    Raises
    ------
    ValueError
        If their shapes do not fit, or one holds NaN or infinity; the message names the first such row.
    """
    X, y = np.asarray(rows, dtype=np.float64), np.asarray(rewards, dtype=np.float64)
    if X.ndim != 2 or not X.size:
        raise ValueError(f"rows must be a matrix with entries; got shape {X.shape}")
    if y.shape != (len(X),):
        raise ValueError(f"rewards must be of shape {(len(X),)}, one for each row; got shape {y.shape}")
    for name, finite in (("rows", np.isfinite(X).all(axis=1)), ("rewards", np.isfinite(y))):
        if not finite.all():
            raise ValueError(f"{name} must be finite; got NaN or infinity in row {int(np.argmin(finite))}")
    return X, y


def _moments(XtX: ArrayLike, Xty: ArrayLike) -> tuple[Float64Array, Float64Array]:
    given = {"XtX": np.asarray(XtX), "Xty": np.asarray(Xty)}
    for name, moments in given.items():
        if moments.dtype.kind not in "iuf" or (moments.dtype.kind == "f" and moments.dtype.itemsize < 8):
            raise ValueError(f"{name} must hold real numbers in double precision; got dtype {moments.dtype}")
    G, b = (np.ascontiguousarray(moments, dtype=np.float64) for moments in given.values())
    if b.ndim != 1 or not b.size or G.shape != (len(b), len(b)):
        raise ValueError(f"XtX must be of shape (d, d) for Xty of shape (d,); got shapes {G.shape} and {b.shape}")
    for name, finite in (("XtX", np.isfinite(G).all(axis=1)), ("Xty", np.isfinite(b))):
        if not finite.all():
            raise ValueError(f"{name} must be finite; got NaN or infinity in row {int(np.argmin(finite))}")
    return G, b
