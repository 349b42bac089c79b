"""Clusters of prescribed sizes, by an exact assignment."""

import numpy as np

from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["balanced_assignment", "size_limits"]


def size_limits(n_samples: int, n_clusters: int) -> tuple[int, int]:
    """Return the fewest and the most points of a balanced cluster."""
    mean = n_samples // n_clusters
    return max(1, mean - 1), mean + 1


def balanced_assignment(costs: Float64Array) -> Int64Array:
    """Assign points to clusters at the smallest total cost, with sizes within :func:`size_limits`.

    Every cluster is as many slots as it may have points. Slots that stay free are taken by points that cost nothing,
    which may not take a cluster's first slots, those it must fill. So it is a problem of assignment without limits,
    which is solved exactly. O(n^3) time at worst, O(n^2) memory.

    Parameters
    ----------
    costs : ndarray of float64 of shape (n_samples, n_clusters)
        Finite; at least as many points as clusters.
    """
    from scipy.optimize import linear_sum_assignment

    n, n_clusters = costs.shape
    least, most = size_limits(n, n_clusters)
    slots = np.repeat(costs, most, axis=1)
    free = np.zeros((slots.shape[1] - n, slots.shape[1]))
    free[:, np.arange(slots.shape[1]) % most < least] = np.inf
    _, taken = linear_sum_assignment(np.vstack([slots, free]))
    return np.asarray(taken[:n] // most, dtype=np.int64)
