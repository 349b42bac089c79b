"""Sparse Bayesian learning with one variance per coefficient."""

import math
import warnings
from collections.abc import Sequence
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.arguments import check_count, check_number
from sparsetheory.bayesian.evidence_loop import NoiseVariance, Pruning, maximise_evidence
from sparsetheory.bayesian.factor_arguments import check_factors, check_noise
from sparsetheory.bayesian.factor_start import plain_start
from sparsetheory.bayesian.factor_updates import InnerLoop
from sparsetheory.bayesian.flat_model import FlatBayesianModel
from sparsetheory.bayesian.kron_algebra import kron_matvec
from sparsetheory.bayesian.stationarity_flat import FlatStationarityCertificate
from sparsetheory.bayesian.unstructured import FlatMeasurements
from sparsetheory.blas_threads import blas_threads, gram_work

__all__ = ["SBL"]

_STEPS = {"em": "ksbl", "mm": "mm"}
_RECORDS = ("cost", "noise", "kept", "gammas")


class SBL(FlatBayesianModel):
    r"""Sparse Bayesian learning: :math:`y = Ax + n` with independent :math:`x_n \sim N(0, \gamma_n)`.

    The variances minimise :math:`\log\det C + y^H C^{-1} y`, :math:`C = \sigma^2 I + A\,\mathrm{diag}(\gamma)A^H`.
    A list of mode dictionaries stands for their Kronecker product, which is not formed.

    Parameters
    ----------
    update : {"em", "mm"}
        Expectation-maximisation, :math:`\gamma = v + |\mu|^2`, or majorise-minimise,
        :math:`\gamma |S| / \sqrt q`, which needs far fewer steps.
    noise : float or "learn"
        Variance of the noise, or to learn it.
    prune_rel, prune_abs : float
        Variances below this share of the largest, or below this value, are dropped for good.
    max_iter : int
        Largest number of updates.
    tol : float
        Stop once the variances change by at most this share of their norm. Zero runs all updates, unless the noise
        explains y and "mm" has shrunk all variances to nothing, which always ends the loop.
    init : array-like of shape (N,), optional
        First variances; ones by default. Zeros stay zero.
    record : sequence of {"cost", "noise", "kept", "gammas"}
        What to keep of every iteration.

    Attributes
    ----------
    coef_ : ndarray of shape (N,) or (N, n_snapshots)
        Posterior mean.
    coef_var_, gamma_ : ndarray of shape (N,)
        Posterior and prior variances.
    support_ : ndarray of int
        Coefficients above a thousandth of the largest, in any snapshot.
    kept_ : ndarray of int
        Columns that were not pruned.
    noise_variance_, log_evidence_ : float
    cost_path_ : ndarray of shape (n_iter_ + 1,)
    cost_rises_ : ndarray of int
        Iterations after which the cost was higher than before; empty unless entries were pruned there.
    noise_path_, kept_path_, gammas_path_
        If in `record`.
    n_iter_ : int
    converged_ : bool
    certificate_ : FlatStationarityCertificate
        ``certificate_.check(X, y)`` recomputes the derivatives of the cost.

    See Also
    --------
    KroneckerSBL : Variances that are an outer product.
    PatternCoupledSBL : Variances that neighbours share.

    Notes
    -----
    O(M^3 + M^2 N) per update; for mode dictionaries a contraction takes the place of the second term, tens of millions
    of operations instead of billions at N = 3375, M = 1440. Tipping (2001); Wipf and Rao (2004), whose
    expectation-maximisation is the default here as a baseline.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bayesian import SBL
    >>> rng = np.random.default_rng(0)
    >>> A = rng.standard_normal((50, 100))
    >>> y = A[:, 3] - 2 * A[:, 7] + 0.01 * rng.standard_normal(50)
    >>> model = SBL("mm", noise=1e-4, max_iter=500).fit(A, y)
    >>> model.coef_[[3, 7]].round(1).tolist(), bool(model.certificate_.check(A, y).valid)
    ([1.0, -2.0], True)
    """

    def __init__(
        self,
        update: str = "em",
        noise: float | str = "learn",
        prune_rel: float = 1e-3,
        prune_abs: float = 0.0,
        max_iter: int = 150,
        tol: float = 1e-4,
        init: ArrayLike | None = None,
        record: Sequence[str] = ("cost",),
    ) -> None:
        self.update = update
        self.noise = noise
        self.prune_rel = prune_rel
        self.prune_abs = prune_abs
        self.max_iter = max_iter
        self.tol = tol
        self.init = init
        self.record = record

    def fit(self, X: Any, y: ArrayLike) -> Self:
        """Learn the variances and estimate x.

        Parameters
        ----------
        X : array-like of shape (M, N), or sequence of array-like of shapes (M_i, N_i)
            Dictionary, or mode dictionaries of a Kronecker product; real or complex.
        y : array-like of shape (M,) or (M, n_snapshots)
            Measurements. Snapshots share variances.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a shape does not fit, a value is not finite, or a parameter is out of range.
        """
        dictionaries, Y, single = self._check_data(X, y)
        noise, pruning = self._check_parameters()
        init = np.ones(self.n_features_in_) if self.init is None else self.init
        (factor,) = check_factors("init", [init], [self.n_features_in_])
        usable = np.any(dictionaries.matrices[0] != 0, axis=0)
        for A in dictionaries.matrices[1:]:
            usable = np.logical_and.outer(usable, np.any(A != 0, axis=0)).reshape(-1)
        start = plain_start(_STEPS[self.update], InnerLoop(0.0, True, 1), [factor], [usable])
        if start.empty or not kron_matvec(dictionaries.matrices, Y, adjoint=True).any():
            return self._keep_nothing(Y, noise, single)
        with blas_threads(gram_work((Y.shape[0], self.n_features_in_), is_complex=np.iscomplexobj(Y))):
            fit = maximise_evidence(
                FlatMeasurements(dictionaries.matrices, Y, start.columns[0]),
                start,
                NoiseVariance.of(noise, Y),
                pruning,
                max_iter=self.max_iter,
                tol=self.tol,
                keep_gammas="gammas" in self.record,
            )
        if not fit.converged and self.tol > 0:
            warnings.warn(
                f"the variances still changed by more than {self.tol:g} of their norm after {self.max_iter} updates; "
                "raise max_iter or tol, or take update='mm'",
                ConvergenceWarning,
                stacklevel=2,
            )
        self.kept_ = fit.kept[0]
        self.gamma_ = np.zeros(self.n_features_in_)
        self.gamma_[self.kept_] = fit.posterior.prior
        self.noise_variance_, self.converged_ = fit.posterior.noise_variance, fit.converged
        self.n_iter_ = fit.n_inner.size
        self._keep_costs(fit.cost_path, Y)
        for name, path in (("noise", fit.noise_path), ("kept", fit.kept_path[:, 0]), ("gammas", fit.gammas_path)):
            if name in self.record:
                setattr(self, f"{name}_path_", path)
        self.certificate_ = FlatStationarityCertificate.of(
            fit.posterior, self.gamma_, noise_learned=noise is None, converged=fit.converged
        )
        return self._keep_posterior(fit.posterior, self.kept_, Y, single)

    def _check_parameters(self) -> tuple[float | None, Pruning]:
        if self.update not in _STEPS:
            raise ValueError(f"update must be 'em' or 'mm'; got {self.update!r}")
        if isinstance(self.record, str) or any(name not in _RECORDS for name in self.record):
            raise ValueError(f"record must be a sequence of names among {', '.join(_RECORDS)}; got {self.record!r}")
        check_count("max_iter", self.max_iter)
        check_number("tol", self.tol)
        relative, absolute = check_number("prune_rel", self.prune_rel), check_number("prune_abs", self.prune_abs)
        if relative >= 1:
            raise ValueError(f"prune_rel must be below 1, the share of the largest entry; got {self.prune_rel!r}")
        learn = isinstance(self.noise, str) and self.noise == "learn"
        return None if learn else check_noise(self.noise), Pruning([relative], [absolute])

    def _keep_nothing(self, Y: Any, noise: float | None, single: bool) -> Self:
        """Store x = 0, which is all there is where y is orthogonal to all columns, or zero."""
        square = float(np.mean(np.abs(Y) ** 2))
        self.noise_variance_ = square if noise is None else noise
        self.kept_, self.gamma_ = np.empty(0, dtype=np.intp), np.zeros(self.n_features_in_)
        self.n_iter_, self.converged_ = 0, True
        known = self.noise_variance_ > 0
        cost = math.log(self.noise_variance_) + square / self.noise_variance_ if known else -math.inf
        self._keep_costs([Y.shape[0] * cost], Y)
        self.certificate_ = FlatStationarityCertificate.of_zero(self.gamma_, self.noise_variance_, noise is None)
        return self._keep_posterior(None, self.kept_, Y, single)
