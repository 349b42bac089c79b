"""Evidence that coefficients and grid have come to rest together, recomputed from raw data with dense matrices."""

import math
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bayesian.off_grid.checks import check_off_grid
from sparsetheory.bayesian.off_grid.fit import OffGridFit
from sparsetheory.bayesian.off_grid.parametric_matrix import ParametricMatrix
from sparsetheory.bayesian.turbo.certificate import TurboVBICertificate
from sparsetheory.certificates import Certificate, Status
from sparsetheory.typing import AnyArray, Float64Array, IndexArray

__all__ = ["OffGridTurboVBICertificate"]


@dataclass(frozen=True)
class OffGridTurboVBICertificate(Certificate):
    """Stationarity: one more iteration moves mean, support probabilities and offsets by at most `bound`.

    Attributes
    ----------
    coef : ndarray of shape (N,) or (n_targets, N)
        What the model predicts with.
    inner : TurboVBICertificate
        For the matrix at the final parameters.
    parameters : ndarray of shape (N,)
        The parameters.
    rule : str or float
        How the grid steps. Steps of fixed size count with what the gradient over the curvature proposes: short ones are
        not at rest.
    tol : float
        Tolerance of the solver, which is the bound.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("tol", "rule")

    coef: AnyArray = field(kw_only=True, repr=False)
    inner: TurboVBICertificate = field(kw_only=True, repr=False)
    parameters: Float64Array = field(kw_only=True, repr=False)
    rule: str | float = field(kw_only=True)
    tol: float = field(kw_only=True)

    @classmethod
    def of(cls, fit: OffGridFit, coef: AnyArray, tol: float, rule: str | float) -> "OffGridTurboVBICertificate":
        """Certify the end of a run."""
        valid = bool(fit.change <= tol)
        return cls(
            "",
            tol,
            fit.change,
            Status.of(valid),
            reason="" if valid else "the solver stopped before it came to rest",
            coef=coef,
            inner=TurboVBICertificate.of(fit.inner, coef, tol, False),
            parameters=fit.grid.parameters,
            rule=rule,
            tol=tol,
        ).stated()

    def promise(self) -> str:
        """Return what is promised."""
        return (
            "one more iteration moves the mean and a learned noise precision, relatively, the support probabilities, "
            "and the offsets, in cells, by at most the bound"
        )

    def check(self, F: ParametricMatrix, y: Any, *, random_state: Any = 0) -> "OffGridTurboVBICertificate":
        """Recompute from raw data: the fit at the final parameters, and the step that the grid would take.

        Parameters
        ----------
        F, y
            What the estimator was fitted on.

        Returns
        -------
        OffGridTurboVBICertificate
            `measured` is the larger of both movements; `status` also requires that coefficients, mean, variances,
            noise and bound follow from the data, and that all parameters are inside their cells.

        Notes
        -----
        O(N^3 + M^3). The slope is that of the log determinant and the quadratic form of the covariance of the data, not
        that of an expectation over coefficients as in the fit.
        """
        block, y = check_off_grid(F, y)[0], np.asarray(y)
        if F.n_columns != self.parameters.size or self.coef.shape != (*y.shape[1:], F.n_columns):
            raise ValueError(
                f"F and y must belong to coefficients of shape {self.coef.shape}; got {block.shape}, {y.shape}"
            )
        if not np.isfinite(self.parameters).all():
            return replace(self, measured=math.inf, status=Status.INVALID, reason="parameters is not finite")
        inner = replace(self.inner, coef=self.coef).check(F.matrix(self.parameters), y)
        movement = max(float(inner.measured or 0.0), self._grid_movement(F, y))
        faults = [] if inner.valid else [inner.reason]
        low, high = F.bounds
        if not np.all((self.parameters >= low) & (self.parameters <= high)):
            faults.append("a parameter is outside of its cell")
        if not math.isclose(self.bound, self.tol, rel_tol=1e-9, abs_tol=0.0):
            faults.append("the bound is not the tolerance of the solver")
        if not movement <= self.bound * (1 + 1e-6):
            faults.append("one more iteration moves by more than the bound")
        judged = replace(self, measured=movement, status=Status.of(not faults), reason="; ".join(faults), inner=inner)
        return judged.unless_misstated()

    def _grid_movement(self, F: ParametricMatrix, y: Any) -> float:
        state = self.inner.state
        q = np.flatnonzero(state.support.probability > 0.5)
        if q.size == 0:
            return 0.0
        gradient, curvature = self._slope(
            F.matrix(self.parameters), F.slope_block(self.parameters[q], q), np.asarray(y), q
        )
        low, high = (end[q] for end in F.bounds)
        step = np.divide(gradient, curvature, out=np.zeros(q.size), where=curvature > 0)
        return float(np.max(np.abs(np.clip(self.parameters[q] + step, low, high) - self.parameters[q]) / F.spacing[q]))

    def _slope(self, F: AnyArray, slopes: AnyArray, y: AnyArray, q: IndexArray) -> tuple[Float64Array, Float64Array]:
        """Return gradient and curvature in the parameters, from the inverse covariance of the data."""
        state = self.inner.state
        variances, noise_precision, exponent = 1.0 / state.expected_precisions, state.noise.mean, state.model.exponent
        Y = y.reshape(y.shape[0], -1)
        inverse = np.linalg.inv((F * variances) @ F.conj().T + np.eye(F.shape[0]) / noise_precision)
        whitened = inverse @ Y
        along = np.einsum("mq,ml->ql", slopes.conj(), whitened) * (F[:, q].T @ whitened.conj())
        volume = np.einsum("mq,mq->q", F[:, q].conj(), inverse @ slopes).real
        gradient = 2.0 * exponent * variances[q] * (along.sum(axis=1).real - Y.shape[1] * volume)
        mean = variances[q, None] * (F[:, q].conj().T @ whitened)
        left = variances[q] - variances[q] ** 2 * np.einsum("mq,mq->q", F[:, q].conj(), inverse @ F[:, q]).real
        second = np.sum(np.abs(mean) ** 2, axis=1) + Y.shape[1] * left
        sandwich = np.einsum("mq,mq->q", slopes.conj(), inverse @ slopes).real
        if self.rule == "surrogate":
            sandwich = noise_precision * np.sum(np.abs(slopes) ** 2, axis=0)
        return gradient, 2.0 * exponent * second * sandwich
