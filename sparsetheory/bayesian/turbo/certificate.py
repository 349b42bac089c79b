"""Evidence that a fit of Turbo-VBI is stationary, recomputed from raw data with dense matrices."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy.linalg import solve_triangular
from scipy.special import digamma, gammaln

from sparsetheory.arrays import non_negative_weights
from sparsetheory.bayesian.markov.support_priors import SupportPrior
from sparsetheory.bayesian.markov.support_priors_plain import plain_posterior
from sparsetheory.bayesian.turbo.checks import check_arrays
from sparsetheory.bayesian.turbo.elbo import TurboState, turbo_elbo
from sparsetheory.bayesian.turbo.fit import TurboFit
from sparsetheory.certificates import Certificate, Status
from sparsetheory.ranges import rounding_of
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["TurboVBICertificate"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class TurboVBICertificate(Certificate):
    """Stationarity: one more round moves mean, noise and support probabilities by at most the bound.

    Attributes
    ----------
    coef : ndarray of shape (N,) or (n_targets, N)
        What the model predicts with.
    state : TurboState
        All factors.
    prior : SupportPrior
        Prior of the support.
    elbo : float
        Bound of the evidence that the fit reports.
    learn_prior : bool
        Whether a round learns the prior too.
    tol : float
        Tolerance of the solver, which is the bound.
    converged : bool
        Whether the solver reached it.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("tol", "converged", "learn_prior")

    coef: AnyArray = field(kw_only=True, repr=False)
    state: TurboState = field(kw_only=True, repr=False)
    prior: SupportPrior = field(kw_only=True, repr=False)
    elbo: float = field(kw_only=True)
    learn_prior: bool = field(kw_only=True)
    tol: float = field(kw_only=True)
    converged: bool = field(kw_only=True)

    @classmethod
    def of(cls, fit: TurboFit, coef: AnyArray, tol: float, learn_prior: bool) -> "TurboVBICertificate":
        """Certify the end of a run."""
        # Messages on a grid that still move have no fixed point to speak of.
        converged = bool(fit.converged and fit.state.support.settled)
        return cls(
            "",
            tol,
            fit.change,
            Status.of(converged),
            reason="" if converged else "the solver stopped before it came to rest",
            coef=coef,
            state=fit.state,
            prior=fit.prior,
            elbo=float(fit.elbo[-1]),
            learn_prior=learn_prior,
            tol=tol,
            converged=converged,
        ).stated()

    def promise(self) -> str:
        """Return what is promised."""
        return (
            "one more round moves the mean and a learned noise precision, relatively, and the support probabilities by "
            "at most the bound"
        )

    def check(
        self, F: Any, y: Any, sample_weight: ArrayLike | None = None, *, random_state: Any = 0
    ) -> "TurboVBICertificate":
        """Recompute from raw data: the Gaussian factor by an orthogonal one, the bound, and one more round.

        Parameters
        ----------
        F, y, sample_weight
            What the estimator was fitted on.
        random_state : Any
            Not used.

        Returns
        -------
        TurboVBICertificate
            `measured` is the movement of one more round; `status` also requires that coefficients, mean, variances,
            noise and bound follow from the data.

        Raises
        ------
        ValueError
            If the data are none that `fit` takes, or have other sizes.

        Notes
        -----
        O(N^3). Supports are redone in probabilities.
        """
        F, y = check_arrays(F, y)
        n, targets = self.state.support.probability.size, y.shape[1:]
        if F.shape[1] != n or self.coef.shape != (*targets, n):
            raise ValueError(
                f"F and y must belong to coefficients of shape {self.coef.shape}; got {F.shape}, {y.shape}"
            )
        weights = None
        if sample_weight is not None:
            weights = np.sqrt(non_negative_weights(sample_weight, F.real))
        Fd, Y = (_weighted(block, weights) for block in (F, y))
        if not np.isfinite(self.coef).all():
            return replace(self, measured=math.inf, status=Status.INVALID, reason="coef is not finite")
        measured, faults = self._measure(Fd, Y)
        if not self.converged:
            faults.append("the solver stopped before it came to rest")
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance of the solver")
        if not measured <= self.bound * (1.0 + 1e-6):
            faults.append("one more round moves by more than the bound")
        judged = replace(self, measured=measured, status=Status.of(not faults), reason="; ".join(faults))
        return judged.unless_misstated()

    def _measure(self, F: AnyArray, Y: AnyArray) -> tuple[float, list[str]]:
        """Return how far one more round moves, and what does not follow from the data."""
        state, faults = self.state, []
        idle = np.delete(self.coef, state.live, axis=-1)
        F = F[:, state.live]
        same = _dense_gaussian(F, Y, state.x.precisions, state.x.noise_precision)
        allowed = same.rounding / np.sqrt(state.x.precisions)
        coef = np.atleast_2d(self.coef)[:, state.live].T
        exact = rounding_of(same.mean, self.coef.dtype)
        if idle.any() or not np.all(np.abs(coef - same.mean) <= exact + allowed[:, None]):
            faults.append("the coefficients are not the mean of their factor")
        if not np.all(np.abs(state.x.mean - same.mean) <= allowed[:, None]):
            faults.append("the stored mean does not follow from the data")
        if not np.all(np.abs(state.x.var - same.var) <= same.relative * same.var):
            faults.append("the stored variances do not follow from the data")
        if not self._noise_is_consistent():
            faults.append("the factor of the noise is not what its mean says")
        x = replace(
            state.x, mean=same.mean, var=same.var, log_det=same.log_det, residual=same.residual, spread=same.spread
        )
        second = np.sum(np.abs(x.mean) ** 2, axis=1) + state.model.n_snapshots * x.var
        bound = turbo_elbo(replace(state, x=x, second_moment=second))
        if not abs(bound - self.elbo) <= same.relative * (abs(bound) + float(Y.size) + second.size):
            faults.append("the evidence lower bound is another")
        return self._movement(F, Y), faults

    def _noise_is_consistent(self) -> bool:
        """Whether shape, mean, mean logarithm and prior of the noise precision belong to one distribution."""
        model, noise = self.state.model, self.state.noise
        if model.noise_precision is not None:
            expected = (model.noise_precision, math.log(model.noise_precision), 0.0)
            return bool(np.allclose((noise.mean, noise.log_mean, noise.log_prior), expected, rtol=1e-12, atol=0.0))
        shape = model.noise_shape + model.update_exponent * model.n_snapshots * model.n_rows
        rate = shape / noise.mean
        log_mean = digamma(shape) - math.log(rate)
        entropy = shape - math.log(rate) + gammaln(shape) + (1.0 - shape) * digamma(shape)
        prior = (
            model.noise_shape * math.log(model.noise_rate)
            - gammaln(model.noise_shape)
            + (model.noise_shape - 1.0) * log_mean
            - model.noise_rate * noise.mean
        )
        sizes = 1.0 + abs(shape * math.log(shape)) + abs(prior)
        pairs = ((noise.shape, shape), (noise.log_mean, log_mean), (noise.log_prior, prior + entropy))
        return all(abs(found - wanted) <= 1e3 * _EPS * (sizes + abs(wanted)) for found, wanted in pairs)

    def _movement(self, F: AnyArray, Y: AnyArray) -> float:
        state, model = self.state, self.state.model
        after = _dense_gaussian(F, Y, state.expected_precisions, state.noise.mean)
        second = np.sum(np.abs(after.mean) ** 2, axis=1) + model.n_snapshots * after.var
        if model.factorisation == "collapsed":
            evidence = model.collapsed_evidence(second)
        else:
            evidence = model.evidence(model.averaged(second, state.support.probability[state.live]))
        log_odds = np.zeros(state.support.probability.size)
        log_odds[state.live] = evidence
        prior = self.prior.learned(state.support) if self.learn_prior else self.prior
        posterior = plain_posterior(prior, log_odds, state.support.probability)
        size, moved = np.linalg.norm(after.mean), np.linalg.norm(after.mean - state.x.mean)
        noise = 0.0
        if model.noise_precision is None:
            shape = model.noise_shape + model.update_exponent * model.n_snapshots * model.n_rows
            rate = model.noise_rate + model.update_exponent * (after.residual + model.n_snapshots * after.spread)
            noise = abs(state.noise.mean / min(shape / rate, model.largest_precision) - 1.0)
        return float(
            max(moved / size if size > 0 else moved, noise, np.abs(posterior - state.support.probability).max())
        )


@dataclass(frozen=True, eq=False)
class _Dense:
    mean: AnyArray
    var: Float64Array
    log_det: float
    residual: float
    spread: float
    rounding: float
    relative: float


def _weighted(block: Any, roots: Float64Array | None) -> AnyArray:
    out = np.asarray(block)
    out = out.astype(np.complex128 if np.iscomplexobj(out) else np.float64).reshape(out.shape[0], -1)
    return out if roots is None else roots[:, None] * out


def _dense_gaussian(F: AnyArray, Y: AnyArray, precisions: Float64Array, noise_precision: float) -> _Dense:
    """Return the moments from a QR factorisation of data and priors stacked, which squares no condition number."""
    n = F.shape[1]
    roots = np.sqrt(precisions)
    Q, R = np.linalg.qr(np.concatenate([np.sqrt(noise_precision) * F / roots, np.eye(n)]))
    inverse = solve_triangular(R, np.eye(n))
    mean = (inverse @ (Q[: F.shape[0]].conj().T @ (np.sqrt(noise_precision) * Y))) / roots[:, None]
    kept = np.sum(np.abs(inverse) ** 2, axis=1)
    log_det = -float(2.0 * np.log(np.abs(np.diagonal(R))).sum() + np.log(precisions).sum())
    residual = float(np.linalg.norm(Y - F @ mean) ** 2)
    # The solver factors the identity plus a Gram matrix, whose condition number is at most this.
    relative = 16.0 * _EPS * float(np.sum(np.abs(R) ** 2))
    rounding = relative * math.sqrt(noise_precision) * float(np.linalg.norm(Y))
    return _Dense(
        mean, kept / precisions, log_det, residual, float(np.sum(1.0 - kept)) / noise_precision, rounding, relative
    )
