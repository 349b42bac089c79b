r"""How large the rewards of actions can be, if they are nearly a linear function on one support.

With whitened coordinates q of an action, and the polytope of coefficients v that the answers allow around least squares
c', its reward is at most ``q c' + max_v q v + eps``. The polytope lies in a ball of radius ``sqrt(n eps^2 - |r|^2)``
for n answers with residuals r, so the maximum is at most that times ``|q|``. That is what a first look costs, and the
corners of the polytope are only found where it is not enough. Where q has a part of which the queried actions have
none, nothing bounds the reward.
"""

from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits.supports.allowed import allowed_coefficients
from sparsetheory.bandits.supports.basis import SupportBasis
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["UpperBounds", "upper_bounds"]

# Coordinates of actions in directions that no queried action has count as zero below this share of the largest.
_NOTHING = 1e-12
# Products with corners that are formed at once.
_BLOCK = 2_000_000


@dataclass(frozen=True, eq=False)
class UpperBounds:
    """What answers say of one support.

    Parameters
    ----------
    values : ndarray of shape (n_actions,)
        Upper bounds of the rewards of all actions.
    refuted : bool
        Whether no linear function on the support is within eps of the answers.
    """

    values: Float64Array
    refuted: bool


def upper_bounds(
    basis: SupportBasis, queried: IndexArray, observed: Float64Array, eps: float, enough: float = -np.inf
) -> UpperBounds:
    """Return upper bounds of all rewards, if they are within `eps` of a linear function on a support.

    Parameters
    ----------
    basis : SupportBasis
    queried : ndarray of int
        Actions, each once.
    observed : ndarray of float
        Their rewards, or means of rewards that are within w of them; `eps` contains w then.
    eps : float
    enough : float
        Bounds that are not larger need not be sharp.

    Returns
    -------
    UpperBounds
        Takes O(n_actions s + n s^2) time, and for m corners O(n_actions s m) and that of finding them.
    """
    rank = basis.rank
    if rank == 0:  # the support has zero columns alone
        worst = float(np.abs(observed).max(initial=0.0))
        return UpperBounds(np.full(basis.coordinates.shape[1], eps), worst > eps * (1 + 1e-12))
    rows = basis.coordinates[:, queried].T
    size = float(np.abs(observed).max(initial=0.0))
    allowed = allowed_coefficients(rows, observed, eps + basis.rounding * size)
    white = allowed.whitening @ basis.coordinates
    fitted = allowed.center @ white
    norms = np.sqrt(np.einsum("ij,ij->j", white, white))
    # Coordinates are in error relative to the largest value of a function, which need not be at a queried action.
    largest = float((np.abs(fitted) + allowed.radius * norms).max())
    if largest > size:
        allowed = allowed_coefficients(rows, observed, eps + basis.rounding * largest)
    values = fitted + allowed.radius * norms + allowed.eps
    if len(allowed.outside):
        outside = np.abs(allowed.outside @ basis.coordinates).max(axis=0)
        values[outside > _NOTHING * np.abs(basis.coordinates).max()] = np.inf
    large = np.flatnonzero((values > enough) & (values < np.inf))
    if allowed.refuted or not large.size:
        return UpperBounds(values, allowed.refuted)
    corners = allowed.corners()
    if corners is None:
        return UpperBounds(values, False)
    if not len(corners):
        return UpperBounds(values, True)
    step = max(1, _BLOCK // len(corners))
    for start in range(0, len(large), step):
        some = large[start : start + step]
        reach = (corners @ white[:, some]).max(axis=0)
        values[some] = np.minimum(values[some], fitted[some] + reach + allowed.eps)
    return UpperBounds(values, False)
