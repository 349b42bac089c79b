"""Where a curve bends: the least-squares fit of two lines that meet."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["TwoSegments", "fit_two_segments"]

# A bend that lowers the squared error by less than this share of the squared values is one of rounding errors.
_ROUNDING = 1e-12**2


@dataclass(frozen=True)
class TwoSegments:
    """Two lines that meet.

    Parameters
    ----------
    kink : float
        Where they meet.
    left_slope, right_slope : float
    squared_error : float
        Sum over the points.
    """

    kink: float
    left_slope: float
    right_slope: float
    squared_error: float


def fit_two_segments(x: Sequence[float], y: Sequence[float]) -> TwoSegments | None:
    """Fit a continuous function of two straight pieces to points, by least squares.

    With the kink at b the function is ``a + c x + d max(x - b, 0)``, a line for a, c, d. Which points lie left of b
    decides the problem: (1) Fit two lines without the condition that they meet. If they meet between the last point
    left and the first one right, no continuous function with b there is better. (2) Otherwise the squared error has its
    least value over this interval of b at one of its ends [1]_. So the meeting points of step 1 and the points
    themselves are all candidates.

    Parameters
    ----------
    x : sequence of float
        Strictly increasing.
    y : sequence of float

    Returns
    -------
    TwoSegments or None
        None where there are fewer than 4 points, or a single line fits as well.

    Notes
    -----
    O(n^2) for n points.

    References
    ----------
    .. [1] D. J. Hudson, "Fitting segmented curves whose join points have to be estimated", Journal of the American
       Statistical Association, 1966.

    Examples
    --------
    >>> found = fit_two_segments([0.0, 1.0, 2.0, 3.0, 4.0], [5.0, 5.0, 5.0, 3.0, 1.0])
    >>> round(found.kink, 9), round(found.right_slope, 9)
    (2.0, -2.0)
    """
    points, values = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if len(points) < 4:
        return None
    kinks = [*points[1:-1].tolist(), *_meeting_points(points, values)]
    fits = [_fit(points, values, kink) for kink in kinks]
    best = min(fits, key=lambda fit: fit.squared_error)
    line = _solve(np.stack([np.ones_like(points), points], axis=1), values)[1]
    return best if line - best.squared_error > _ROUNDING * float(values @ values) else None


def _meeting_points(x: Float64Array, y: Float64Array) -> list[float]:
    """Return where the lines through the first and the other points meet, if that is between them."""
    found = []
    for left in range(2, len(x) - 1):
        slopes, heights = zip(*(np.polyfit(x[part], y[part], 1) for part in _parts(left)), strict=True)
        if slopes[0] != slopes[1]:
            place = (heights[1] - heights[0]) / (slopes[0] - slopes[1])
            if x[left - 1] <= place <= x[left]:
                found.append(float(place))
    return found


def _parts(left: int) -> tuple[slice, slice]:
    return slice(None, left), slice(left, None)


def _fit(x: Float64Array, y: Float64Array, kink: float) -> TwoSegments:
    (_, slope, bend), error = _solve(np.stack([np.ones_like(x), x, np.maximum(x - kink, 0.0)], axis=1), y)
    return TwoSegments(kink, float(slope), float(slope + bend), error)


def _solve(columns: Float64Array, y: Float64Array) -> tuple[Float64Array, float]:
    coef = np.asarray(np.linalg.lstsq(columns, y, rcond=None)[0], dtype=np.float64)
    return coef, float(np.square(y - columns @ coef).sum())
