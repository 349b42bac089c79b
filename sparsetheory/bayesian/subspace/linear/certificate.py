"""Evidence that no exchange of columns raises the bound, recomputed from raw data."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from sklearn.utils.validation import check_X_y

from sparsetheory.bayesian.subspace.linear.data import centred
from sparsetheory.bayesian.subspace.linear.spectrum import LARGEST_PRECISION, is_at_an_end
from sparsetheory.certificates import Certificate, Status
from sparsetheory.ranges import rounding_of
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["SubspaceVICertificate"]

_EPS = float(np.finfo(np.float64).eps)
# Candidates whose residuals are formed at a time.
_BLOCK = 256
# A learned number may be off by this share: a maximum is known to the root of rounding.
_LEARNED = 1e-5


@dataclass(frozen=True)
class SubspaceVICertificate(Certificate):
    """One-exchange optimality: no exchange of an active column for another one gains more than the bound, in nats.

    Attributes
    ----------
    coef, sigma : ndarray of shape (N,)
        Posterior means and standard deviations; zero off the subspace.
    support : ndarray of int
        Columns of the subspace.
    intercept : float
        The constant.
    noise_variance, prior_std : float
        Given or learned.
    elbo : float
        Evidence lower bound that the fit reports.
    tol : float
        Tolerance of the solver, which is the bound.
    method : str
        Moves of the solver: only "best_swap" promises optimality.
    fit_intercept : bool
        Whether a constant was fitted.
    learn_noise, learn_prior : bool
        Whether the bound is the largest one over the noise variance, and over the prior, too.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("tol", "method", "fit_intercept", "learn_noise", "learn_prior", "n_nonzero")

    coef: FloatArray = field(kw_only=True, repr=False)
    sigma: FloatArray = field(kw_only=True, repr=False)
    support: IndexArray = field(kw_only=True, repr=False)
    intercept: float = field(kw_only=True)
    noise_variance: float = field(kw_only=True)
    prior_std: float = field(kw_only=True)
    elbo: float = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)
    tol: float = field(kw_only=True)
    method: str = field(kw_only=True)
    fit_intercept: bool = field(kw_only=True)
    learn_noise: bool = field(kw_only=True)
    learn_prior: bool = field(kw_only=True)

    def promise(self) -> str:
        """Return what is promised."""
        return (
            "no exchange of an active column for another one raises the evidence lower bound by more than the bound, "
            "in nats, and the posterior is the best one on its subspace"
        )

    def check(self, X: Any, y: Any, *, random_state: Any = 0) -> "SubspaceVICertificate":
        """Recompute from raw data: the posterior by singular values, and every exchange as a difference of two bounds.

        Parameters
        ----------
        X, y
            What the estimator was fitted on.
        random_state : Any
            Not used.

        Returns
        -------
        SubspaceVICertificate
            `measured` is the largest gain of an exchange.

        Raises
        ------
        ValueError
            If the data are none that `fit` takes, or have other sizes.

        Notes
        -----
        O(M s N), and one residual for every exchange. Gains are known up to the rounding of squares of the data, and of
        the terms of the columns, over the noise variance, which is allowed for.
        """
        X, y = check_X_y(X, y, dtype=[np.float64, np.float32], y_numeric=True)
        if X.shape[1] != self.coef.size:
            raise ValueError(f"X must have {self.coef.size} columns; got {X.shape[1]}")
        faults = self._nonsense()
        if faults:
            return replace(self, measured=math.inf, status=Status.INVALID, reason="; ".join(faults))
        subspace = _Subspace.of(self, X, np.asarray(y, np.float64))
        faults = subspace.faults(self)
        measured = subspace.largest_gain()
        return self.judged(measured, subspace.rounding, faults)

    def judged(self, measured: float, rounding: float, faults: list[str]) -> "SubspaceVICertificate":
        """Return the certificate with the status that a largest gain and faults give it."""
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults = [*faults, "the bound is not the tolerance of the solver"]
        optimal = measured <= self.bound + rounding
        if faults or (not optimal and self.method == "best_swap"):
            words = [*faults, *([] if optimal else [f"an exchange gains {measured:.3g} nats"])]
            return replace(self, measured=measured, status=Status.INVALID, reason="; ".join(words))
        if not optimal:
            reason = f"method={self.method!r} rests where its own moves gain nothing; an exchange gains {measured:.3g}"
            return replace(self, measured=measured, status=Status.NOT_APPLICABLE, reason=reason)
        return replace(self, measured=measured, status=Status.VALID, reason="").unless_misstated()

    def _nonsense(self) -> list[str]:
        """Return what cannot be a solution, whatever the data."""
        positive = self.noise_variance, self.prior_std
        if not all(math.isfinite(value) and value > 0 for value in positive):
            return ["noise_variance and prior_std must be positive"]
        if not (np.isfinite(self.coef).all() and np.isfinite(self.sigma).all() and math.isfinite(self.elbo)):
            return ["coef, sigma or elbo is not finite"]
        support = np.asarray(self.support)
        if support.size and (support.min() < 0 or support.max() >= self.coef.size):
            return ["support is no set of columns"]
        return [] if np.unique(support).size == support.size else ["a column occurs twice in support"]


@dataclass(frozen=True, eq=False)
class _Subspace:
    """One subspace and its best factors, in units in which the prior and the noise have variance one."""

    A: Float64Array
    y: Float64Array
    support: IndexArray
    mean: Float64Array
    variance: Float64Array
    centre: tuple[Float64Array, float]
    unit: float

    @classmethod
    def of(cls, given: SubspaceVICertificate, X: FloatArray, y: Float64Array) -> "_Subspace":
        centre = X.astype(np.float64).mean(axis=0), float(y.mean())
        if given.fit_intercept:
            X, y = centred(X, y)
        noise = math.sqrt(given.noise_variance)
        A, y = X.astype(np.float64) * (given.prior_std / noise), y / noise
        columns = A[:, given.support]
        # Singular values apart from the prior, which a stacked system loses beside columns that are large.
        left, values, right = np.linalg.svd(columns, full_matrices=False)
        mean = (values / (1.0 + values**2) * (y @ left)) @ right
        variance = 1.0 / (1.0 + np.sum(columns**2, axis=0))
        return cls(A, y, given.support, mean, variance, centre, noise)

    @property
    def rounding(self) -> float:
        # Columns close to dependent ones have terms that are larger than the data, and cancel.
        terms = np.linalg.norm(self.A[:, self.support], axis=0) * np.abs(self.mean)
        size = float(np.linalg.norm(self.y))
        return 64.0 * _EPS * (1.0 + (size + float(terms.max(initial=0.0))) * (size + float(terms.sum())))

    def elbo(self, n_rows: int) -> float:
        """Return the bound of the factors, each term as it is defined."""
        columns = self.A[:, self.support]
        left = self.y - columns @ self.mean
        expected = float(left @ left) + float(np.sum(columns**2, axis=0) @ self.variance)
        divergence = 0.5 * float(np.sum(self.variance + self.mean**2 - 1.0 - np.log(self.variance)))
        return -0.5 * n_rows * math.log(2.0 * math.pi * self.unit**2) - 0.5 * expected - divergence

    def faults(self, given: SubspaceVICertificate) -> list[str]:
        """Return what of a solution does not follow from the data."""
        found, n = [], given.coef.size
        coef, sigma = np.zeros(n), np.zeros(n)
        coef[self.support] = given.prior_std * self.mean
        sigma[self.support] = given.prior_std * np.sqrt(self.variance)
        norms = np.linalg.norm(self.A[:, self.support])
        allowed = 64.0 * _EPS * given.prior_std * (1.0 + norms) * (1.0 + float(np.linalg.norm(self.y)))
        near = allowed * np.isin(np.arange(n), self.support)
        if not np.all(np.abs(given.coef - coef) <= near + 2.0 * rounding_of(coef, given.coef.dtype)):
            found.append("the coefficients are not the posterior mean")
        if not np.all(np.abs(given.sigma - sigma) <= 1e-9 * sigma + 2.0 * rounding_of(sigma, given.sigma.dtype)):
            found.append("the standard deviations do not follow from the data")
        usable = int(np.count_nonzero(np.any(self.A != 0, axis=0)))
        if int(self.support.size) != min(given.n_nonzero, usable):
            found.append("the subspace has another number of columns")
        n_rows = self.y.size - int(given.fit_intercept)
        bound = self.elbo(n_rows)
        if not abs(bound - given.elbo) <= 1e-9 * (1.0 + abs(bound)) + self.rounding:
            found.append("the evidence lower bound is another")
        found += self._not_learned(given, n_rows)
        centre = self.centre[1] - float(self.centre[0] @ given.coef.astype(np.float64)) if given.fit_intercept else 0.0
        scale = abs(self.centre[1]) + float(np.abs(self.centre[0]) @ np.abs(given.coef)) if given.fit_intercept else 0.0
        if not abs(centre - given.intercept) <= 4.0 * float(rounding_of(scale, given.coef.dtype)):
            found.append("the intercept is not that of the means")
        return found

    def _not_learned(self, given: SubspaceVICertificate, n_rows: int) -> list[str]:
        """Return which learned number is not at the maximum of the bound, by its derivatives."""
        columns, found = self.A[:, self.support], []
        lengths = np.sum(self.A**2, axis=0)
        left, size = self.y - columns @ self.mean, float(self.mean @ self.mean)
        misfit, freedom = float(left @ left), float(np.sum(1.0 - self.variance))
        allowed = _LEARNED * n_rows + self.rounding
        capped = float(self.y @ self.y) >= 0.999 * LARGEST_PRECISION * n_rows or not self.y.any()
        # Beside a learned prior, noise is learned at a fixed ratio of the two.
        excess = misfit + (size if given.learn_prior else freedom) - n_rows
        if given.learn_noise and not capped and self.support.size and abs(excess) > allowed:
            found.append("another noise variance raises the bound")
        inside = self.support.size and not is_at_an_end(float(lengths[lengths > 0].mean()))
        if given.learn_prior and inside and abs(size - freedom) > allowed:
            found.append("another prior raises the bound")
        return found

    def largest_gain(self) -> float:
        """Return the largest difference of bounds that one exchange makes, other factors fixed."""
        outside = np.setdiff1d(np.flatnonzero(np.any(self.A != 0, axis=0)), self.support)
        if outside.size == 0 or self.support.size == 0:
            return -math.inf
        left = self.y - self.A[:, self.support] @ self.mean
        v, m = self.variance, self.mean
        squares = np.sum(self.A[:, self.support] ** 2, axis=0)
        terms = squares * v + v + m**2 - 1.0 - np.log(v)
        now = float(left @ left) + float(terms.sum())
        largest = -math.inf
        for start in range(0, outside.size, _BLOCK):
            columns = self.A[:, outside[start : start + _BLOCK]]
            lengths = np.sum(columns**2, axis=0)
            spread = 1.0 / (1.0 + lengths)
            for i, k in enumerate(self.support):
                rest = left + self.A[:, k] * m[i]
                mean = spread * (columns.T @ rest)
                misfit = np.sum((rest[:, None] - columns * mean) ** 2, axis=0)
                entering = lengths * spread + spread + mean**2 - 1.0 - np.log(spread)
                after = misfit + entering + float(terms.sum() - terms[i])
                largest = max(largest, 0.5 * (now - float(after.min())))
        return largest
