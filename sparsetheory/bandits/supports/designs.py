r"""A design on one support, and the model that its answers give.

In the whitened coordinates z of a design with weights p, ``sum p z z^T`` is the identity. So least squares are the mean
``w = sum p y z``. If the answers are within e of ``z w*`` for some w*, then ``w - w*`` is the mean of errors times z,
and ``|w - w*| <= e``: the prediction at an action is wrong by at most ``e |z|``, and by at most ``e sum_c p_c |z
z_c|``.
"""

from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.design.improving import improved, start_of
from sparsetheory.bandits.design.pivoting import pivoted_rows
from sparsetheory.bandits.supports.basis import support_basis
from sparsetheory.typing import BoolArray, Float64Array, FloatArray, IndexArray

__all__ = ["SupportDesign", "SupportModel", "fit_design", "support_design"]

# Known actions that go less far than this in a direction, squared and as a share of the longest, do not serve there.
_SHORT = 1e-2
_STEPS = 100_000


@dataclass(frozen=True, eq=False)
class SupportDesign:
    """A design for the features of one support.

    Parameters
    ----------
    support : ndarray of int, of shape (s,)
        The features.
    actions : ndarray of int
        Actions of the design.
    weights : ndarray of float
        Their weights.
    whitening : ndarray of shape (rank, rank)
        Turns coordinates into whitened ones.
    """

    support: IndexArray
    actions: IndexArray
    weights: Float64Array
    whitening: Float64Array


def support_design(columns: FloatArray, support: IndexArray, target_mult: float, known: IndexArray) -> SupportDesign:
    """Return a design whose largest leverage is at most `target_mult` times the rank of a support.

    It is made of actions that are known anyway, as far as they serve. Another one joins only where a direction is
    missing, or where some leverage is too large: then the action that has it.

    Parameters
    ----------
    columns : ndarray of shape (n_features, n_actions)
    support : ndarray of int
    target_mult : float
    known : ndarray of int
        Actions that cost nothing.

    Returns
    -------
    SupportDesign
        Without actions, if the columns are zero.
    """
    coordinates = support_basis(columns, support).coordinates
    rank = len(coordinates)
    if not rank:
        return SupportDesign(support, np.empty(0, dtype=np.intp), np.empty(0), np.empty((0, 0)))
    chosen = _spanning(coordinates, known)
    while True:
        rows = coordinates[:, chosen].T
        start = start_of(rows, pivoted_rows(rows), None)
        # Half as far from the optimum as the target: what is left is room for all other actions.
        inner = improved(rows, start, 1 + (target_mult - 1) / 2, target_mult < 1.2, _STEPS)
        white = inner.whitening.T @ coordinates
        leverages = np.einsum("ij,ij->j", white, white)
        worst = int(np.argmax(leverages))
        if leverages[worst] <= target_mult * rank or worst in chosen:
            used = np.flatnonzero(inner.weights)
            return SupportDesign(support, chosen[used], inner.weights[used], inner.whitening.T)
        chosen = np.append(chosen, worst)


def _spanning(coordinates: Float64Array, known: IndexArray) -> IndexArray:
    """Return the known actions, and as few others as are needed to go far in all directions."""
    largest = float(np.einsum("ij,ij->j", coordinates, coordinates).max())
    basis = pivoted_rows(coordinates[:, known].T, _SHORT * largest).basis if len(known) else None
    if basis is not None and len(basis) == len(coordinates):
        return known
    return np.concatenate((known, pivoted_rows(coordinates.T, basis=basis).indices))


@dataclass(frozen=True, eq=False)
class SupportModel:
    """Predictions of one support.

    Parameters
    ----------
    white : ndarray of shape (rank, n_actions)
        Whitened coordinates.
    norms : ndarray of shape (n_actions,)
        Their norms.
    predicted : ndarray of shape (n_actions,)
    eps : float
        Misspecification that predictions allow for: the assumed one and rounding.
    amplification : float
        How much larger than `eps` the error of a prediction can be.
    """

    white: Float64Array
    norms: Float64Array
    predicted: Float64Array
    eps: float
    amplification: float

    def agrees(self, queried: IndexArray, observed: Float64Array) -> bool:
        """Return whether answers are as near to the predictions as they are if the support is right."""
        error = np.abs(observed - self.predicted[queried])
        return bool(np.all(error <= self.eps * (1 + self.norms[queried])))

    def candidates(self) -> BoolArray:
        """Return which actions can have the largest linear part, if the support is right."""
        upper, lower = self.predicted + self.eps * self.norms, self.predicted - self.eps * self.norms
        return np.asarray(upper >= lower.max())


def fit_design(columns: FloatArray, design: SupportDesign, answers: Float64Array, eps: float) -> SupportModel:
    """Return the model that the answers of a design give.

    Parameters
    ----------
    columns : ndarray of shape (n_features, n_actions)
    design : SupportDesign
    answers : ndarray of float
        Rewards of the actions of the design.
    eps : float
        How far they are from a linear function on the support, at most.

    Returns
    -------
    SupportModel
        Takes O(n_actions s^2) time.
    """
    basis = support_basis(columns, design.support)
    white = design.whitening @ basis.coordinates
    own = white[:, design.actions]
    predicted = (own @ (design.weights * answers)) @ white
    amplification = float((design.weights @ np.abs(own.T @ white)).max()) if len(own) else 0.0
    norms = np.sqrt(np.einsum("ij,ij->j", white, white))
    # Other answers than those of the design are no larger than predictions and a multiple of eps, if they agree.
    size = max(float(np.abs(answers).max(initial=0.0)), float(np.abs(predicted).max(initial=0.0)), eps)
    return SupportModel(white, norms, predicted, eps + basis.rounding * size, amplification)
