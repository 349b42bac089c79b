"""Evidence for the soft threshold of least squares, recomputed from the data by another route."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import sparse
from scipy.stats import t as student
from sklearn.utils import check_X_y

from sparsetheory.certificates import Certificate, Status
from sparsetheory.privacy.solvers.tall_least_squares import dense_blocks, row_weights
from sparsetheory.typing import Float64Array, FloatArray

__all__ = ["ClosedFormCertificate"]

_EPS = float(np.finfo(np.float64).eps)
# Relative precision to which least squares is solved.
_PRECISION = 1e-11
# Agreement of what is stated with what is recomputed, relative.
_SAME = 1e-9


@dataclass(frozen=True, eq=False)
class _Sizes:
    """Data, and norms of their columns: as they are, and about their means where there is an intercept."""

    X: Any
    y: Float64Array
    weights: Float64Array
    means: Float64Array
    mean_response: float
    lengths: Float64Array
    raw_lengths: Float64Array
    response_length: float
    raw_response: float

    @classmethod
    def of(cls, X: Any, y: Float64Array, weights: Float64Array, fit_intercept: bool) -> "_Sizes":
        means, mean = np.zeros(X.shape[1]), 0.0
        if fit_intercept:
            sums = [w @ rows for rows, w in dense_blocks(X, weights)]
            means, mean = np.sum(sums, axis=0) / weights.sum(), float(np.average(y, weights=weights))
        squares = np.sum([[w @ (rows - means) ** 2, w @ rows**2] for rows, w in dense_blocks(X, weights)], axis=0)
        lengths, raw_lengths = np.sqrt(squares)
        length, raw = float(np.sqrt(weights @ (y - mean) ** 2)), float(np.sqrt(weights @ y**2))
        return cls(X, y, weights, means, mean, lengths, raw_lengths, length, raw)

    def sums(self, coef: FloatArray) -> tuple[float, float]:
        """Return the sizes of what a residual sums, about means and as they are."""
        sizes = np.abs(coef.astype(np.float64))
        return self.response_length + float(self.lengths @ sizes), self.raw_response + float(self.raw_lengths @ sizes)

    def residual(self, coef: Float64Array) -> tuple[Float64Array, float]:
        """Return the inner products of unit columns with the residual, and its norm."""
        correlations, square = np.zeros(coef.size), 0.0
        for rows, response, w in dense_blocks(self.X, self.y, self.weights):
            left = response - self.mean_response - (rows - self.means) @ coef
            correlations += (rows - self.means).T @ (w * left)
            square += float(w @ left**2)
        return correlations / np.where(self.lengths > 0, self.lengths, 1.0), float(np.sqrt(square))

    def unit_columns(self) -> Float64Array:
        """Return all columns, scaled by the roots of the weights, about their means and of length one."""
        dense = np.asarray(self.X.toarray() if sparse.issparse(self.X) else self.X, dtype=np.float64)
        return (dense - self.means) * np.sqrt(self.weights)[:, None] / self.lengths


@dataclass(frozen=True, eq=False)
class ClosedFormCertificate(Certificate):
    r"""Coefficients are the soft threshold of least squares.

    `measured` and `bound` are the largest :math:`|x_j^T r| / (\|x_j\| \|y\|)` for the residual r of the unthresholded
    coefficients w, with means taken off where there is an intercept. The bound follows from the sizes of the terms:
    :math:`((10^{-11} + n \varepsilon) s + (d + 2) \varepsilon t) / \|y\|` for n rows and d features, where s is
    :math:`\|y\| + \sum_j \|x_j\| |w_j|`, and t the same with means. A check also recomputes thresholds (by a singular
    value decomposition of the design), coefficients and intercept. What it then promises is the lemma on soft
    thresholds: if :math:`|w_j - w^*_j| \le \lambda_j` for all j, all features of the model are among those of
    :math:`w^*`, and no coefficient errs by more than :math:`2 \lambda_j`.

    Attributes
    ----------
    alpha : float or str
        Threshold of the fit; "noise" for simultaneous confidence intervals.
    confidence : float
        Of these intervals.
    fit_intercept : bool
        Whether the constant was fitted.
    coef : ndarray of shape (n_features,)
        Coefficients of the model.
    intercept : float
        Its constant.
    unthresholded, thresholds : ndarray of shape (n_features,)
        Least squares, and the heights of the thresholds.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.privacy import ThresholdedLeastSquares
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 5))
    >>> y = X[:, 3] + 0.1 * rng.standard_normal(100)
    >>> certificate = ThresholdedLeastSquares().fit(X, y).certificate_
    >>> certificate.check(X, y).valid, certificate.check(X, y + X[:, 0]).valid
    (True, False)
    """

    TERMS: ClassVar[tuple[str, ...]] = ("alpha", "confidence", "fit_intercept")

    alpha: float | str = field(kw_only=True)
    confidence: float = field(kw_only=True)
    fit_intercept: bool = field(kw_only=True)
    coef: FloatArray = field(kw_only=True, repr=False)
    intercept: float = field(kw_only=True)
    unthresholded: Float64Array = field(kw_only=True, repr=False)
    thresholds: Float64Array = field(kw_only=True, repr=False)

    @classmethod
    def of(cls, model: Any, X: Any, y: Float64Array, weights: Float64Array) -> "ClosedFormCertificate":
        """Certify a fitted model on the data of the fit."""
        blank = cls(
            "",
            float("nan"),
            None,
            Status.INVALID,
            alpha=model.alpha if isinstance(model.alpha, str) else float(model.alpha),
            confidence=float(model.confidence),
            fit_intercept=bool(model.fit_intercept),
            coef=model.coef_.copy(),
            intercept=model.intercept_,
            unthresholded=model.unthresholded_.copy(),
            thresholds=model.thresholds_.copy(),
        )
        sizes = _Sizes.of(X, y, weights, blank.fit_intercept)
        return replace(blank, bound=blank._bound(sizes)).stated()._judged(sizes, "")

    def promise(self) -> str:
        """Return what is promised."""
        return (
            "soft threshold of least squares, |x_j'r| at most bound |x_j| |y|; where each threshold is at least the "
            "error of least squares, features of the model are true ones and errors are at most twice the thresholds"
        )

    def check(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, random_state: Any = 0
    ) -> "ClosedFormCertificate":
        """Recompute the normal equations, thresholds, coefficients and intercept from the data, with NumPy alone.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design of the fit.
        y : array-like of shape (n_samples,)
            Response of the fit.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights of the fit.
        random_state : object
            Not used: nothing is drawn.

        Returns
        -------
        ClosedFormCertificate
            With a fresh `measured`, `status` and `reason`.

        Raises
        ------
        ValueError
            For data that `fit` refuses, or of another number of features.
        """
        X, y = check_X_y(X, y, accept_sparse="csr", dtype=[np.float64, np.float32], y_numeric=True)
        if X.shape[1] != self.coef.size:
            expected = f"{type(self).__name__} is expecting {self.coef.size} features as input"
            raise ValueError(f"X has {X.shape[1]} features, but {expected}")
        weights = row_weights(sample_weight, X)
        for name in ("coef", "intercept", "unthresholded", "thresholds"):
            if not np.all(np.isfinite(getattr(self, name))):
                return replace(self, measured=float("nan"), status=Status.INVALID, reason=f"{name} is not finite")
        sizes = _Sizes.of(X, np.asarray(y, dtype=np.float64), weights, self.fit_intercept)
        return self._judged(sizes, self._contradiction(sizes)).unless_misstated()

    def _judged(self, sizes: _Sizes, contradiction: str) -> "ClosedFormCertificate":
        correlations, _ = sizes.residual(self.unthresholded)
        measured = float(np.max(np.abs(correlations)) / (sizes.response_length or 1.0))
        solved = "" if measured <= self.bound else "the unthresholded coefficients are not least squares"
        reason = contradiction or solved
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason)

    def _bound(self, sizes: _Sizes) -> float:
        n, d = sizes.X.shape
        centred, raw = sizes.sums(self.unthresholded)
        return ((_PRECISION + n * _EPS) * centred + (d + 2) * _EPS * raw) / (sizes.response_length or 1.0)

    def _contradiction(self, sizes: _Sizes) -> str:
        """Return which statement of the certificate the data contradict."""
        bound = self._bound(sizes)
        if not abs(self.bound - bound) <= _SAME * bound:
            return f"the bound is not the promised {bound:.6g}"
        if np.any(sizes.lengths == 0):
            return "a column is constant"
        expected, rounding = self._thresholds(sizes)
        if np.any(np.abs(self.thresholds - expected) > rounding):
            return "the thresholds are not those of these data"
        soft = np.sign(self.unthresholded) * np.maximum(np.abs(self.unthresholded) - self.thresholds, 0.0)
        if np.any(np.abs(self.coef - soft) > 2 * float(np.finfo(self.coef.dtype).eps) * np.abs(self.unthresholded)):
            return "the coefficients are not the soft threshold"
        used = self.coef.astype(np.float64)
        constant = sizes.mean_response - float(sizes.means @ used) if self.fit_intercept else 0.0
        scale = sizes.sums(used)[1] / np.sqrt(sizes.weights.sum())
        if not abs(self.intercept - constant) <= (sum(sizes.X.shape) * _EPS + _PRECISION) * scale:
            return f"the intercept is not {constant:.6g}"
        return ""

    def _thresholds(self, sizes: _Sizes) -> tuple[Float64Array, Float64Array]:
        """Return the thresholds that the data call for, and how far rounding may move them."""
        total = float(sizes.weights.sum())
        if not isinstance(self.alpha, str):
            expected = self.alpha * np.sqrt(total) / sizes.lengths
            return expected, _SAME * expected
        n_features = self.coef.size
        values, right = np.linalg.svd(sizes.unit_columns(), full_matrices=False)[1:]
        precision = _SAME + 1e3 * _EPS * float(values[0] / max(values[-1], np.finfo(float).tiny))
        left = total - n_features - self.fit_intercept
        unit_std = np.sqrt(np.sum((right / values[:, None]) ** 2, axis=0)) / sizes.lengths
        height = float(student.isf((1 - self.confidence) / (2 * n_features), left)) * unit_std / np.sqrt(left)
        residual = sizes.residual(self.unthresholded)[1]
        # A response that is explained leaves rounding, of which nothing is promised.
        return height * residual, height * (precision * residual + _PRECISION * sizes.response_length)
