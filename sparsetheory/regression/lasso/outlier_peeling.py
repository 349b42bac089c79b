"""The Lasso that does not penalise the features behind the weakest directions of a design."""

import warnings
from collections.abc import Mapping
from typing import Any, ClassVar, Self

import numpy as np
import scipy.linalg
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT, MISSING, POSITIVE, Array, Constraint, check_parameters
from sparsetheory.penalties.separable import L1
from sparsetheory.regression.best_subset.subset_least_squares import inverse_norms
from sparsetheory.regression.lasso.preconditioned import RANK, PreconditionedLasso, decompose
from sparsetheory.regression.lasso.preconditioned_certificate import PeelingCertificate
from sparsetheory.regression.least_squares import LeastSquaresData, prepare
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["OutlierPeelingLasso", "outlying_features"]


class OutlierPeelingLasso(PreconditionedLasso):
    r"""Lasso that does not penalise the features behind the weakest directions of the design.

    A few directions in which the columns nearly cancel let small predictions have large coefficients, which the l1
    norm then refuses. The features that carry those directions are fitted by least squares instead.

    Parameters
    ----------
    alpha : float
        Strength of the penalty for columns of mean square one, positive.
    n_nonzero : int
        Number k of features that the model is thought to need; more are peeled for larger k.
    threshold : float
        Eigenvalues of the correlation matrix below this fraction of their mean (zeros left out) are outliers.
    covariance : array-like of shape (n_features, n_features), optional
        Covariance of the features, where it is known. Without it, that of the sample is used, which shows no outliers
        unless there are more samples than features.
    tol : float
        Tolerance, relative to half the mean square of the response, for the duality gap.
    max_iter : int
        Working sets tried.
    fit_intercept : bool
        Whether to fit a constant.

    Attributes
    ----------
    coef_ : ndarray of shape (n_features,)
        Coefficients, in the precision of X.
    intercept_ : float
    support_ : ndarray of int
        Features with coefficients that are not zero.
    peeled_ : ndarray of int
        Features without penalty, sorted; at most a third of the number of samples.
    n_outliers_ : int
        Outlying eigenvalues.
    dual_gap_, n_iter_
        As in :class:`PufferLasso`, for the problem without the peeled features.
    certificate_ : PeelingCertificate
        ``certificate_.check(X, y)`` recomputes the gap from the data, given the peeled features.

    Notes
    -----
    One eigenvalue decomposition; sparse designs become dense. A reconstruction of the idea of Kelner, Koehler, Meka
    and Rohatgi (2023), "Feature adaptation for sparse linear regression"; the rule and its constants are ours, see
    :func:`~sparsetheory.regression.lasso.outlier_peeling.outlying_features`. It is made for few outliers: where
    eigenvalues are spread over decades, nearly every feature would have to be peeled.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import OutlierPeelingLasso
    >>> rng = np.random.default_rng(0)
    >>> X = rng.standard_normal((200, 50))
    >>> X[:, 1] = X[:, 0] + 0.001 * rng.standard_normal(200)
    >>> y = 1000 * (X[:, 1] - X[:, 0]) + 0.1 * rng.standard_normal(200)
    >>> model = OutlierPeelingLasso(0.05).fit(X, y)
    >>> model.peeled_.tolist(), round(model.score(X, y), 2)
    ([0, 1], 0.99)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        **PreconditionedLasso._constraints,
        "n_nonzero": COUNT,
        "threshold": POSITIVE,
        "covariance": MISSING | Array("a matrix of numbers"),
    }

    def __init__(
        self,
        alpha: float = 0.1,
        *,
        n_nonzero: int = 5,
        threshold: float = 1e-3,
        covariance: ArrayLike | None = None,
        tol: float = 1e-6,
        max_iter: int = 100,
        fit_intercept: bool = True,
    ) -> None:
        self.alpha = alpha
        self.n_nonzero = n_nonzero
        self.threshold = threshold
        self.covariance = covariance
        self.tol = tol
        self.max_iter = max_iter
        self.fit_intercept = fit_intercept

    def fit(self, X: Any, y: Any, sample_weight: ArrayLike | None = None) -> Self:
        """Fit the model.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design.
        y : array-like of shape (n_samples,)
            Response.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights, normalised to mean one.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range, or `covariance` has another shape or is not symmetric.

        Warns
        -----
        UserWarning
            If more than a third of the number of samples would have to be peeled.
        """
        check_parameters(self)
        X, y = self._check_arrays(X, y)
        data = prepare(X, y, sample_weight, fit_intercept=self.fit_intercept)
        scale = inverse_norms(data.columns) * np.sqrt(data.n_samples)
        self.peeled_ = self._peel(data, scale)
        left = prepare(X, y, sample_weight, fit_intercept=self.fit_intercept, unpenalised=self.peeled_)
        # A column of zeros has no scale; no strength can make it useful.
        alpha = self.alpha / np.where(scale > 0, scale, 1.0)
        solution = self._solve(left, left.columns, left.y, alpha, 1.0)
        alpha[self.peeled_] = 0.0
        certificate = PeelingCertificate.of(
            L1(float(self.alpha)),
            alpha,
            self.coef_.copy(),
            self.intercept_,
            bound=solution.tolerance,
            tol=float(self.tol),
            fit_intercept=bool(self.fit_intercept),
            peeled=self.peeled_,
        )
        return self._certify(certificate, X, y, left, solution)

    def _peel(self, data: LeastSquaresData, scale: Float64Array) -> IndexArray:
        values, vectors = self._spectrum(data, scale)
        outlying = values < self.threshold * np.mean(values) if values.size else np.empty(0, dtype=bool)
        self.n_outliers_ = int(np.count_nonzero(outlying))
        peeled = outlying_features(vectors[:, outlying], n_nonzero=self.n_nonzero)
        limit = max(1, data.n_samples // 3)
        if peeled.size > limit:
            warnings.warn(
                f"{self.n_outliers_} outlying eigenvalues ask for {peeled.size} unpenalised features; only the first "
                f"{limit} are peeled. The design has too many outliers for this method; a smaller threshold has fewer",
                UserWarning,
                stacklevel=3,
            )
        return np.sort(peeled[:limit])

    def _spectrum(self, data: LeastSquaresData, scale: Float64Array) -> tuple[Float64Array, Float64Array]:
        """Return the positive eigenvalues and the eigenvectors of the correlation matrix."""
        if self.covariance is None:
            _, values, right = decompose(data.columns, scale)
            return values**2, right.T
        known = _check_covariance(self.covariance, data.n_features)
        deviations = np.sqrt(np.diag(known))
        inverse = np.where(scale > 0, 1.0, 0.0) / np.where(deviations > 0, deviations, 1.0)
        values, vectors = scipy.linalg.eigh(inverse[:, None] * known * inverse)
        kept = values > RANK * np.max(values, initial=0.0)
        return values[kept], vectors[:, kept]


def _check_covariance(covariance: ArrayLike, n_features: int) -> Float64Array:
    known = np.asarray(covariance, dtype=np.float64)
    if known.shape != (n_features, n_features):
        raise ValueError(f"covariance must have shape {(n_features, n_features)}; got {known.shape}")
    if not np.all(np.isfinite(known)) or not np.allclose(known, known.T) or np.any(np.diag(known) < 0):
        raise ValueError("covariance must be finite and symmetric with non-negative variances")
    return known


def outlying_features(vectors: Float64Array, *, n_nonzero: int, faint: float = 0.1) -> IndexArray:
    r"""Return features that carry the given directions: without them, sparse vectors stay away from the subspace.

    A round takes out all features whose axis makes an angle of cosine at least :math:`1/(3k)` with the subspace; then
    the subspace is restricted to the features that are left, and what became shorter than `faint` is dropped. There
    are at most k rounds.

    Parameters
    ----------
    vectors : ndarray of shape (n_features, q)
        Orthonormal directions V.
    n_nonzero : int
        Number k of relevant features.
    faint : float
        Shortest restriction of a unit vector that counts.

    Returns
    -------
    ndarray of int
        Features S, round by round, heaviest first. At most :math:`9 k^2 q` per round; O(n_features q^2) each.

    Notes
    -----
    For every v with k non-zeros, :math:`\|v_{S^c}\| \le \frac32 (\|(I - VV^T) v\| + f \|v\|)` with f = `faint`.

    Proof: let e be the distance of :math:`v_{S^c}` to the restricted subspace before a round; it is at most the
    bracket. If no feature of v is taken out in that round, its projection l has entries of at most
    :math:`\|l\| / (3k)` there, so :math:`\|v_{S^c}\|^2 \le \|v_{S^c}\| (\|l\| / (3 \sqrt k) + e)`, hence
    :math:`\|v_{S^c}\| \le \frac32 e`. There are at most k rounds that do take out a feature of v, after which none is
    left.

    Examples
    --------
    >>> import numpy as np
    >>> outlying_features(np.array([[0.6], [0.0], [0.8]]), n_nonzero=1).tolist()
    [2, 0]
    """
    remaining, found = np.arange(vectors.shape[0]), [np.empty(0, dtype=np.intp)]
    for _ in range(n_nonzero):
        left, lengths, _ = scipy.linalg.svd(vectors[remaining], full_matrices=False, check_finite=False)
        leverage = np.sum(left[:, lengths > faint] ** 2, axis=1)
        heavy = 9.0 * n_nonzero**2 * leverage >= 1.0
        if not heavy.any():
            break
        found.append(remaining[heavy][np.argsort(-leverage[heavy], kind="stable")])
        remaining = remaining[~heavy]
    return np.concatenate(found)
