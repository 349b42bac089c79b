"""Phase 1: few columns whose span makes most random supports easy. Looks at the design only."""

import warnings
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.regression.columns import Columns, check_columns
from sparsetheory.regression.random_supports.anchor_choice import Anchors, find_anchors
from sparsetheory.typing import Float64Array

__all__ = ["Anchors", "find_anchors", "project_out", "select_anchors"]

# In single precision, rounding of the design moves distances below this share of a column's norm too much.
_SINGLE_PRECISION = 1e-6


def select_anchors(
    X: Any,
    k: int,
    *,
    method: str = "adaptive",
    delta: float = 0.05,
    max_compatibility: float | None = None,
    beta: float = 0.05,
    m: int | None = None,
    m_max: int | None = None,
    rule: str = "one",
    support_prior: ArrayLike | None = None,
    forced: ArrayLike | None = None,
    rtol: float = 1e-11,
    random_state: Any = None,
) -> Anchors:
    r"""Choose anchors for random supports of size k.

    "adaptive" draws supports S and adds the worst column of any whose ratios :math:`D_T(i) / D_{S \setminus i}(i)` sum
    to more than `max_compatibility`, until enough supports in a row pass: the returned set is certified to fail on at
    most a share `delta` of supports, with confidence ``1 - beta``. "random" draws anchors blindly; ``k^2 / delta`` of
    them suffice on every design.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Design in double or single precision. Memory maps are read once, and otherwise only the columns drawn.
    k : int
        Size of the supports. For k = 1 no anchors are needed.
    method : {"adaptive", "random"}
        As above.
    delta : float
        Share of supports that may fail, in (0, 1).
    max_compatibility : float, optional
        Allowed bound on the compatibility; 2k by default. Random anchors promise k, whatever is allowed.
    beta : float
        One minus the confidence, in (0, 1).
    m : int, optional
        Number of random anchors; by default as many as the bound needs, at most N/4. Not for "adaptive".
    m_max : int, optional
        Limit for adaptive anchors, forced ones not counted; ``min(N // 3, 4k / delta)`` by default. Where the default
        was not enough and leaves room below N/3, random anchors follow.
    rule : {"one", "mixed"}
        "mixed" also adds k - 1 random columns at every failure, while all of them fit below `m_max`. Then F failures
        alone imply, on average, a share of at most k / (F + 1).
    support_prior : array-like of shape (n_features,), optional
        Relative probabilities of features in the support; uniform by default. A support is the first k distinct ones
        of independent draws. The same law draws random anchors.
    forced : array-like of int or bool mask, optional
        Columns that are anchors in any case.
    rtol : float
        Anchors closer than this share of their norm to the span of the others add no direction.
    random_state : int, RandomState, Generator or None
        Seed.

    Returns
    -------
    Anchors

    Raises
    ------
    ValueError
        For data that are not finite or in half precision, `k` outside ``1 .. min(N, d)``, shares outside (0, 1),
        `max_compatibility` not positive, other arguments out of range, or anchors that span almost the whole sample
        space.

    Warns
    -----
    UserWarning
        If fewer random anchors than needed fit, or more than N/4 are asked for, with the share that they imply; if
        columns in single precision are closer to the anchors than their rounding allows.
    RuntimeWarning
        If adaptive anchors reach `m_max` uncertified.

    See Also
    --------
    certify_anchors : Test any anchors on fresh supports.

    Notes
    -----
    A test costs O(N k (k + m)), whatever d is; the weights cost one product N m d. Zero columns are never drawn.
    Copies of a column are harmless: of dependent columns in a support, an independent subset is tested. With a prior,
    the bound for random anchors is that for supports of k independent draws, equal ones counted once.

    Ours, in the sense of phase 1 of Chandrasekaran, Meka and Stavropoulos, arXiv:2511.06211. The certificate is exact:
    supports that fail with probability above `delta` pass ``n = log((F + 1)(F + 2) / beta) / delta`` times in a row
    with probability at most ``(1 - delta)^n < beta / ((F + 1)(F + 2))``, which over all numbers of failures F adds up
    to `beta`. More anchors never hurt, since distances to them only shrink.

    Examples
    --------
    >>> from sparsetheory.regression import make_design, select_anchors
    >>> X = make_design("clusters", 100, 300, G=8, random_state=0)
    >>> anchors = select_anchors(X, 4, random_state=0)
    >>> anchors.certified, anchors.indices.size < 20
    (True, True)
    >>> select_anchors(make_design("gaussian", 100, 300, random_state=0), 4, random_state=0).indices.size
    0
    """
    X = check_columns(X)
    columns = Columns(X)
    found = find_anchors(
        columns,
        k,
        method=method,
        delta=delta,
        max_compatibility=max_compatibility,
        beta=beta,
        m=m,
        m_max=m_max,
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
