r"""Designs with a nearly largest smallest eigenvalue, by multiplicative steps on many rows.

The smallest eigenvalue is the limit, for large q, of Kiefer's criterion ``(tr V^-q / d)^(-1/q)``. Its gradient at a
design is the vector of ``a' W a`` with ``W = V^-(q+1)`` up to a factor, and an optimal design has equal ones on its
support. So weights are multiplied by a power of them: the larger q, the smaller the power. Any W with trace one proves
that no design has a larger smallest eigenvalue than ``max a' W a``.
"""

import numpy as np

from sparsetheory.typing import Float64Array

__all__ = ["smoothed_steps"]

# Orders q, and how many steps each is worth.
_SCHEDULE = ((2, 20), (5, 30), (10, 40), (20, 60), (40, 80), (80, 100))
# The power is this over q + 1. Orthogonal rows of length one show what is possible: their weights are raised to the
# power 1 - _POWER in each step, which converges below 2, and at once for 1.
_POWER = 1.5
# Eigenvalues below this share of the largest are rounding.
_FLOOR = 1e-15


def smoothed_steps(rows: Float64Array, weights: Float64Array) -> tuple[Float64Array, Float64Array, int]:
    """Improve a design on rows of full column rank.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
    weights : ndarray of shape (n,)
        Positive.

    Returns
    -------
    weights : ndarray of shape (n,)
        Those with the largest smallest eigenvalue.
    dual_root : ndarray of shape (d, d)
        F with the ``W = F F'`` of trace one that proves the smallest upper bound.
    n_iter : int
        Steps, each of which takes O(n d^2) time.
    """
    d = rows.shape[1]
    best, least, n_iter = -np.inf, np.inf, 0
    chosen, dual = weights, np.eye(d) / d
    for order, steps in _SCHEDULE:
        # Means over the second half of the steps: what swings from step to step cancels in them.
        mean_weights, mean_dual, mean_slopes = np.zeros(len(rows)), np.zeros((d, d)), np.zeros(len(rows))
        for step in range(steps):
            value, W = _spectrum(rows, weights, order)
            slopes = np.einsum("ij,ij->i", rows @ W, rows)
            if value > best:
                best, chosen = value, weights
            if slopes.max() < least:
                least, dual = float(slopes.max()), W
            if 2 * step >= steps:
                mean_weights, mean_dual, mean_slopes = mean_weights + weights, mean_dual + W, mean_slopes + slopes
            weights = weights * (slopes / (weights @ slopes)) ** (_POWER / (order + 1))
            weights = weights / weights.sum()
        n_iter += steps
        mean_weights /= mean_weights.sum()
        value = _spectrum(rows, mean_weights, order)[0]
        if value > best:
            best, chosen = value, mean_weights
        if mean_slopes.max() / np.trace(mean_dual) < least:
            dual = mean_dual / np.trace(mean_dual)
            least = float(mean_slopes.max() / np.trace(mean_dual))
    values, vectors = np.linalg.eigh(dual)
    return chosen, vectors * np.sqrt(np.maximum(values, 0.0)), n_iter


def _spectrum(rows: Float64Array, weights: Float64Array, order: int) -> tuple[float, Float64Array]:
    """Return the smallest eigenvalue of V, and V^-(q + 1) over its trace."""
    values, vectors = np.linalg.eigh((rows.T * weights) @ rows)
    # In units of the smallest eigenvalue, so that no power is out of range.
    spectrum = (max(float(values[0]), _FLOOR * float(values[-1])) / np.maximum(values, _FLOOR * values[-1])) ** (
        order + 1
    )
    return float(values[0]), (vectors * (spectrum / spectrum.sum())) @ vectors.T
