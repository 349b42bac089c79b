"""The choice of anchors: few columns whose span makes most random supports easy. It looks at the design only."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.regression.columns import Columns, check_columns
from sparsetheory.regression.random_supports.anchor_choice import Anchors, find_anchors
from sparsetheory.typing import Float64Array

__all__ = ["Anchors", "find_anchors", "project_out", "select_anchors"]

# In single precision, rounding of the design moves distances below this fraction of a column's norm too much.
_SINGLE_PRECISION = 1e-6


def select_anchors(
    X: Any,
    *,
    n_nonzero: int,
    method: str = "adaptive",
    delta: float = 0.05,
    max_compatibility: float | None = None,
    confidence: float = 0.95,
    n_anchors: int | None = None,
    max_anchors: int | None = None,
    rule: str = "one",
    support_prior: ArrayLike | None = None,
    forced: ArrayLike | None = None,
    rtol: float = 1e-11,
    random_state: Any = None,
) -> Anchors:
    r"""Choose anchors for random supports of size k.

    "adaptive" draws supports S and adds the worst column of any whose ratios :math:`D_T(i) / D_{S \setminus i}(i)` sum
    to more than `max_compatibility`, until enough supports in a row pass: the returned set is certified to fail on at
    most a fraction `delta` of supports, with a given confidence. "random" draws anchors blindly; ``k^2 / delta``
    of them suffice on every design.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Design in double or single precision. Memory maps are read once, and otherwise only the columns drawn.
    n_nonzero : int
        Size k of the supports. For k = 1 no anchors are needed.
    method : {"adaptive", "random"}
        As above.
    delta : float
        Fraction of supports that may fail, in (0, 1).
    max_compatibility : float, optional
        Allowed bound on the compatibility; 2k by default. Random anchors promise k, whatever is allowed.
    confidence : float
        Confidence of adaptive anchors, in (0, 1).
    n_anchors : int, optional
        Number of random anchors; by default as many as the bound needs, at most a quarter of the number of rows. Not
        for "adaptive".
    max_anchors : int, optional
        Limit for adaptive anchors, forced ones not counted; ``min(n_samples // 3, 4 * n_nonzero / delta)`` by
        default. Where the default was not enough and leaves room below a third of the rows, random anchors follow.
    rule : {"one", "mixed"}
        "mixed" also adds k - 1 random columns at every failure, while all of them fit below `max_anchors`. Then F
        failures alone imply, on average, a fraction of at most k / (F + 1).
    support_prior : array-like of shape (n_features,), optional
        Relative probabilities of features in the support; uniform by default. A support is the first k distinct ones
        of independent draws. Random anchors are drawn alike.
    forced : array-like of int or bool mask, optional
        Columns that are anchors in any case.
    rtol : float
        Tolerance, relative to the norm of an anchor: one that is closer to the span of the others than this adds no
        direction.
    random_state : int, RandomState, Generator or None
        Seed.

    Returns
    -------
    Anchors

    Raises
    ------
    ValueError
        For data that are not finite or in half precision, `n_nonzero` outside ``1 .. min(n_samples, n_features)``,
        fractions outside (0, 1), `max_compatibility` not positive, other arguments out of range, or anchors that span
        almost the whole sample space.

    Warns
    -----
    UserWarning
        If fewer random anchors than needed fit, or more than a quarter of the number of rows are asked for, with the
        fraction that they imply; if columns in single precision are closer to the anchors than their rounding allows.
    RuntimeWarning
        If adaptive anchors reach `max_anchors` uncertified.

    See Also
    --------
    certify_anchors : Test any anchors on fresh supports.

    Notes
    -----
    A test costs O(N k (k + m)) for N rows and m anchors, whatever the number d of columns; the weights cost one product
    N m d. Zero columns are never drawn.
    Copies of a column are harmless: of dependent columns in a support, an independent subset is tested. With a prior,
    the bound for random anchors is that for supports of k independent draws, equal ones counted once.

    Ours, in the sense of the first phase of Chandrasekaran, Meka and Stavropoulos, arXiv:2511.06211. The certificate is
    exact: supports that fail with probability above `delta` pass ``n = log((F + 1)(F + 2) / beta) / delta`` times, with
    ``beta = 1 - confidence``, in a row with probability at most ``(1 - delta)^n < beta / ((F + 1)(F + 2))``, which over
    all numbers of failures F adds up to `beta`. More anchors never hurt, since distances to them only shrink.

    Examples
    --------
    >>> from sparsetheory.regression import make_design, select_anchors
    >>> X = make_design("clusters", 100, 300, n_clusters=8, random_state=0)
    >>> anchors = select_anchors(X, n_nonzero=4, random_state=0)
    >>> anchors.certified, anchors.indices.size < 20
    (True, True)
    >>> select_anchors(make_design("gaussian", 100, 300, random_state=0), n_nonzero=4, random_state=0).indices.size
    0
    """
    X = check_columns(X)
    columns = Columns(X)
    found = find_anchors(
        columns,
        n_nonzero=n_nonzero,
        method=method,
        delta=delta,
        max_compatibility=max_compatibility,
        confidence=confidence,
        n_anchors=n_anchors,
        max_anchors=max_anchors,
        rule=rule,
        support_prior=support_prior,
        forced=forced,
        rtol=rtol,
        random_state=random_state,
    )
    _, squares = project_out(columns, found)
    return replace(found, weights=np.sqrt(squares / X.shape[0]))


def project_out(columns: Columns, anchors: Anchors, *, recompute_below: float = 1e-7) -> tuple[Columns, Float64Array]:
    """Return what anchors leave of all columns, and its squared norms; zero for rounding and for the anchors.

    Warns
    -----
    UserWarning
        Where rounding of single precision decides these norms.
    """
    left = columns.with_basis(anchors.Q)
    squares = left.live_squares(recompute_below=recompute_below)
    squares[anchors.indices] = 0.0
    if columns.X.dtype == np.float32:
        close = np.count_nonzero((squares > 0) & (squares < _SINGLE_PRECISION**2 * columns.raw_squares()))
        if close:
            warnings.warn(
                f"{close} columns in single precision are closer to the anchors than {_SINGLE_PRECISION} of their "
                "norm; rounding of X decides these distances. Pass double precision if there is any",
                UserWarning,
                stacklevel=3,
            )
    return left, squares
