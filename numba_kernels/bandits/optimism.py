r"""Rounds of an optimistic linear bandit, with rank-one updates of everything they need.

Let ``V = lambda I + sum x x^T`` over all plays, ``theta = V^-1 sum y x``, and for every action a its prediction
``a theta`` and square ``a^T V^-1 a``. After m plays of x with rewards that add up to t, by the formula of Sherman and
Morrison with ``u = V^-1 x``, ``q = x^T u`` and ``g = 1 / (1 + m q)``,

    V^-1 <- V^-1 - m g u u^T,   theta <- theta + g (t - m x theta) u,   det V <- det V (1 + m q).

So a round costs one product of the features with u, O(K d).
"""

import numpy as np

from sparsetheory.numba_kernels.inlined import entry
from sparsetheory.typing import Float64Array

__all__ = ["learn", "most_optimistic", "warmup"]


@entry(fastmath=True)
def learn(
    features: Float64Array,
    inverse: Float64Array,
    predicted: Float64Array,
    squares: Float64Array,
    direction: Float64Array,
    action: int,
    count: float,
    total: float,
) -> float:
    """Take the rewards of plays of one action; O(K d).

    Parameters
    ----------
    features : ndarray of shape (K, d)
    inverse : ndarray of shape (d, d)
        Inverse of V, updated.
    predicted, squares : ndarray of shape (K,)
        Updated.
    direction : ndarray of shape (d,)
        Room for u.
    action : int
    count : float
        Number of plays m.
    total : float
        Sum of their rewards.

    Returns
    -------
    float
        What the logarithm of the determinant of V grows by.
    """
    n, d = features.shape
    q = 0.0
    for i in range(d):
        value = 0.0
        for j in range(d):
            value += inverse[i, j] * features[action, j]
        direction[i] = value
        q += value * features[action, i]
    gain = 1.0 / (1.0 + count * q)
    for i in range(d):
        for j in range(d):
            inverse[i, j] -= count * gain * direction[i] * direction[j]
    step = gain * (total - count * predicted[action])
    for a in range(n):
        c = 0.0
        for j in range(d):
            c += features[a, j] * direction[j]
        predicted[a] += step * c
        squares[a] -= count * gain * c * c
    return np.log1p(count * q)


@entry(fastmath=True)
def most_optimistic(predicted: Float64Array, squares: Float64Array, radius: float) -> int:
    """Return the action with the largest upper end of its interval, the first one of equal ones.

    Parameters
    ----------
    predicted, squares : ndarray of shape (K,)
    radius : float
        Half the length of an interval, in units of the root of its square.
    """
    best, largest = 0, predicted[0] + radius * np.sqrt(max(squares[0], 0.0))
    for a in range(1, predicted.size):
        value = predicted[a] + radius * np.sqrt(max(squares[a], 0.0))
        if value > largest:
            best, largest = a, value
    return best


def warmup() -> None:
    """Compile the kernels."""
    learn(np.ones((1, 1)), np.ones((1, 1)), np.zeros(1), np.ones(1), np.empty(1), 0, 1.0, 1.0)
    most_optimistic(np.zeros(1), np.ones(1), 1.0)
