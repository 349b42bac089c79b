"""Where a cost that should fall has risen."""

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.typing import IndexArray

__all__ = ["cost_rises"]

# A cost is a sum of terms of size up to about itself plus one, each known to some units of rounding.
_ROUNDING = 1e-9


def cost_rises(path: ArrayLike) -> IndexArray:
    """Return the steps of a path after which the cost was higher than before, by more than rounding.

    Parameters
    ----------
    path : array-like of shape (n + 1,)
        Costs.

    Returns
    -------
    ndarray of int
        Indices i, counted from 0, with ``path[i + 1] > path[i]``.
    """
    costs = np.asarray(path, dtype=np.float64)
    return np.flatnonzero(np.diff(costs) > _ROUNDING * (1.0 + np.abs(costs[:-1])))
