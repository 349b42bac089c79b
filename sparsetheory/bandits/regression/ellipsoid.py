r"""Ridge regression, and the ellipsoid in which the true coefficients lie.

With V the ridge penalty times the identity plus the sum of outer products of what was played, t plays, and rewards
within eps of a linear function, the estimate errs by at most

.. math:: \sigma \sqrt{2 \log(1 / \delta) + \log\det(V / \lambda)} + \sqrt{\lambda}\, B + \varepsilon \sqrt{t}

in the norm of V, at all times at once, except with probability delta: Abbasi-Yadkori, Pal and Szepesvari (2011) for the
first two terms. For the last one, errors :math:`\nu` of at most eps have
:math:`|\sum \nu_i x_i|_{V^{-1}} \le \varepsilon \max_{|z| = 1} \sum_i |x_i^\top V^{-1/2} z| \le \varepsilon \sqrt{t}`.
"""

import math

import numpy as np
from scipy.linalg import qr, solve_triangular

from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.numba_kernels.bandits.optimism import learn, most_optimistic
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["Ellipsoid", "radius_of", "ridge"]

# Rounding of rank-one updates adds up; after so many everything is made anew.
_UPDATES = 4096
# A square falls by no more than the determinant grows, and keeps the rounding errors of what it was. After so much
# growth of the logarithm everything is made anew: the first plays of features that are long against the penalty.
_GROWTH = math.log(1e6)


def radius_of(
    log_det: float,
    n_plays: int,
    *,
    eps: float,
    noise_std: float,
    delta: float,
    norm_bound: float,
    regularization: float,
) -> float:
    """Return how far the estimate is from the truth, at most, in the norm of V.

    Parameters
    ----------
    log_det : float
        Logarithm of the determinant of V over that of the penalty.
    n_plays : int
    eps, noise_std, delta, norm_bound, regularization : float
    """
    noise = noise_std * math.sqrt(max(2 * math.log(1 / delta) + log_det, 0.0))
    return noise + math.sqrt(regularization) * norm_bound + eps * math.sqrt(n_plays)


def ridge(
    rows: Float64Array, counts: Float64Array, sums: Float64Array, regularization: float
) -> tuple[Float64Array, Float64Array]:
    """Return an upper triangular R with ``R^T R = V``, and the estimate.

    By the QR factorisation of rows and penalty: forming V would lose the penalty where rows are long.

    Parameters
    ----------
    rows : ndarray of shape (n, n_features)
        Features of the actions that were played.
    counts, sums : ndarray of shape (n,)
        Numbers of their plays, and sums of their rewards.
    regularization : float
    """
    d, roots = rows.shape[1], np.sqrt(counts)
    played = np.column_stack([roots[:, None] * rows, sums / roots])
    penalty = np.column_stack([math.sqrt(regularization) * np.eye(d), np.zeros(d)])
    R = qr(np.vstack([played, penalty]), mode="r", check_finite=False)[0][:d]
    return R[:, :d], np.asarray(solve_triangular(R[:, :d], R[:, d]))


class Ellipsoid:
    """The estimate, and what it says of all actions, after every play.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    regularization : float

    Attributes
    ----------
    predicted, squares : ndarray of shape (n_actions,)
        Predictions, and squared norms in the inverse of V.
    log_det : float
        Logarithm of the determinant of V over that of the penalty.
    n_plays : int
    """

    def __init__(self, features: AnyArray, regularization: float) -> None:
        self._features = np.ascontiguousarray(features, dtype=np.float64)
        self._regularization = regularization
        n = len(features)
        self._counts, self._sums, self._direction = np.zeros(n), np.zeros(n), np.empty(features.shape[1])
        self.n_plays, self._n_updates = 0, 0
        self.squares: Float64Array
        self.predicted: Float64Array
        self._renew()

    def learn(self, action: int, rewards: Float64Array) -> None:
        """Take the rewards of some plays of an action."""
        count, total = float(len(rewards)), float(rewards.sum())
        self._counts[action] += count
        self._sums[action] += total
        self.n_plays += len(rewards)
        self._n_updates += 1
        growth = self.log_det - self._log_det_renewed + math.log1p(count * self.norm(action) ** 2)
        if self._n_updates % _UPDATES == 0 or growth > _GROWTH:
            self._renew()
            return
        self.log_det += learn(
            self._white, self._inverse, self.predicted, self.squares, self._direction, action, count, total
        )

    def most_optimistic(self, radius: float) -> int:
        """Return the action with the largest upper end of its interval."""
        return int(most_optimistic(self.predicted, self.squares, radius))

    def safest(self, radius: float) -> int:
        """Return the action with the largest lower end of its interval."""
        return int(np.argmax(self.predicted - radius * np.sqrt(np.maximum(self.squares, 0.0))))

    def norm(self, action: int) -> float:
        """Return the norm of an action in the inverse of V."""
        return math.sqrt(max(float(self.squares[action]), 0.0))

    def theta(self) -> Float64Array:
        """Return the estimate."""
        return self._estimate()[1]

    def means(self) -> MeanRewards:
        """Return what was played."""
        played = np.flatnonzero(self._counts)
        counts = self._counts[played]
        return MeanRewards(played, self._sums[played] / counts, counts.astype(np.int64))

    def _estimate(self) -> tuple[Float64Array, Float64Array]:
        played = np.flatnonzero(self._counts)
        return ridge(self._features[played], self._counts[played], self._sums[played], self._regularization)

    def _renew(self) -> None:
        """Make everything anew from what was played."""
        R, theta = self._estimate()
        d = len(R)
        # In coordinates in which V is the identity features are as long as they matter, whatever their units, and
        # directions that they do not have leave no rounding.
        self._inverse: Float64Array = np.eye(d)
        self._white: Float64Array = np.ascontiguousarray(solve_triangular(R, self._features.T, trans="T").T)
        self.squares = np.einsum("ij,ij->i", self._white, self._white)
        self.predicted = self._features @ theta
        self.log_det = float(2 * np.log(np.abs(np.diagonal(R))).sum() - d * math.log(self._regularization))
        self._log_det_renewed = self.log_det
