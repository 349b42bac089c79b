"""Evidence that a penalised least-squares fit is optimal, recomputed from raw data."""

import warnings
from dataclasses import dataclass, field
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.certificates import Certificate, Status
from sparsetheory.penalties.base import Penalty
from sparsetheory.regression.certificates.coordinate_minima import distance_to_best
from sparsetheory.regression.certificates.plain_design import PlainDesign
from sparsetheory.regression.certificates.plain_residuals import PlainResiduals, solve_for_signs, unscaled
from sparsetheory.regression.lasso.solution_certificate import SAME, SolutionCertificate
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["LassoCertificate", "warn_if_rounding_spoils"]

_EPS = float(np.finfo(np.float64).eps)


@dataclass(frozen=True)
class LassoCertificate(SolutionCertificate):
    """A duality gap (convex penalties), or the largest distance of a coefficient from its best value (other penalties).

    For convex penalties the objective at the coefficients and the intercept is at most `bound` above its minimum. For
    other penalties no single coefficient can be improved: its distance from its best value, times its curvature, is at
    most `bound`; intercept and unpenalised coefficients count together, by the root of twice what they can save, times
    the root of the largest curvature.

    Attributes
    ----------
    penalty : Penalty
        Its kind and numbers, at strength `alpha`.
    alpha : float
        Strength of the penalty in the fit.
    feature_alphas : ndarray of shape (n_features,)
        Strength for each feature; zero where it is not penalised.
    coef : ndarray of shape (n_features,)
        Coefficients, in the precision in which the model predicts.
    intercept : float
        Constant of the model.
    fit_intercept : bool
        Whether the constant was free.
    tol : float
        Tolerance of the fit: `bound` is this times half the mean square of the response (convex penalties) or times the
        largest gradient at zero (other penalties), without what is not penalised.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("tol", "fit_intercept")

    penalty: Penalty = field(kw_only=True)
    feature_alphas: Float64Array = field(kw_only=True, repr=False)

    @classmethod
    def of(
        cls,
        penalty: Penalty,
        feature_alphas: Float64Array,
        coef: AnyArray,
        intercept: float,
        *,
        bound: float,
        tol: float,
        fit_intercept: bool,
        **more: Any,
    ) -> Self:
        """Return the certificate of a solution, not verified yet; `penalty` is at the strength of the fit."""
        return cls(
            "",
            bound,
            None,
            Status.INVALID,
            penalty=penalty,
            alpha=penalty.alpha,
            feature_alphas=feature_alphas,
            coef=coef,
            intercept=intercept,
            fit_intercept=fit_intercept,
            tol=tol,
            **more,
        ).stated()

    def promise(self) -> str:
        """Return what is promised, of which penalty."""
        what = (
            "the objective is within gap of its minimum"
            if self.penalty.convex
            else "no single coefficient can be improved"
        )
        paid = self.feature_alphas[self.feature_alphas > 0] / (self.alpha or 1.0)
        return (
            f"{self.penalty!r} on {paid.size} features, weights {paid.min(initial=np.inf):.6g} to "
            f"{paid.max(initial=0.0):.6g}: {what}"
        )

    def _judge(self, design: PlainDesign, target: Float64Array) -> Self:
        reason = self._impossible()
        if reason:
            return self._invalid(reason)
        point = PlainResiduals.at(self.coef, self.intercept, self.feature_alphas == 0, design, target)
        measured, promise, rounding = self._gap(point) if self.penalty.convex else self._distance(point)
        slack = (SAME + point.doubt) * promise + self.tol * (rounding + (25 * point.rounding) ** 2)
        return self._compared(measured, promise, rounding, slack=slack, least=point.least_fraction)

    def _impossible(self) -> str:
        """Return what is wrong with the certificate whatever the data."""
        reason = super()._impossible()
        if not reason and self.penalty.alpha != self.alpha:
            reason = f"the strength of the penalty in the fit was {self.alpha}"
        if not reason and self.penalty.positive and np.any(self.coef[self.feature_alphas > 0] < 0):
            reason = "penalised coefficients must not be negative"
        return reason

    # The ridge part of an elastic net is the squared residual of more rows, one per feature: the roots of its strengths
    # times the unit vectors, with response zero. `tail` is the residual in these rows.

    def _gap(self, point: PlainResiduals) -> tuple[float, float, float]:
        """Return duality gap, tolerance, and how far rounding moves the gap."""
        design, coef = point.design, self.coef.astype(np.float64)
        tail = -np.sqrt(self._ridge()) * coef
        square, penalty = (
            point.square + float(tail @ tail),
            self.penalty.l1_part * float(self.feature_alphas @ np.abs(coef)),
        )
        energy = float(design.weights @ point.target**2)
        promise = 0.5 * self.tol * energy
        dual, doubt = self._dual_value(point, point.left, tail)
        measured = 0.5 * square + penalty - dual
        if measured > self.bound and np.any(self.coef):
            # Where coefficients are rounded, their residual is a worse dual point than one that solves for the signs.
            better, doubt = self._dual_value(point, *self._refined(point, tail))
            measured = min(measured, 0.5 * square + penalty - better)
        sums = 4 * _EPS * design.n_samples**0.5 * (energy + square + penalty)
        rounding = doubt + sums + point.rounding * float(np.sqrt(point.square)) + point.rounding**2 + point.stored**2
        return max(measured, 0.0), promise, rounding

    def _ridge(self) -> Float64Array:
        """Return the strength of the square of each coefficient."""
        return (1.0 - self.penalty.l1_part) * self.feature_alphas

    def _dual_value(self, point: PlainResiduals, residual: Float64Array, tail: Float64Array) -> tuple[float, float]:
        """Return the best dual value along a residual, and how far rounding moves it."""
        paid, weights = self.feature_alphas > 0, point.design.weights
        gradient, noise = point.design.gradient(residual, point.squares)
        pull = self.penalty.pull(gradient + np.sqrt(self._ridge()) * tail)
        limits = self.penalty.l1_part * self.feature_alphas[paid]
        fit, square = float(weights @ (residual * point.target)), float(weights @ residual**2) + float(tail @ tail)
        ratio = float(np.max(pull[paid] / limits, initial=0.0))
        scale = fit / square if square > 0 else 0.0
        if ratio > 0:
            scale = float(np.clip(scale, -1 / ratio, 1 / ratio))
        if self.penalty.positive:
            # Products below zero bound nothing, so a dual point that points the other way may not be allowed.
            scale = max(scale, 0.0)
        doubt = float(np.max(noise[paid] / limits, initial=0.0)) * scale**2 * abs(fit)
        return scale * (fit - 0.5 * scale * square), doubt

    def _refined(self, point: PlainResiduals, tail: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return a residual and its tail whose products with the used columns are their strengths, by least squares."""
        signs, roots, n = np.sign(self.coef.astype(np.float64)), np.sqrt(point.design.weights), point.design.n_samples
        ridge = np.sqrt(self._ridge())
        # Those whose product is far from its strength had better be zero.
        pulled = signs * (point.design.gradient(point.left, point.squares)[0] + ridge * tail)
        limits = self.penalty.l1_part * self.feature_alphas
        used = np.flatnonzero((self.feature_alphas > 0) & (point.squares > 0) & (pulled > 0.9 * limits))
        columns, residual = point.scaled_columns(used), roots * point.left
        if ridge.any():
            columns, residual = np.vstack([columns, np.diag(ridge[used])]), np.concatenate([residual, tail[used]])
        solved, refined = solve_for_signs(columns, residual, limits[used] * signs[used]), np.zeros(tail.size)
        refined[used] = solved[n:] if ridge.any() else 0.0
        return unscaled(solved[:n], roots), refined

    def _distance(self, point: PlainResiduals) -> tuple[float, float, float]:
        """Return distance to the best values, tolerance, and how far rounding moves the distance."""
        design, squares = point.design, point.without_free()
        paid, coef = (self.feature_alphas > 0) & (squares > 0), self.coef.astype(np.float64)
        gradient, noise = design.gradient(point.left, squares)
        at_zero = design.gradient(point.target, squares)[0]
        shape = np.broadcast_to(np.asarray(self.penalty.shape, dtype=np.float64), coef.size)
        ways = distance_to_best(
            self.penalty, coef[paid], gradient[paid], squares[paid], self.feature_alphas[paid], shape[paid]
        )
        useless = (self.feature_alphas > 0) & (squares == 0) & (coef != 0)
        largest = float(np.sqrt(np.max(squares, initial=0.0)))
        measured = max(float(np.max(ways, initial=0.0)), point.saved * largest)
        rounding = float(np.max(noise[paid], initial=0.0)) + (point.rounding + point.stored) * largest
        promise = self.tol * float(np.max(np.abs(at_zero[paid]), initial=0.0))
        return np.inf if useless.any() else measured, promise, rounding


def warn_if_rounding_spoils(certificate: Certificate, *, converged: bool) -> None:
    """Warn of a fit that the solver thought good, but that is not, as it is kept and on the data as they are."""
    if converged and not certificate.valid:
        warnings.warn(
            f"the solver met its tolerance, but the model as it is kept does not: {certificate.reason} (measured "
            f"{certificate.measured:.3g}, bound {certificate.bound:.3g}). Take large means off the columns and the "
            "response, or use double precision",
            ConvergenceWarning,
            stacklevel=4,
        )
