"""Evidence for the Lassos of a changed design, recomputed from raw data."""

from dataclasses import dataclass, field
from typing import ClassVar, Self

import numpy as np
import scipy.linalg

from sparsetheory.regression.certificates.plain_design import PlainDesign
from sparsetheory.regression.certificates.plain_residuals import plain_residual, rounding_of_intercept, solve_for_signs
from sparsetheory.regression.lasso.certificate import LassoCertificate
from sparsetheory.regression.lasso.solution_certificate import SAME, SolutionCertificate
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["PeelingCertificate", "PufferCertificate"]

_EPS = float(np.finfo(np.float64).eps)
# Singular values below this fraction of the largest are taken for zero: part of the definition of the method.
_RANK = 1e-10


@dataclass(frozen=True)
class PeelingCertificate(LassoCertificate):
    """The Lasso without penalty for the peeled features, others by the root mean squares of columns.

    Attributes
    ----------
    peeled : ndarray of int
        Features without penalty. That these are the right ones is not part of the promise.
    """

    peeled: IndexArray = field(kw_only=True)

    def _judge(self, design: PlainDesign, target: Float64Array) -> Self:
        lengths = np.sqrt(design.centred_squares())
        strengths = self.alpha * np.where(lengths > 0, lengths, 1.0)
        strengths[self.peeled] = 0.0
        if not np.allclose(self.feature_alphas, strengths, rtol=1e-6, atol=0.0):
            return self._invalid("strengths should be alpha times the root mean squares of the columns of these data")
        return super()._judge(design, target)


@dataclass(frozen=True)
class PufferCertificate(SolutionCertificate):
    r"""The gap of the preconditioned Lasso :math:`\frac12\|b - \Pi v\|^2 + \lambda\|v\|_1`.

    Here v are the coefficients of columns of mean square one, :math:`\Pi` projects on their row space, and b are the
    least-squares coefficients of minimal norm: both come from one least-squares routine. What the intercept loses
    against the mean of the residual is added.

    Attributes
    ----------
    alpha : float
        Strength of the penalty in the fit.
    coef : ndarray of shape (n_features,)
        Coefficients, in the precision in which the model predicts.
    intercept : float
        Constant of the model.
    fit_intercept : bool
        Whether the constant was free.
    tol : float
        Tolerance of the fit: `bound` is this times half the square of b.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("alpha", "tol", "fit_intercept")

    def promise(self) -> str:
        """Return what is promised."""
        return "the objective of the preconditioned Lasso is within gap of its minimum"

    def _judge(self, design: PlainDesign, y: Float64Array) -> Self:
        coef, lengths = self.coef.astype(np.float64), np.sqrt(design.centred_squares())
        reason = self._impossible()
        if not reason and np.any(coef[lengths == 0] != 0):
            reason = "columns of zeros, or of a constant, must have no coefficient"
        if reason:
            return self._invalid(reason)
        measured, promise, rounding = self._gap(design, y, coef, lengths)
        return self._compared(measured, promise, rounding, slack=SAME * promise + self.tol * rounding)

    def _gap(
        self, design: PlainDesign, y: Float64Array, coef: Float64Array, lengths: Float64Array
    ) -> tuple[float, float, float]:
        """Return gap, tolerance, and how far rounding moves the gap."""
        live, roots = np.flatnonzero(lengths > 0), np.sqrt(design.weights)
        Z = roots[:, None] * design.centred_columns(live) / lengths[live]
        v, centre = coef[live] * lengths[live], float(design.weights @ y) if design.centred else 0.0
        support = np.flatnonzero(v)
        solved, condition = _pseudo_inverse(Z, np.column_stack([roots * (y - centre), Z @ v, Z[:, support]]))
        b, shown, columns = solved[:, 0], solved[:, 1], solved[:, 2:]
        residual, penalty = b - shown, self.alpha * float(np.sum(np.abs(v)))
        offset = float(design.weights @ plain_residual(coef, self.intercept, design, y)) if design.centred else 0.0
        primal = 0.5 * float(residual @ residual) + penalty + 0.5 * offset**2
        dual = self._dual_value(b, residual)
        if primal - dual > self.bound and support.size:
            signs = self.alpha * np.sign(v[support])
            dual = max(dual, self._dual_value(b, solve_for_signs(columns, residual, signs)))
        energy = float(b @ b)
        sizes = energy + float(residual @ residual) + penalty
        rounding = 8 * _EPS * condition * sizes + rounding_of_intercept(self.intercept, energy, design, y) ** 2
        return max(primal - dual, 0.0), 0.5 * self.tol * energy, rounding

    def _dual_value(self, b: Float64Array, residual: Float64Array) -> float:
        square, fit = float(residual @ residual), float(residual @ b)
        largest = float(np.max(np.abs(residual), initial=0.0))
        scale = fit / square if square > 0 else 0.0
        if largest > 0:
            scale = float(np.clip(scale, -self.alpha / largest, self.alpha / largest))
        return scale * (fit - 0.5 * scale * square)


def _pseudo_inverse(Z: Float64Array, targets: Float64Array) -> tuple[Float64Array, float]:
    """Return least-squares coefficients of minimal norm, and the condition number of what is inverted."""
    if Z.shape[1] == 0:
        return np.zeros((0, targets.shape[1])), 1.0
    solved, _, rank, values = scipy.linalg.lstsq(Z, targets, cond=_RANK)
    return np.asarray(solved), float(values[0] / values[rank - 1]) if rank else 1.0
