"""Random supports, and coefficients on them chosen to cancel."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT, POSITIVE, Choice, Real, generator
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["COEFFICIENT_MODES", "MAX_CONDITION", "adversarial_coefficients", "sample_support"]

COEFFICIENT_MODES = ("min", "mix", "gauss")

# Coefficients of a support worse conditioned than this are destroyed by rounding.
MAX_CONDITION = 1e12


def adversarial_coefficients(
    X: ArrayLike, support: ArrayLike, *, mode: str = "min", signal_size: float = 1.0, random_state: Any = None
) -> Float64Array:
    r"""Choose coefficients on a support after seeing it.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Design.
    support : array-like of int, shape (n_nonzero,)
        Support S: distinct columns.
    mode : {"min", "mix", "gauss"}
        "min": the last right singular vector of :math:`X_S`, the strongest cancellation. "mix": the same energy in
        every singular direction, :math:`\sum_j \pm v_j / s_j` with random signs. "gauss": independent normal, an easy
        control with little cancellation.
    signal_size : float
        Root mean square of the signal, :math:`\|X_S w\|_2 / \sqrt N`, positive.
    random_state : None, int, Generator or RandomState
        Seed. "min" does not use it.

    Returns
    -------
    ndarray of shape (n_nonzero,)
        Coefficients, in the order of `support`.

    Raises
    ------
    ValueError
        If `support` is not a set of columns, if their condition number is beyond 1e12 (in every mode: no coefficients
        on such a support mean anything in double precision), or if an argument is out of range.

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
    POSITIVE.check("signal_size", signal_size)
    XS = _columns(X, support)
    values, vectors = _singular_vectors(XS)
    w = _direction(mode, values, vectors, generator(random_state))
    return w * (signal_size * np.sqrt(XS.shape[0]) / np.linalg.norm(XS @ w))


def _columns(X: ArrayLike, support: ArrayLike) -> Float64Array:
    X, support = np.asarray(X), np.asarray(support)
    if X.ndim != 2:
        raise ValueError(f"X must be a matrix; got {X.ndim} dimension(s)")
    listed = support.ndim == 1 and support.size > 0 and np.issubdtype(support.dtype, np.integer)
    if not listed or np.unique(support).size < support.size:
        raise ValueError(f"support must be distinct column indices, at least one; got {support!r}")
    if support.min() < 0 or support.max() >= X.shape[1]:
        raise ValueError(f"support must hold indices from 0 to {X.shape[1] - 1}; got {support!r}")
    XS = X[:, support].astype(np.float64)
    if not np.isfinite(XS).all():
        raise ValueError("X must be finite on support; got NaN or infinity")
    return XS


def _singular_vectors(XS: Float64Array) -> tuple[Float64Array, Float64Array]:
    _, values, vectors = np.linalg.svd(XS, full_matrices=False)
    if XS.shape[1] > XS.shape[0] or values[-1] * MAX_CONDITION < values[0] or values[0] == 0:
        raise ValueError(
            f"the columns of support must have a condition number of at most {MAX_CONDITION:g}; draw another support"
        )
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
    X: ArrayLike,
    *,
    n_nonzero: int,
    random_state: Any = None,
    max_condition: float = MAX_CONDITION,
    max_tries: int = 100,
) -> IndexArray:
    """Draw a uniformly random set of columns that are not zero, again while it is too ill-conditioned.

    Parameters
    ----------
    X : array-like of shape (n_samples, n_features)
        Design.
    n_nonzero : int
        Size of the support, at most the number of rows and the number of columns that are not zero.
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
        If X is not finite, `n_nonzero` is out of range, or no draw was accepted.

    Examples
    --------
    >>> import numpy as np
    >>> sample_support(np.diag([1.0, 0.0, 2.0]), n_nonzero=2, random_state=0)
    array([0, 2])
    """
    X = np.asarray(X)
    if X.ndim != 2:
        raise ValueError(f"X must be a matrix; got {X.ndim} dimension(s)")
    COUNT.require(n_nonzero=n_nonzero, max_tries=max_tries)
    (Real(1.0) | Choice(np.inf)).check("max_condition", max_condition)
    candidates = np.flatnonzero(X.any(axis=0))
    limit = min(X.shape[0], candidates.size)
    if n_nonzero > limit:
        raise ValueError(
            f"n_nonzero must be at most {limit}, the smaller of rows and columns that are not zero; got {n_nonzero}"
        )
    if not np.isfinite(X).all():
        raise ValueError("X must be finite; got NaN or infinity")
    rng = generator(random_state)
    for _ in range(max_tries):
        S = np.sort(rng.choice(candidates, n_nonzero, replace=False))
        values = np.linalg.svd(X[:, S].astype(np.float64), compute_uv=False)
        if values[-1] * max_condition >= values[0]:
            return S
    raise ValueError(
        f"none of max_tries={max_tries} supports of n_nonzero={n_nonzero} columns had a condition number of at most "
        f"{max_condition:g}"
    )
