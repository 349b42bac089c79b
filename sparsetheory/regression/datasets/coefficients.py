"""Random supports, and coefficients on them chosen to cancel."""

from numbers import Real
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT, FINITE, Choice, generator
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["COEFFICIENT_MODES", "MAX_CONDITION", "adversarial_coefficients", "sample_support"]

COEFFICIENT_MODES = ("min", "mix", "gauss")

# Coefficients of a support worse conditioned than this are destroyed by rounding.
MAX_CONDITION = 1e12


def adversarial_coefficients(
    X: ArrayLike, S: ArrayLike, *, mode: str = "min", B: float = 1.0, random_state: Any = None
) -> Float64Array:
    r"""Choose coefficients on a support after seeing it.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Design.
    S : array-like of int, shape (n_nonzero,)
        Support: distinct columns.
    mode : {"min", "mix", "gauss"}
        "min": the last right singular vector of :math:`X_S`, the strongest cancellation. "mix": the same energy in
        every singular direction, :math:`\sum_j \pm v_j / s_j` with random signs. "gauss": independent normal, an easy
        control with little cancellation.
    B : float
        Root mean square of the signal, :math:`\|X_S w\|_2 / \sqrt N = B`, positive.
    random_state : None, int, Generator or RandomState
        Seed. "min" does not use it.

    Returns
    -------
    ndarray of shape (n_nonzero,)
        Coefficients of the columns S, in the order of S.

    Raises
    ------
    ValueError
        If S is not a set of columns, if their condition number is beyond 1e12 (in every mode: no coefficients on such
        a support mean anything in double precision), or if an argument is out of range.

    Notes
    -----
    One singular value decomposition, O(N k^2). The signal has a relative rounding error of about
    ``eps * cond(X_S)``.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.array([[1.0, 1.0], [0.0, 1e-3]])
    >>> adversarial_coefficients(X, [0, 1]).round(1)
    array([ 1414.2, -1414.2])
    """
    Choice(*COEFFICIENT_MODES).check("mode", mode)
    if not (FINITE.accepts(B) and B > 0):
        raise ValueError(f"B must be positive and finite, got {B!r}")
    XS = _columns(X, S)
    values, vectors = _singular_vectors(XS)
    w = _direction(mode, values, vectors, generator(random_state))
    return w * (B * np.sqrt(XS.shape[0]) / np.linalg.norm(XS @ w))


def _columns(X: ArrayLike, S: ArrayLike) -> Float64Array:
    X, S = np.asarray(X), np.asarray(S)
    if X.ndim != 2:
        raise ValueError(f"X must be a matrix, got {X.ndim} dimension(s)")
    if S.ndim != 1 or S.size == 0 or not np.issubdtype(S.dtype, np.integer) or np.unique(S).size < S.size:
        raise ValueError(f"S must be distinct column indices, at least one, got {S!r}")
    if S.min() < 0 or S.max() >= X.shape[1]:
        raise ValueError(f"S must hold indices in 0 .. {X.shape[1] - 1}, got {S!r}")
    XS = X[:, S].astype(np.float64)
    if not np.isfinite(XS).all():
        raise ValueError("X must be finite on S, got NaN or infinity")
    return XS


def _singular_vectors(XS: Float64Array) -> tuple[Float64Array, Float64Array]:
    _, values, vectors = np.linalg.svd(XS, full_matrices=False)
    if XS.shape[1] > XS.shape[0] or values[-1] * MAX_CONDITION < values[0] or values[0] == 0:
        raise ValueError(f"the columns S must have a condition number of at most {MAX_CONDITION:g}; draw another S")
    return values, vectors


def _direction(mode: str, values: Float64Array, vectors: Float64Array, rng: np.random.Generator) -> Float64Array:
    if mode == "gauss":
        return rng.standard_normal(values.size)
    if mode == "mix":
        return (rng.choice([-1.0, 1.0], values.size) / values) @ vectors
    last = vectors[-1]
    # The sign of a singular vector is the library's choice; ours makes results portable.
    return last * np.sign(last[np.argmax(np.abs(last) > 0.5 * np.abs(last).max())])


def sample_support(
    X: ArrayLike, k: int, random_state: Any = None, *, max_condition: float = MAX_CONDITION, max_tries: int = 100
) -> IndexArray:
    """Draw a uniformly random set of k non-zero columns, again while it is too ill-conditioned.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Design.
    k : int
        Size of the support, at most N and the number of non-zero columns.
    random_state : None, int, Generator or RandomState
        Seed.
    max_condition : float
        Largest accepted condition number of :math:`X_S`.
    max_tries : int
        How many supports to draw before giving up.

    Returns
    -------
    ndarray of shape (n_nonzero,)
        The support, ascending. Uniform among the accepted supports.

    Raises
    ------
    ValueError
        If X is not finite, k is out of range, or no draw was accepted.

    Examples
    --------
    >>> import numpy as np
    >>> sample_support(np.diag([1.0, 0.0, 2.0]), 2, random_state=0)
    array([0, 2])
    """
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"X must be a matrix, got {X.ndim} dimension(s)")
    COUNT.require(k=k, max_tries=max_tries)
    if isinstance(max_condition, bool) or not isinstance(max_condition, Real) or not max_condition >= 1:
        raise ValueError(f"max_condition must be a number of at least 1; got {max_condition!r}")
    candidates = np.flatnonzero(X.any(axis=0))
    limit = min(X.shape[0], candidates.size)
    if k > limit:
        raise ValueError(f"k must be at most {limit}, the smaller of rows and non-zero columns, got {k}")
    if not np.isfinite(X).all():
        raise ValueError("X must be finite, got NaN or infinity")
    rng = generator(random_state)
    for _ in range(max_tries):
        S = np.sort(rng.choice(candidates, k, replace=False))
        values = np.linalg.svd(X[:, S].astype(np.float64), compute_uv=False)
        if values[-1] * max_condition >= values[0]:
            return S
    raise ValueError(
        f"none of max_tries={max_tries} supports of size k={k} had a condition number of at most {max_condition:g}"
    )
