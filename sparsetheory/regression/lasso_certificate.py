"""Evidence that a penalised least-squares fit is optimal, recomputed from raw data."""

import warnings
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.certificates import Certificate, Status
from sparsetheory.coding.penalty import Penalty
from sparsetheory.numba_kernels import penalty_tags
from sparsetheory.regression.coordinate_minima import distance_to_best
from sparsetheory.regression.plain_design import PlainDesign, check_fitted_data

__all__ = ["LassoCertificate", "warn_if_rounding_spoils"]

_Array = NDArray[np.float64]
_EPS = float(np.finfo(np.float64).eps)
# Directions of the unpenalised features that are weaker than this, relative to the columns, are not looked at.
_WEAK = 1e-12
# Squares of columns of which less than this share is left are rounding.
_NOTHING = 1e-22
# A promise recomputed from the data differs by rounding only.
_SAME = 1e-9


@dataclass(frozen=True)
class LassoCertificate(Certificate):
    """A duality gap (l1 norm), or the largest distance of a coefficient from its best value (other penalties).

    For the l1 norm the objective at the coefficients and the intercept is at most `bound` above its minimum. For other
    penalties no single coefficient can be improved: its distance from its best value, times its curvature, is at most
    `bound`; intercept and unpenalised coefficients count together, by the root of twice what they can save, times the
    root of the largest curvature.

    Attributes
    ----------
    penalty : Penalty
        Its kind and numbers, at level `lam`.
    lam : float
        Level of the fit.
    levels : ndarray of shape (n_features,)
        Level of each feature; zero where it is not penalised.
    coef : ndarray of shape (n_features,)
        Coefficients, in the precision in which the model predicts.
    intercept : float
        Constant of the model.
    fit_intercept : bool
        Whether the constant was free.
    tol : float
        Tolerance of the fit: `bound` is this times half the mean square of the response (l1 norm) or times the largest
        gradient at zero (other penalties), without what is not penalised.
    """

    penalty: Penalty = field(kw_only=True)
    lam: float = field(kw_only=True)
    levels: _Array = field(kw_only=True, repr=False)
    coef: NDArray[Any] = field(kw_only=True, repr=False)
    intercept: float = field(kw_only=True)
    fit_intercept: bool = field(kw_only=True)
    tol: float = field(kw_only=True)

    @classmethod
    def of(
        cls,
        penalty: Penalty,
        levels: _Array,
        coef: NDArray[Any],
        intercept: float,
        *,
        bound: float,
        tol: float,
        fit_intercept: bool,
        **more: Any,
    ) -> Self:
        """Return the certificate of a solution, not verified yet; `penalty` is at the level of the fit."""
        is_l1 = penalty.kind == penalty_tags.L1
        what = "the objective is within gap of its minimum" if is_l1 else "no single coefficient can be improved"
        return cls(
            f"{type(penalty).__name__} at lam={penalty.lam:.6g}: {what}",
            bound,
            None,
            Status.INVALID,
            penalty=penalty,
            lam=penalty.lam,
            levels=levels,
            coef=coef,
            intercept=intercept,
            fit_intercept=fit_intercept,
            tol=tol,
            **more,
        )

    def check(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, random_state: Any = 0) -> Self:
        """Recompute gap or distance, and the promise itself, with matrix products and one least-squares fit.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design of the fit.
        y : array-like of shape (n_samples,)
            Response of the fit.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights of the fit.
        random_state
            Not used: nothing is drawn.

        Returns
        -------
        LassoCertificate
            With a fresh `measured`, `status` and `reason`.

        Raises
        ------
        ValueError
            For data that `fit` refuses, or with another number of features.
        """
        design, target = check_fitted_data(X, y, sample_weight, self.coef.size, fit_intercept=self.fit_intercept)
        return self._judge(design, target)

    def on(self, X: Any, y: NDArray[Any], roots: _Array | None) -> Self:
        """Return :meth:`check` on data that are validated already, under weights given by their roots."""
        weights = np.ones(y.size) if roots is None else roots**2
        design = PlainDesign(X, weights / weights.sum(), centred=self.fit_intercept)
        return self._judge(design, np.asarray(y, dtype=np.float64))

    def _judge(self, design: PlainDesign, target: _Array) -> Self:
        reason = self._impossible()
        if reason:
            return replace(self, measured=np.inf, status=Status.INVALID, reason=reason)
        point = _Point.at(self, design, target)
        measured, promise, rounding = self._gap(point) if self._is_l1 else self._distance(point)
        if abs(self.bound - promise) > _SAME * promise + self.tol * rounding:
            reason = f"the bound should be {promise:.6g}: tol={self.tol:.3g} times the scale of these data"
        elif not measured <= self.bound + rounding:
            reason = f"measured exceeds the bound by more than rounding ({rounding:.3g})"
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason)

    @property
    def _is_l1(self) -> bool:
        return self.penalty.kind == penalty_tags.L1

    def _impossible(self) -> str:
        """Return what is wrong with the certificate whatever the data."""
        if not (np.all(np.isfinite(self.coef)) and np.isfinite(self.intercept)):
            return "coefficients and intercept must be finite"
        if not self.fit_intercept and self.intercept != 0:
            return "the model has no intercept"
        if self.penalty.lam != self.lam:
            return f"the level of the fit was {self.lam}"
        return ""

    def _gap(self, point: "_Point") -> tuple[float, float, float]:
        """Return duality gap, tolerance, and how far rounding moves the gap."""
        design = point.design
        penalty = float(self.levels @ np.abs(self.coef.astype(np.float64)))
        energy = float(design.weights @ point.target**2)
        promise = 0.5 * self.tol * energy
        dual, doubt = self._dual_value(point, point.left)
        measured = 0.5 * point.square + penalty - dual
        if measured > self.bound and np.any(self.coef):
            # Where coefficients are rounded, their residual is a worse dual point than one that solves for the signs.
            better, doubt = self._dual_value(point, self._refined(point))
            measured = min(measured, 0.5 * point.square + penalty - better)
        sums = 4 * _EPS * design.n_samples**0.5 * (energy + point.square + penalty)
        rounding = doubt + sums + point.rounding * float(np.sqrt(point.square)) + point.rounding**2 + point.stored**2
        return max(measured, 0.0), promise, rounding

    def _dual_value(self, point: "_Point", residual: _Array) -> tuple[float, float]:
        """Return the best dual value along a residual, and how far rounding moves it."""
        paid, weights = self.levels > 0, point.design.weights
        gradient, noise = point.design.gradient(residual, point.squares)
        fit, square = float(weights @ (residual * point.target)), float(weights @ residual**2)
        ratio = float(np.max(np.abs(gradient[paid]) / self.levels[paid], initial=0.0))
        scale = fit / square if square > 0 else 0.0
        if ratio > 0:
            scale = float(np.clip(scale, -1 / ratio, 1 / ratio))
        doubt = float(np.max(noise[paid] / self.levels[paid], initial=0.0)) * scale**2 * abs(fit)
        return scale * (fit - 0.5 * scale * square), doubt

    def _refined(self, point: "_Point") -> _Array:
        """Return a residual whose products with the columns in use are their levels, by least squares."""
        used = np.flatnonzero((self.coef != 0) & (self.levels > 0) & (point.squares > 0))
        columns = point.scaled_columns(used)
        lengths = np.sqrt(np.einsum("ij,ij->j", columns, columns))
        lengths[lengths == 0] = 1.0
        roots = np.sqrt(point.design.weights)
        excess = columns.T @ (roots * point.left) - self.levels[used] * np.sign(self.coef[used].astype(np.float64))
        left, values, right = np.linalg.svd(columns / lengths, full_matrices=False)
        kept = values > _WEAK * np.max(values, initial=0.0)
        step = left[:, kept] @ ((right[kept] @ (excess / lengths)) / values[kept])
        return np.asarray(point.left - np.divide(step, roots, out=np.zeros_like(step), where=roots > 0))

    def _distance(self, point: "_Point") -> tuple[float, float, float]:
        """Return distance to the best values, tolerance, and how far rounding moves the distance."""
        design, squares = point.design, point.without_free()
        paid, coef = (self.levels > 0) & (squares > 0), self.coef.astype(np.float64)
        gradient, noise = design.gradient(point.left, squares)
        at_zero = design.gradient(point.target, squares)[0]
        shape = np.broadcast_to(np.asarray(self.penalty.shape, dtype=np.float64), coef.size)
        ways = distance_to_best(
            self.penalty.kind, coef[paid], gradient[paid], squares[paid], self.levels[paid], shape[paid]
        )
        useless = (self.levels > 0) & (squares == 0) & (coef != 0)
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


@dataclass(frozen=True)
class _Point:
    """Residuals of a solution.

    Attributes
    ----------
    design : PlainDesign
        The data.
    squares : ndarray of shape (n_features,)
        Weighted mean squares of the columns, less their means if a constant is fitted.
    target, left : ndarray of shape (n_samples,)
        Response and residual without what intercept and unpenalised features can explain.
    square, saved : float
        Mean square of the residual itself, and the root of what intercept and unpenalised features could save of it.
    rounding, stored : float
        How far rounding moves the residual, root mean square: of sums, and of coefficients and intercept as kept.
    free : ndarray of shape (n_samples, rank)
        Orthonormal directions of the unpenalised features, in rows scaled by the roots of their weights.
    """

    design: PlainDesign
    squares: _Array
    target: _Array
    left: _Array
    square: float
    saved: float
    rounding: float
    stored: float
    free: _Array

    @classmethod
    def at(cls, certificate: LassoCertificate, design: PlainDesign, y: _Array) -> "_Point":
        """Return the residuals; the means are taken off exactly."""
        coef, weights, squares = certificate.coef.astype(np.float64), design.weights, design.centred_squares()
        support, lengths = np.flatnonzero(coef), np.sqrt(squares)
        centre = float(weights @ y) if design.centred else 0.0
        target = y - centre
        left = target - design.apply(support, coef[support]) + _offset(certificate, centre, design.centres)
        outside = _directions(design, np.flatnonzero(certificate.levels == 0), squares)
        roots = np.sqrt(weights)
        rest, saved = _split(outside, roots, left)
        spacings = np.spacing(np.abs(certificate.coef[support])).astype(np.float64)
        stored = float(np.spacing(abs(certificate.intercept))) * design.centred
        return cls(
            design,
            squares,
            _split(outside, roots, target)[0],
            rest,
            float(weights @ left**2),
            saved,
            4 * _EPS * (float(np.sqrt(weights @ target**2)) + float(np.abs(coef) @ lengths)),
            stored + float(np.linalg.norm(spacings * lengths[support])),
            outside[:, int(design.centred) :],
        )

    def scaled_columns(self, indices: NDArray[np.intp]) -> _Array:
        """Return some columns without what is not penalised, rows scaled by the roots of their weights."""
        rest = np.sqrt(self.design.weights)[:, None] * self.design.centred_columns(indices)
        for _ in range(2):
            rest = rest - self.free @ (self.free.T @ rest)
        return np.asarray(rest)

    def without_free(self) -> _Array:
        """Return the mean squares of the columns without what unpenalised features explain; zero where rounding."""
        if self.free.shape[1] == 0:
            return self.squares
        left = self.squares.copy()
        for block in self.design.blocks(np.flatnonzero(self.squares > 0)):
            rest = self.scaled_columns(block)
            left[block] = np.einsum("ij,ij->j", rest, rest)
        return np.where(left > _NOTHING * self.squares, left, 0.0)


def _offset(certificate: LassoCertificate, centre: float, centres: _Array) -> float:
    """Return what centres of response and columns and the intercept leave, by exact arithmetic: they nearly cancel."""
    total = Fraction(centre) - Fraction(float(certificate.intercept))
    for j in np.flatnonzero(certificate.coef):
        total -= Fraction(float(centres[j])) * Fraction(float(certificate.coef[j]))
    return float(total)


def _directions(design: PlainDesign, free: NDArray[np.intp], squares: _Array) -> _Array:
    """Return an orthonormal basis of what is not penalised, in scaled rows: the constant first, if it is fitted."""
    roots = np.sqrt(design.weights)[:, None]
    constant = roots if design.centred else np.empty((design.n_samples, 0))
    free = free[squares[free] > 0]
    if free.size == 0:
        return constant
    unit = roots * design.centred_columns(free) / np.sqrt(squares[free])
    left, values, _ = np.linalg.svd(unit, full_matrices=False)
    noise = 16 * _EPS * float(np.max(np.sqrt(1 + design.means[free] ** 2 / squares[free])))
    return np.linalg.qr(np.hstack([constant, left[:, values > max(_WEAK, noise)]]))[0]


def _split(basis: _Array, roots: _Array, vector: _Array) -> tuple[_Array, float]:
    """Return what a subspace, given in scaled rows, leaves of a vector, and the length of what it takes."""
    scaled = roots * vector
    taken = basis.T @ scaled
    rest = scaled - basis @ taken
    rest = rest - basis @ (basis.T @ rest)
    # Rows of weight zero count nowhere.
    left = np.divide(rest, roots, out=np.zeros_like(rest), where=roots > 0)
    return left, float(np.linalg.norm(taken))
