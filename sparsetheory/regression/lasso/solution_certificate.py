"""What certificates of a Lasso's coefficients have in common: their facts, the data of a check, and the comparison."""

from dataclasses import dataclass, field, replace
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.certificates import Certificate, Status
from sparsetheory.regression.certificates.plain_design import PlainDesign, check_fitted_data
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.typing import AnyArray, Float64Array

__all__ = ["SAME", "SolutionCertificate"]

# A promise recomputed from the data differs by rounding only.
SAME = 1e-9


@dataclass(frozen=True)
class SolutionCertificate(Certificate):
    """Evidence about coefficients and an intercept, judged on a design by code that no solver uses.

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
        Tolerance of the fit: `bound` is this times a scale of the data.
    """

    alpha: float = field(kw_only=True)
    coef: AnyArray = field(kw_only=True, repr=False)
    intercept: float = field(kw_only=True)
    fit_intercept: bool = field(kw_only=True)
    tol: float = field(kw_only=True)

    def check(self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, random_state: Any = 0) -> Self:
        """Recompute what is measured, and the promise itself, with matrix products and least squares.

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
        SolutionCertificate
            Of the same class, with a fresh `measured`, `status` and `reason`.

        Raises
        ------
        ValueError
            For data that `fit` refuses, or with another number of features.
        """
        design, target = check_fitted_data(X, y, sample_weight, self.coef.size, fit_intercept=self.fit_intercept)
        return self._judge(design, target).unless_misstated()

    def on(self, X: Any, y: AnyArray, data: LeastSquaresData) -> Self:
        """Return :meth:`check` on what a fit has validated already."""
        return self._judge(PlainDesign.of_fit(X, data), np.asarray(y, dtype=np.float64))

    def _judge(self, design: PlainDesign, target: Float64Array) -> Self:
        """Return the certificate with what the data say."""
        raise NotImplementedError

    def _impossible(self) -> str:
        """Return what is wrong with the certificate whatever the data."""
        if not (np.all(np.isfinite(self.coef)) and np.isfinite(self.intercept)):
            return "coefficients and intercept must be finite"
        if not self.fit_intercept and self.intercept != 0:
            return "the model has no intercept"
        return ""

    def _invalid(self, reason: str) -> Self:
        return replace(self, measured=np.inf, status=Status.INVALID, reason=reason)

    def _compared(self, measured: float, promise: float, rounding: float, *, slack: float, least: float = 1.0) -> Self:
        """Compare the bound with the promise that follows from the data, and what is measured with the bound.

        Parameters
        ----------
        measured, promise : float
            What the data say: the gap or distance, and what `tol` allows.
        rounding : float
            How far rounding moves what is measured.
        slack : float
            How far rounding moves the promise.
        least : float
            Fraction of the promise that the bound must reach.
        """
        reason = ""
        if not (least * promise - slack <= self.bound <= promise + slack):
            reason = f"the bound should be {promise:.6g}: tol={self.tol:.3g} times the scale of these data"
        elif not measured <= self.bound + rounding:
            reason = f"measured exceeds the bound by more than rounding ({rounding:.3g})"
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason)
