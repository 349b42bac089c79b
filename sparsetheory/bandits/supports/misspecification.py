"""How wrong every sparse linear model of observed rewards must be, at least."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy.optimize import linprog

from sparsetheory.bandits.supports.enumeration import MAX_SUPPORTS, all_supports
from sparsetheory.bandits.supports.residuals import ROUNDING, compressed, residual_norms, residuals_of_moments
from sparsetheory.bandits.supports.screening import checked_rows
from sparsetheory.constraints import FRACTION, MISSING, NONNEGATIVE, Integer
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["MisspecificationBound", "estimate_eps"]


@dataclass(frozen=True, eq=False)
class MisspecificationBound:
    r"""A lower bound of the misspecification, with a proof of it for the support that fits best.

    For every :math:`\theta` and all `weights` :math:`\lambda` with :math:`|\lambda|_1 = 1` and
    :math:`X_M^\top \lambda = 0` the largest residual is at least
    :math:`\lambda^\top (y - X_M \theta) = \lambda^\top y`.

    Parameters
    ----------
    eps_lower : float
        No linear function on `n_nonzero` features is nearer than this to all true rewards.
    sup_residual : float
        Largest residual of `theta` on the observed rewards; what they can prove without noise lies between
        `eps_lower` and this.
    support : ndarray of int, of shape (n_nonzero,)
        The support with the smallest bound.
    theta : ndarray of shape (n_nonzero,)
        Coefficients on it.
    weights : ndarray of shape (n,)
        The proof for this support, one weight for each observation; zeros where nothing can be proved.
    n_programs : int
        Number of linear programs that were solved.
    """

    eps_lower: float
    sup_residual: float
    support: IndexArray
    theta: Float64Array
    weights: Float64Array
    n_programs: int


def estimate_eps(
    rows: ArrayLike,
    rewards: ArrayLike,
    n_nonzero: int,
    *,
    noise_std: float = 0.0,
    delta: float | None = None,
    max_supports: int = MAX_SUPPORTS,
) -> MisspecificationBound:
    r"""Return a certified lower bound of the misspecification of sparse linear models, from observed rewards.

    It is :math:`\min_{|M| = s} \min_\theta |y - X_M \theta|_\infty`, which the true function cannot beat. Without
    noise it is exact up to the tolerance of the linear programs, and rounded down.

    Parameters
    ----------
    rows : array-like of shape (n, d)
        Features of the observations.
    rewards : array-like of shape (n,)
        What was observed; means, where an action was played several times.
    n_nonzero : int
        Number of features s of the models, from 1 to d.
    noise_std : float
        Subgaussian scale of the noise of each reward.
    delta : float, optional
        Accepted probability that the bound is wrong, in (0, 1); needed with noise. The noise of all n rewards is at
        most :math:`\sigma \sqrt{2 \log(2n/\delta)}` otherwise, which is subtracted.
    max_supports : int
        Most supports that may be listed.

    Returns
    -------
    MisspecificationBound

    Raises
    ------
    ValueError
        If there are more supports than `max_supports`, shapes do not fit, an entry is NaN or infinite, or there is
        noise and no `delta`.

    Notes
    -----
    A residual of least squares r proves :math:`|r|_2 / \sqrt{n}` from second moments, for all supports in
    :math:`O(C(d, s) s^2)`, and :math:`|r|_2^2 / |r|_1` once it is known. Supports are visited by the first bound, and a
    linear program is solved for those whose second bound is below the best value; the search ends where the first bound
    reaches it. Weights from a program are projected to what they must obey, so that its tolerance does not enter.

    Examples
    --------
    >>> import numpy as np
    >>> X = np.random.default_rng(0).standard_normal((40, 6))
    >>> y = X[:, 1] - X[:, 4] + 0.1 * np.sin(np.arange(40.0))
    >>> bound = estimate_eps(X, y, 2)
    >>> bound.support.tolist(), bound.eps_lower <= 0.1, round(bound.eps_lower, 3)
    ([1, 4], True, 0.099)
    """
    X, y = checked_rows(rows, rewards)
    n, d = X.shape
    s = Integer(1, d).check("n_nonzero", n_nonzero)
    noise_std = NONNEGATIVE.check("noise_std", noise_std)
    (MISSING | FRACTION).check("delta", delta)
    if noise_std and delta is None:
        raise ValueError("delta must be given with noise; got None")
    noise = noise_std * math.sqrt(2 * math.log(2 * n / delta)) if noise_std and delta else 0.0
    supports = all_supports(d, s, max_supports)
    least = _bounds(X, y, supports)
    best, n_programs = None, 0
    for at in np.argsort(least, kind="stable"):
        if best is not None and least[at] >= best.eps_lower:
            break
        model = _Support(X[:, supports[at]], y)
        if best is None or model.bound(model.residual) < best.eps_lower:
            n_programs += 1
            theta, weights, value = model.nearest()
            if best is None or value < best.eps_lower:
                sup = float(np.abs(y - X[:, supports[at]] @ theta).max())
                best = MisspecificationBound(value, sup, supports[at], theta, weights, n_programs)
    assert best is not None  # there is at least one support
    return MisspecificationBound(
        max(best.eps_lower - noise, 0.0), best.sup_residual, best.support, best.theta, best.weights, n_programs
    )


def _bounds(X: Float64Array, y: Float64Array, supports: IndexArray) -> Float64Array:
    """Return what the residual of least squares proves about each support; from its rows where moments cannot tell."""
    residuals, slack = residuals_of_moments(X.T @ X, X.T @ y, float(y @ y), supports)
    least = np.sqrt(np.maximum(residuals - slack, 0.0))
    unknown = np.flatnonzero(residuals <= 2 * slack)
    if unknown.size:
        least[unknown] = np.maximum(least[unknown], residual_norms(compressed(X, y), supports[unknown]))
    return least / math.sqrt(len(y)) * (1 - ROUNDING)


class _Support:
    """The nearest function on one support, in the largest residual, and what proves it.

    Parameters
    ----------
    X : ndarray of shape (n, s)
    y : ndarray of shape (n,)
    """

    def __init__(self, X: Float64Array, y: Float64Array) -> None:
        lengths = np.linalg.norm(X, axis=0)
        self.lengths = np.where(lengths > 0, lengths, 1.0)
        self.X, self.y = X / self.lengths, y
        U, sizes, Vt = np.linalg.svd(self.X, full_matrices=False)
        kept = sizes > ROUNDING
        self.basis, self.sizes, self.directions = U[:, kept], sizes[kept], Vt[kept]
        self.residual = self._orthogonal(y)

    def _orthogonal(self, vector: Float64Array) -> Float64Array:
        for _ in range(2):  # twice is enough
            vector = vector - self.basis @ (self.basis.T @ vector)
        return vector

    def bound(self, weights: Float64Array) -> float:
        r"""Return what weights prove, less rounding.

        For weights with :math:`|\lambda|_1 = 1` and any coefficients with the largest residual t,
        :math:`t \ge \lambda^\top y - |X^\top \lambda|\, |\theta|`. The first product is known up to its rounding, the
        second vector as well. Those coefficients that matter obey :math:`\sigma |\theta| \le |y| + \sqrt{n}\, t`,
        where t can be taken for at most the largest reward, which no coefficients at all attain.
        """
        total = float(np.abs(weights).sum())
        if total == 0:
            return 0.0
        unit, unity = weights / total, float(np.finfo(np.float64).eps)
        n, top = len(unit), float(np.abs(self.y).max())
        smallest = float(self.sizes.min(initial=np.inf))
        coef = (float(np.linalg.norm(self.y)) + math.sqrt(n) * top) / smallest
        # Sums of n products, each in error by n units at most.
        defect = np.linalg.norm(np.abs(self.X.T @ unit) + n * unity * (np.abs(self.X.T) @ np.abs(unit)))
        return max(0.0, (float(unit @ self.y) - float(defect) * coef - 2 * n * unity * top) * (1 - 4 * n * unity))

    def nearest(self) -> tuple[Float64Array, Float64Array, float]:
        """Return coefficients, weights and the bound that these prove, from one linear program.

        Unknown are coordinates z in an orthonormal basis of the features, and the largest residual t. Rewards are
        replaced by what least squares has left of them, so that tolerances of the program are relative to that.
        """
        left = self.residual
        size = float(np.abs(left).max())
        n, rank = self.basis.shape
        along = self.basis.T @ self.y
        weights, bound = left / (np.abs(left).sum() or 1.0), self.bound(left)
        if size > 0:
            lower = np.hstack([-self.basis, -np.ones((n, 1))])
            upper = np.hstack([self.basis, -np.ones((n, 1))])
            program = linprog(
                np.append(np.zeros(rank), 1.0),
                A_ub=np.vstack([lower, upper]),
                b_ub=np.concatenate([-left, left]) / size,
                bounds=[(None, None)] * rank + [(0, None)],
                method="highs",
            )
            if program.status == 0:
                along = along + size * program.x[:rank]
                # Prices of both sides are at most zero: of predictions that are too small, and too large.
                prices = self._orthogonal(program.ineqlin.marginals[n:] - program.ineqlin.marginals[:n])
                if self.bound(prices) > bound:
                    weights, bound = prices / np.abs(prices).sum(), self.bound(prices)
        theta = (self.directions.T @ (along / self.sizes)) / self.lengths
        return theta, weights if bound > 0 else np.zeros(n), bound
