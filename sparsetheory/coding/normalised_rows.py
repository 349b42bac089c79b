"""Rows of unit length."""

import numpy as np
from numpy.typing import NDArray

__all__ = ["unit_rows"]


def unit_rows(rows: NDArray[np.floating]) -> NDArray[np.floating]:
    """Return rows over their Euclidean norms; none may be zero.

    Examples
    --------
    >>> unit_rows(np.array([[3e-200, 4e-200]]))
    array([[0.6, 0.8]])
    """
    # Division by the largest entry first, so that no square overflows or vanishes.
    scaled = rows / np.abs(rows).max(axis=1, keepdims=True)
    return scaled / np.linalg.norm(scaled, axis=1, keepdims=True)
