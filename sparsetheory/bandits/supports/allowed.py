r"""Which coefficients answers allow on one support, when every answer is within eps of a linear function.

With queried rows X = U S V^T, answers y and their least squares c', coefficients are written as

    c = c' + eps sqrt(n) V S^-1 v,   so that   |y - X c| <= eps   reads   |r - sqrt(n) U v| <= 1,

r being the residual of least squares over eps. However near to dependent the features are, and whatever their units,
these coordinates are well conditioned: the rows of ``sqrt(n) U`` have the mean square ``rank``, and as r is orthogonal
to U, all allowed v obey ``|v|^2 <= 1 - |r|^2 / n``. That ball contains the polytope of all allowed v, whose few corners
say exactly what answers allow: a linear function is largest in a corner.
"""

from dataclasses import dataclass

import numpy as np
from scipy.linalg import qr, svd
from scipy.optimize import linprog
from scipy.spatial import HalfspaceIntersection, QhullError

from sparsetheory.bandits.supports.centers import nearest_center, proves_contradiction
from sparsetheory.typing import Float64Array

__all__ = ["AllowedCoefficients", "allowed_coefficients"]

# Singular values below this share of the largest are rounding.
_NOTHING = 1e-12
# In more dimensions polytopes have too many corners.
_MOST_DIMENSIONS = 4
# Corners of a polytope in scaled coordinates are wrong by less; its sides are moved outwards by that.
_ROUNDING = 1e-9
# A polytope with less room around its center than this, in scaled coordinates, is too flat for its corners to be found
# reliably, and is made that much larger.
_FLAT = 1e-4
# Sides with a shorter normal vector count as having this length, where depths are measured.
_SHORT = 1e-3


@dataclass(frozen=True, eq=False)
class AllowedCoefficients:
    """What answers say of the coefficients on one support.

    Parameters
    ----------
    center : ndarray of shape (k,)
        Least squares, in the directions that the rows determine, over singular values.
    whitening : ndarray of shape (k, rank)
        Turns coordinates of an action into ones in which the rows are orthonormal.
    outside : ndarray of shape (rank - k, rank)
        Orthonormal directions of which the rows say nothing.
    radius : float
        Largest distance of allowed coefficients to the center.
    left : ndarray of shape (n,)
        Residuals of least squares over `eps`.
    basis : ndarray of shape (n, k)
        Orthonormal basis of the columns.
    spread : float
        Ratio of the largest to the smallest singular value.
    eps : float
        What each answer may be wrong by.
    """

    center: Float64Array
    whitening: Float64Array
    outside: Float64Array
    radius: float
    left: Float64Array
    basis: Float64Array
    spread: float
    eps: float

    @property
    def refuted(self) -> bool:
        """Whether least squares prove that no coefficients are allowed."""
        worst = 0.0 if len(self.center) else np.abs(self.left).max(initial=0.0)
        return bool(self.left @ self.left > len(self.left) or worst > 1)

    def corners(self) -> Float64Array | None:
        """Return points around the center whose convex hull contains all allowed coefficients.

        Returns
        -------
        ndarray of shape (m, k), or None
            In whitened coordinates. None where there are infinitely many, too many or no reliable corners: then only
            the ball is known. Without rows if no coefficients are allowed.
        """
        n, k = self.basis.shape
        if self.refuted:
            return np.empty((0, k))
        if not 0 < k <= _MOST_DIMENSIONS or self.eps <= 0:
            return None
        found = _corners(np.sqrt(n) * self.basis, self.left)
        return None if found is None else self.eps * np.sqrt(n) * found


def allowed_coefficients(rows: Float64Array, observed: Float64Array, eps: float) -> AllowedCoefficients:
    """Return the coefficients whose predictions are within `eps` of answers.

    Parameters
    ----------
    rows : ndarray of shape (n, rank)
        Coordinates of queried actions.
    observed : ndarray of shape (n,)
        Their rewards.
    eps : float

    Returns
    -------
    AllowedCoefficients
        Takes O(n rank^2) time.
    """
    n = len(rows)
    basis, R = qr(rows, mode="economic", check_finite=False)
    left, singular, right = svd(R, full_matrices=True, check_finite=False)
    k = int(np.count_nonzero(singular > _NOTHING * singular.max(initial=0.0)))
    spread = float(singular[0] / singular[k - 1]) if k else 1.0
    eps = eps + 32 * np.finfo(np.float64).eps * spread * float(np.abs(observed).max(initial=0.0))
    basis = basis @ left[:, :k]
    center = basis.T @ observed
    residual = observed - basis @ center
    residual -= basis @ (basis.T @ residual)
    left_over = residual / eps if eps > 0 else np.zeros(n)
    radius = eps * np.sqrt(max(n - float(left_over @ left_over), 0.0) + n * _ROUNDING)
    return AllowedCoefficients(
        center, right[:k] / singular[:k, None], right[k:], radius, left_over, basis, spread, eps
    )  # fmt: skip


def _corners(rows: Float64Array, left: Float64Array) -> Float64Array | None:
    """Return the corners of ``|left - rows v| <= 1``, for rows with ``rows^T rows = n I`` and ``rows^T left = 0``."""
    sides, limits = np.vstack([rows, -rows]), np.concatenate([1 + left, 1 - left])
    lengths = np.maximum(np.linalg.norm(sides, axis=1), _SHORT)
    center = nearest_center(rows, left)
    if center is None:
        center = _deepest(sides, limits, lengths, left)
    if center is None or not center.size:
        return None if center is None else np.empty((0, rows.shape[1]))
    depth = float(((limits - sides @ center) / lengths).min())
    limits = limits + _ROUNDING + max(_FLAT - depth, 0.0) * lengths
    if rows.shape[1] == 1:
        return _ends(sides[:, 0], limits)
    try:
        corners = HalfspaceIntersection(np.column_stack([sides, -limits]), center).intersections
    except QhullError:
        return None
    near = np.isfinite(corners).all() and np.linalg.norm(corners, axis=1).max(initial=0.0) < 1 + 10 * _FLAT
    return np.unique(corners, axis=0) if near and len(corners) else None


def _ends(sides: Float64Array, limits: Float64Array) -> Float64Array:
    """Return the two ends of an interval."""
    up, down = sides > _NOTHING, sides < -_NOTHING
    return np.array([[(limits[up] / sides[up]).min()], [(limits[down] / sides[down]).max()]])


def _deepest(
    sides: Float64Array, limits: Float64Array, lengths: Float64Array, left: Float64Array
) -> Float64Array | None:
    """Return the center of the largest ball inside; an empty array if it is proved that nothing is inside."""
    n, k = len(left), sides.shape[1]
    program = linprog(
        np.append(np.zeros(k), -1.0),
        A_ub=np.column_stack([sides, lengths]),
        b_ub=limits,
        bounds=[(None, None)] * (k + 1),
        method="highs",
    )
    if program.status != 0:
        return None
    if program.x[k] < 0:
        prices = program.ineqlin.marginals[n:] - program.ineqlin.marginals[:n]
        if proves_contradiction(sides[:n], left, prices):
            return np.empty(0)
    return np.asarray(program.x[:k])
