r"""Intervals around the predictions of weighted least squares, by two routes.

Least squares with weights p on queried rows err at an action, in the coordinates z that p whitens, by at most

    eps sum_c p_c |z z_c|  +  noise |z|,

where noise stands for what the mean of all answers may be wrong by, times the root of a logarithm. The reward of the
action itself is within eps of the linear function.
"""

import numpy as np

from sparsetheory.bandits.design.amplification import least_squares
from sparsetheory.bandits.design.leverages import BLOCK
from sparsetheory.bandits.design.weights import Design
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["design_intervals", "gap_of", "intervals_by_pinv", "left_out"]

# What rows have beyond what was learned, as a share of the largest size of a feature, may be rounding.
_ROUNDING = 1e-12


def gap_of(upper: Float64Array, lower: float, action: int) -> float:
    """Return how much less an action earns than the best one, at most.

    Parameters
    ----------
    upper : ndarray of shape (n_actions,)
        Upper ends of the intervals of all rewards.
    lower : float
        Lower end of that of the action. Its own upper end does not matter: no action earns less than itself.
    action : int
    """
    others = float(np.delete(upper, action).max(initial=-np.inf))
    return max(others - lower, 0.0) if lower > -np.inf else np.inf


def design_intervals(
    features: AnyArray, rows: AnyArray, design: Design, observed: Float64Array, eps: float, noise: float
) -> tuple[Float64Array, Float64Array]:
    """Return predictions of rewards, and how much they may err.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    rows : ndarray of shape (n, n_features)
        Features of the actions that are asked about.
    design : Design
        Queried actions with the weights of least squares.
    observed : ndarray of float
        Their mean rewards.
    eps, noise : float
        Misspecification, and error of the mean of all answers.
    """
    own = np.asarray(features[design.support], dtype=np.float64) @ design.whitening
    white = np.asarray(rows, dtype=np.float64) @ design.whitening
    norms = np.sqrt(np.einsum("ij,ij->i", white, white))
    predicted = np.asarray(rows @ least_squares(features, design, observed), dtype=np.float64)
    return predicted, eps * (np.abs(white @ own.T) @ design.weights + 1) + noise * norms


def intervals_by_pinv(
    features: AnyArray,
    queried: IndexArray,
    observed: Float64Array,
    weights: Float64Array,
    basis: Float64Array,
    eps: float,
    noise: float,
    scales: Float64Array | float = 1.0,
) -> tuple[Float64Array, Float64Array]:
    """Return the same for all actions, by the pseudo-inverse of weighted rows.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    queried : ndarray of int
    observed, weights : ndarray of float
        Mean rewards of the queried actions, and their weights.
    basis : ndarray of shape (n_features, rank)
        Orthonormal basis of the directions in which coefficients are looked for.
    eps, noise : float
    scales : ndarray of shape (n_features,) or float
        What features are divided by, before the basis.

    Returns
    -------
    predicted, errors : ndarray of shape (n_actions,)
        Takes O(n_actions n d) time for n queried actions, and memory for a block of rows.
    """
    roots = np.sqrt(weights)
    coordinates = basis / np.broadcast_to(scales, len(basis))[:, None]
    own = np.asarray(features[queried], dtype=np.float64) @ coordinates
    inverse = np.linalg.pinv(roots[:, None] * own, rcond=1e-13)
    predicted, errors = np.empty(len(features)), np.empty(len(features))
    for start in range(0, len(features), BLOCK):
        here = slice(start, start + BLOCK)
        # Every prediction as a combination of the answers.
        combination = (np.asarray(features[here], dtype=np.float64) @ coordinates @ inverse) * roots
        norms = np.sqrt(np.einsum("ij,ij,j->i", combination, combination, 1 / weights))
        predicted[here] = combination @ observed
        errors[here] = eps * (np.abs(combination).sum(axis=1) + 1) + noise * norms
    return predicted, errors


def left_out(
    rows: AnyArray, own: Float64Array, whitening: Float64Array, weights: Float64Array, sizes: Float64Array
) -> Float64Array:
    r"""Return what rows have beyond all that weighted least squares on other rows learn about; exactly 0 for rounding.

    Least squares fit functions of the whitened coordinates alone. With the fit :math:`\hat a` of the features a of a
    row by these coordinates, :math:`a^\top \theta = \hat a^\top \theta + (a - \hat a)^\top \theta`, and the first part
    is such a function. The fit does not depend on the units of features: an orthogonal projection of rows would.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Features of the actions that are asked about.
    own : ndarray of shape (m, n_features)
        Those of the queried actions.
    whitening : ndarray of shape (n_features, rank)
        Of a design on the queried actions.
    weights : ndarray of shape (m,)
        Its weights.
    sizes : ndarray of shape (n_features,)
        Largest size of each feature.
    """
    features = np.asarray(rows, dtype=np.float64)
    rest = features - (features @ whitening) @ ((own @ whitening * weights[:, None]).T @ own)
    return np.where(np.abs(rest) > _ROUNDING * sizes, rest, 0.0)
