r"""How far rewards are from the span of a few features, with bounds on what rounding does to the answer.

Two ways. From second moments alone the residual of a support costs a few operations, and an error of a small multiple
of the rounding unit over the product of relative pivots. From the rows themselves a singular value decomposition costs
more and loses far less: its error is that of moving each feature by the rounding unit.
"""

import numpy as np
from scipy.linalg import qr

from sparsetheory.numba_kernels.bandits.supports import residuals_of_supports
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["ROUNDING", "compressed", "residual_norms", "residuals_of_moments"]

# Slack of a residual from moments, as a share of the squared norm of the rewards: at any rate, and over the
# product of relative pivots.
_SLACK, _SLACK_OVER_PIVOT = 1e-10, 1e-13
# By how much the factorisations here may move a feature of unit length: a hundred rounding units. Directions shorter
# than that are rounding themselves.
ROUNDING = 100 * float(np.finfo(np.float64).eps)
# Supports that are decomposed at once.
_BATCH = 4096


def residuals_of_moments(
    XtX: Float64Array, Xty: Float64Array, yty: float, supports: IndexArray
) -> tuple[Float64Array, Float64Array]:
    """Return the residual sum of squares of each support, and how much too large rounding can have made it.

    The second is infinite where features of the support depend on each other so much that moments cannot tell.
    """
    diagonal = np.diagonal(XtX)
    present = diagonal > 0
    # Columns of unit length; an absent one becomes a unit vector that nothing correlates with, and changes nothing.
    scales = 1 / np.sqrt(np.where(present, diagonal, 1.0))
    G = np.where(present[:, None] & present, XtX * scales * scales[:, None], 0.0)
    np.fill_diagonal(G, 1.0)
    b = np.where(present, Xty * scales, 0.0)
    m, s = supports.shape
    residuals, pivots = np.empty(m), np.empty(m)
    residuals_of_supports(G, b, float(yty), supports, np.empty((s, s)), np.empty((4, s)), residuals, pivots)
    with np.errstate(divide="ignore", invalid="ignore"):  # 0 / 0 where all rewards are zero
        slack = (_SLACK + _SLACK_OVER_PIVOT / pivots) * yty
    return residuals, np.where(pivots > 0, slack, np.inf)


def compressed(rows: Float64Array, rewards: Float64Array) -> Float64Array:
    """Return at most d + 1 rows that have the inner products of ``[rows, rewards]``, by a QR factorisation."""
    R: Float64Array = qr(np.column_stack([rows, rewards]), mode="r", check_finite=False)[0]
    return R[: R.shape[1]]


def residual_norms(R: Float64Array, supports: IndexArray) -> Float64Array:
    r"""Return, for each support, a number that no residual of it is below, whatever rounding did.

    The computed basis spans features that are moved by at most c, in units of their length. For coefficients
    :math:`\theta` with the residual :math:`\rho` the computed norm r of the residual obeys
    :math:`r \le \rho + c (|y| + |\theta|)`. Least squares gives :math:`\hat\theta` with
    :math:`\sigma |\theta - \hat\theta| \le r + \rho`, with the smallest singular value :math:`\sigma`. Together

    .. math:: \rho \ge \frac{(1 - c/\sigma)\, r - c\, (|y| + |\hat\theta|)}{1 + c/\sigma}.

    Parameters
    ----------
    R : ndarray of shape (n, d + 1)
        From :func:`compressed`.
    supports : ndarray of int, of shape (m, s)

    Returns
    -------
    ndarray of shape (m,)
        Takes O(m n s^2) time.
    """
    y = R[:, -1]
    lengths = np.linalg.norm(R[:, :-1], axis=0)
    X = R[:, :-1] / np.where(lengths > 0, lengths, 1.0)
    size = float(np.linalg.norm(y))
    lower = np.empty(len(supports))
    for start in range(0, len(supports), _BATCH):
        blocks = X[:, supports[start : start + _BATCH]].transpose(1, 0, 2)
        U, sizes, _ = np.linalg.svd(blocks, full_matrices=False)
        kept = sizes > ROUNDING
        along = np.where(kept, np.einsum("bij,i->bj", U, y), 0.0)
        left = np.linalg.norm(y - np.einsum("bij,bj->bi", U, along), axis=1)
        coef = np.linalg.norm(along / np.where(kept, sizes, 1.0), axis=1)
        share = ROUNDING / np.where(kept, sizes, 1.0).min(axis=1)
        lower[start : start + _BATCH] = ((1 - share) * left - ROUNDING * (size + coef)) / (1 + share)
    return np.maximum(lower, 0.0)
