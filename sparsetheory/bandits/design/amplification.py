"""How much a design can amplify the misspecification of the rewards that are observed."""

from dataclasses import replace

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.design.leverages import (
    BLOCK,
    all_leverages,
    checked_matrix,
    checked_weights,
    column_scales,
    scaled_rows,
    whitening_of,
)
from sparsetheory.bandits.design.pivoting import PivotedRows, dropped_norm, pivoted_rows, rows_outside
from sparsetheory.bandits.design.weights import Design
from sparsetheory.constraints import COUNT, Instance
from sparsetheory.typing import AnyArray, BoolArray, Float64Array, IndexArray

__all__ = [
    "least_squares",
    "leverage",
    "ls_amplification",
    "reweighted",
    "screen_optimal_support",
    "spanning_design",
]

_ROUNDING = 1e-12


def leverage(A: ArrayLike, design: Design, *, block: int = BLOCK) -> Float64Array:
    """Return the leverages that a design gives to rows.

    Parameters
    ----------
    A : array-like of shape (n, d)
        Rows, of the design's matrix or others.
    design : Design
    block : int
        Rows that are read at once.

    Returns
    -------
    ndarray of shape (n,)
        Takes O(n d^2) time.

    Raises
    ------
    ValueError
        If `design` is not a design, or has another number of features.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits.design.optimal import g_optimal_design
    >>> A = np.eye(3)
    >>> leverage(A, g_optimal_design(A)).round(9).tolist()
    [3.0, 3.0, 3.0]
    """
    COUNT.check("block", block)
    return all_leverages(_rows_of(A, design), design.whitening, block)


def ls_amplification(A: ArrayLike, design: Design, *, block: int = BLOCK) -> float:
    r"""Return how much least squares on a design can amplify an error of the rewards, anywhere.

    If the rewards of the support are wrong by at most eps each, weighted least squares predicts every row within eps
    times :math:`\max_a \sum_c p_c\, |a^T V^{-1} c|`. Some errors attain it.

    Parameters
    ----------
    A : array-like of shape (n, d)
        The rows of the design's matrix.
    design : Design
    block : int
        Rows that are read at once.

    Returns
    -------
    float
        At most the root of the largest leverage. Takes O(n d |support|) time.

    Raises
    ------
    ValueError
        If `design` is not a design, or not one of rows of `A`.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits.design.optimal import g_optimal_design
    >>> round(ls_amplification(np.eye(3), g_optimal_design(np.eye(3))), 9)
    1.0
    """
    COUNT.check("block", block)
    rows = _rows_of(A, design)
    if design.support.max() >= len(rows):
        raise ValueError(f"design must be one of the {len(rows)} rows of A; got row {design.support.max()}")
    support = np.asarray(rows[design.support], dtype=np.float64) @ design.whitening
    worst = 0.0
    for start in range(0, len(rows), block):
        white = np.asarray(rows[start : start + block], dtype=np.float64) @ design.whitening
        worst = max(worst, float((np.abs(white @ support.T) @ design.weights).max()))
    return worst


def _rows_of(A: ArrayLike, design: Design) -> AnyArray:
    """Return a matrix with as many columns as that of a design has."""
    Instance(Design).check("design", design)
    rows = checked_matrix(A)
    d = len(design.whitening)
    if rows.shape[1] != d:
        raise ValueError(f"A must have {d} columns, those of the design; got shape {rows.shape}")
    return rows


def least_squares(A: AnyArray, design: Design, answers: Float64Array) -> Float64Array:
    """Return the coefficients of least squares with the weights of a design.

    Parameters
    ----------
    A : ndarray of shape (n, d)
        The rows of the design's matrix.
    design : Design
    answers : ndarray of the length of the support

    Returns
    -------
    ndarray of shape (d,)
        In the directions that the design kept.
    """
    white = np.asarray(A[design.support], dtype=np.float64) @ design.whitening
    return np.asarray(design.whitening @ ((design.weights * answers) @ white))


def reweighted(A: ArrayLike, design: Design, weights: Float64Array) -> Design:
    """Return a design with other weights on the same support.

    Parameters
    ----------
    A : array-like of shape (n, d)
        The rows of the design's matrix.
    design : Design
    weights : ndarray of the length of the support
        Positive, with sum one.

    Returns
    -------
    Design
    """
    rows = A if isinstance(A, np.ndarray) else np.asarray(A)
    white = np.asarray(rows[design.support], dtype=np.float64) @ design.whitening
    moved = replace(design, weights=weights, whitening=design.whitening @ whitening_of(white, weights))
    return replace(moved, max_leverage=float(leverage(rows, moved).max()))


def spanning_design(A: AnyArray, support: IndexArray, weights: Float64Array) -> Design | None:
    """Return given weights as a design; None if their rows do not span all others.

    Parameters
    ----------
    A : ndarray of shape (n, d)
    support : ndarray of int
        Rows.
    weights : ndarray of the length of the support
        Positive, with sum one.

    Returns
    -------
    Design or None
        Takes O(n d^2) time.
    """
    scales = column_scales(A)
    rows = scaled_rows(A, scales, support)
    pivots = pivoted_rows(rows)
    if rows_outside(A, scales, PivotedRows(support[pivots.indices], pivots.basis)).size:
        return None
    basis = pivots.basis.T
    whitening = (basis / scales[:, None]) @ whitening_of(rows @ basis, weights)
    largest, dropped = float(all_leverages(A, whitening).max()), dropped_norm(A, scales, pivots.basis)
    return Design(support, weights, largest, len(pivots.basis), 0, 1, False, dropped, whitening)


def screen_optimal_support(A: ArrayLike, design: Design | ArrayLike, *, block: int = BLOCK) -> BoolArray:
    r"""Return which rows can be in the support of an optimal design, given any design.

    With the rank d and :math:`e = g_{\max} - d` rows whose leverage is below
    :math:`d\, (1 + e/2 - \sqrt{e (4 + e - 4/d)} / 2)` are in the support of no design with the smallest largest
    leverage.

    Parameters
    ----------
    A : array-like of shape (n, d)
        The rows of the design's matrix.
    design : Design, or array-like of shape (n,)
        A design, or weights of all rows that are not negative. The nearer to the optimum, the fewer rows are left.
    block : int
        Rows that are read at once.

    Returns
    -------
    ndarray of bool, of shape (n,)

    Raises
    ------
    ValueError
        If weights are not of this form, or their rows span less than all rows do.

    Notes
    -----
    Harman and Pronzato (2007), Statist. Probab. Lett. 77. Takes O(n d^2) time.

    Examples
    --------
    >>> import numpy as np
    >>> A = np.array([[1.0, 0.0], [0.0, 1.0], [0.1, 0.1]])
    >>> screen_optimal_support(A, [0.5, 0.5, 0.0]).tolist()
    [True, True, False]
    """
    COUNT.check("block", block)
    rows = checked_matrix(A)
    whitening = design.whitening if isinstance(design, Design) else _whitening(rows, design)
    leverages, d = all_leverages(rows, whitening, block), whitening.shape[1]
    # Leverages round; near an optimal design the limit moves by the root of that.
    excess = max(float(leverages.max()) - d, 0.0) + _ROUNDING * d
    limit = d * (1 + excess / 2 - np.sqrt(excess * (4 + excess - 4 / d)) / 2)
    return np.asarray(leverages >= limit * (1 - 1e-9))


def _whitening(A: AnyArray, given: ArrayLike) -> Float64Array:
    weights = checked_weights("design", given, len(A))
    used = np.flatnonzero(weights)
    design = spanning_design(A, used, weights[used])
    if design is None:
        rank = len(pivoted_rows(scaled_rows(A, column_scales(A), used)).indices)
        raise ValueError(f"design must have rows that span all others; its {len(used)} rows span {rank}")
    return design.whitening
