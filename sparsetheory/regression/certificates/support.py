"""Evidence about the features that a model uses and their least-squares coefficients."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.certificates import Certificate, Status
from sparsetheory.regression.certificates.plain_support import PlainSupport, plain_supports
from sparsetheory.regression.certificates.support_rules import SupportRule
from sparsetheory.regression.least_squares import LeastSquaresData, prepare
from sparsetheory.regression.linear_model import SparseLinearModel
from sparsetheory.typing import FloatArray, IndexArray

__all__ = ["SupportCertificate", "checked_data"]

_EPS = float(np.finfo(np.float64).eps)
# Columns that come closer than this to others, relative to their norm, depend on them for all solvers here.
_PRECISION = 1e-11
# Agreement of a stated bound with the recomputed one, relative.
_SAME = 1e-9


class _Reader(SparseLinearModel):
    """Validation of data as the estimators do it."""

    def __init__(self, fit_intercept: bool, multi_output: bool) -> None:
        self.fit_intercept = fit_intercept
        self._multi_output = multi_output


class _Fitted(Protocol):
    """A certificate with coefficients."""

    @property
    def coef(self) -> FloatArray: ...

    @property
    def forced(self) -> IndexArray: ...

    @property
    def fit_intercept(self) -> bool: ...


def checked_data(certificate: _Fitted, X: Any, y: Any, sample_weight: Any) -> LeastSquaresData:
    """Validate the data of a check as the fit did.

    Raises
    ------
    ValueError
        For what the fit refuses, and for another number of features or targets.
    """
    targets, n_features = np.atleast_2d(certificate.coef).shape
    forced = certificate.forced if certificate.forced.size else None
    reader = _Reader(certificate.fit_intercept, certificate.coef.ndim == 2)
    X, y = reader._check_arrays(X, y)
    if X.shape[1] != n_features:
        name = type(certificate).__name__
        raise ValueError(f"X has {X.shape[1]} features, but {name} is expecting {n_features} features as input")
    found = np.atleast_2d(np.asarray(y).T).shape[0]
    if found != targets:
        raise ValueError(f"y must have {targets} targets, as in the fit; got {found}")
    return prepare(X, y, sample_weight, fit_intercept=certificate.fit_intercept, unpenalised=forced)


@dataclass(frozen=True, eq=False)
class SupportCertificate(Certificate):
    r"""Coefficients are least squares on their support, and the support is what its algorithm promises.

    `measured` and `bound` are the largest :math:`|x_j^T r| / (\|x_j\| \|y\|)` over the features j of the model (about
    their means where there is an intercept) and the constant; r is the residual of the coefficients in the precision in
    which the model predicts. A ridge adds its derivative. The bound follows from the sizes of what is summed:
    :math:`((10^{-11} + 2 \varepsilon' + n \varepsilon) s + (k + 2) \varepsilon t) / \|y\|` for n rows and k features.
    Here s is :math:`\|y\| + \sum_j \|x_j\| |w_j|` with columns about their means, t the same with columns as they are
    and the constant, and :math:`\varepsilon'` the precision of the coefficients.

    Attributes
    ----------
    coef : ndarray of shape (n_features,) or (n_targets, n_features)
        Coefficients of the model.
    intercept : float or ndarray of shape (n_targets,)
        Its constant.
    support : ndarray of int
        Features that any target uses.
    objective : float or ndarray of shape (n_targets,)
        Half the mean squared residual, plus `alpha` per feature, plus `ridge` times the squared coefficients (of
        columns whose mean square about their mean is one).
    alpha, ridge : float
        As above; zero for algorithms that minimise the residual alone.
    rules : tuple of SupportRule
        What the algorithm promises about its choice; all of it is checked, and nothing else is promised.
    forced : ndarray of int
        Features that are in the model in any case.
    fit_intercept : bool
        Whether the constant was fitted.
    precision : float
        Relative precision to which the solver solves least squares.
    iteration : float
        Tolerance of a solver that does not end with least squares, added to the bound: a multiple of the norm of the
        coefficients of unit columns, relative to the response.
    converged : bool
        False where the solver stopped before its tolerance.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import OMP
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((100, 30))
    >>> y = X[:, 3] - 2 * X[:, 7] + 0.1 * rng.standard_normal(100)
    >>> certificate = OMP(2).fit(X, y).certificate_
    >>> certificate.check(X, y).valid, certificate.check(X, y + X[:, 3]).valid
    (True, False)
    """

    TERMS: ClassVar[tuple[str, ...]] = (
        "precision", "iteration", "alpha", "ridge", "converged", "fit_intercept", "forced",
    )  # fmt: skip

    coef: FloatArray = field(kw_only=True, repr=False)
    intercept: Any = field(kw_only=True)
    support: IndexArray = field(kw_only=True, repr=False)
    objective: Any = field(kw_only=True)
    alpha: float = field(kw_only=True, default=0.0)
    ridge: float = field(kw_only=True, default=0.0)
    rules: tuple[SupportRule, ...] = field(kw_only=True, default=())
    forced: IndexArray = field(kw_only=True, repr=False)
    fit_intercept: bool = field(kw_only=True)
    precision: float = field(kw_only=True, default=_PRECISION)
    iteration: float = field(kw_only=True, default=0.0)
    converged: bool = field(kw_only=True, default=True)

    @classmethod
    def of(cls, data: LeastSquaresData, model: SparseLinearModel, **facts: Any) -> "SupportCertificate":
        """Certify the coefficients of a fitted model on the data of the fit; what is promised is in `facts`."""
        blank = cls(
            "",
            float("nan"),
            None,
            Status.INVALID,
            coef=model.coef_,
            intercept=model.intercept_,
            support=model.support_,
            objective=float("nan"),
            forced=data.free,
            fit_intercept=data.fit_intercept,
            **facts,
        )
        fits = blank._fits(data)
        objectives = np.array([blank._objective(fit) for fit in fits])
        stated = replace(
            blank,
            bound=blank._bound(fits),
            objective=objectives if model.coef_.ndim == 2 else float(objectives[0]),
        )
        return stated.stated()._judged(fits, "")

    def promise(self) -> str:
        """Return what is promised of coefficients and support."""
        rules = "; ".join(rule.statement for rule in self.rules) or "nothing is promised about the choice"
        return f"least squares on {self.support.size} features: |x_j'r| at most bound |x_j| |y|; {rules}"

    def check(
        self, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None, *, random_state: Any = 0
    ) -> "SupportCertificate":
        """Recompute residual, objective, bound and all promises about the support from the data, with NumPy alone.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design of the fit.
        y : array-like of shape (n_samples,) or (n_samples, n_targets)
            Response of the fit.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights of the fit.
        random_state : object
            Not used: nothing is drawn.

        Returns
        -------
        SupportCertificate
            With a fresh `measured`, `status` and `reason`.

        Raises
        ------
        ValueError
            For data that `fit` refuses, or of another number of features or targets.
        """
        data = checked_data(self, X, y, sample_weight)
        if not np.all(np.isfinite(self.coef)) or not np.all(np.isfinite(self.intercept)):
            return replace(self, measured=float("nan"), status=Status.INVALID, reason="coefficients are not finite")
        fits = self._fits(data)
        return self._judged(fits, self._contradiction(fits)).unless_misstated()

    def _fits(self, data: LeastSquaresData) -> list[PlainSupport]:
        return plain_supports(data, self.coef, self.intercept, self.forced)

    def _judged(self, fits: list[PlainSupport], contradiction: str) -> "SupportCertificate":
        measured = max(fit.violation(self.ridge) / (fit.scale or 1.0) for fit in fits)
        optimal = "" if measured <= self.bound else "coefficients are not least squares on their support"
        settled = "" if self.converged else "the solver stopped before it settled"
        reason = settled or optimal or contradiction
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason)

    def _roundings(self, fit: PlainSupport) -> float:
        """How far an inner product of a unit column with the residual may be from zero."""
        # Every row of the residual sums s + 2 terms as they are; every inner product n of what they leave.
        relative = self.precision + 2 * float(np.finfo(self.coef.dtype).eps) + fit.n_samples * _EPS
        rounding = relative * fit.terms + (fit.support.size + 2) * _EPS * fit.sizes
        return rounding + self.iteration * float(np.linalg.norm(fit.unit_coef))

    def _bound(self, fits: list[PlainSupport]) -> float:
        return max(self._roundings(fit) / (fit.scale or 1.0) for fit in fits)

    def _objective(self, fit: PlainSupport) -> float:
        paid = self.alpha * np.setdiff1d(fit.support, self.forced).size
        return float((0.5 * fit.rss + self.ridge * fit.unit_coef @ fit.unit_coef) / fit.n_samples + paid)

    def _contradiction(self, fits: list[PlainSupport]) -> str:
        """Return which statement of the certificate the data contradict."""
        bound = self._bound(fits)
        if not abs(self.bound - bound) <= _SAME * bound:
            return f"the bound is not the promised {bound:.6g}"
        if not np.array_equal(self.support, np.flatnonzero(np.atleast_2d(self.coef).any(axis=0))):
            return "the support is not that of the coefficients"
        for fit, objective in zip(fits, np.atleast_1d(self.objective), strict=True):
            if not abs(self._objective(fit) - objective) <= self._objective_rounding(fit):
                return f"the objective is {self._objective(fit):.6g}, not {objective:.6g}"
            for rule in self.rules:
                if reason := rule.broken(fit, self._roundings(fit)):
                    return reason
        return ""

    def _objective_rounding(self, fit: PlainSupport) -> float:
        terms = (fit.n_samples + fit.support.size) * _EPS
        error = terms * fit.sizes
        parts = error * (2 * np.sqrt(fit.rss) + error) + self.ridge * terms * float(fit.unit_coef @ fit.unit_coef)
        return float(parts / fit.n_samples + _SAME * self.alpha * fit.support.size)
