"""Predictions of a linear function at all actions, in blocks of rows."""

import numpy as np

from sparsetheory.bandits.design.leverages import BLOCK
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["greedy_action", "predictions"]


def predictions(features: AnyArray, theta: Float64Array) -> Float64Array:
    """Return the predicted reward of every action, in double precision.

    A product of a matrix in single precision with a vector in double precision would copy the whole matrix.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    theta : ndarray of shape (n_features,)
        Coefficients.

    Returns
    -------
    ndarray of shape (n_actions,)
        Takes O(n_actions n_features) time, and memory for the result and a block of rows.
    """
    predicted = np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        predicted[start : start + BLOCK] = features[start : start + BLOCK] @ theta
    return predicted


def greedy_action(features: AnyArray, theta: Float64Array) -> int:
    """Return the action whose predicted reward is largest, of equal ones the first."""
    return int(np.argmax(predictions(features, theta)))
