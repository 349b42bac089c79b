"""What a random-support fit keeps of its draws: coefficients, evidence, and a bound on the error."""

from typing import Any, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from sparsetheory.regression.certificates.support import SupportCertificate
from sparsetheory.regression.certificates.support_rules import SupportRule, Worthwhile
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.regression.linear_model import SparseLinearModel
from sparsetheory.regression.random_supports.anchored_design import AnchoredDesign
from sparsetheory.regression.random_supports.anchored_fit import AnchoredFit, default_alpha
from sparsetheory.regression.random_supports.anchors import Anchors
from sparsetheory.regression.random_supports.certificate import PredictionCertificate

__all__ = ["AnchoredModel"]


class AnchoredModel(SparseLinearModel):
    """A linear model that was fitted on several draws of anchors, of which the best or the mean is kept."""

    n_nonzero: int
    solver: str
    n_draws: int
    noise_std: float | None
    prune: bool
    ensemble: str
    tol: float
    max_compatibility: float | None

    @property
    def _compatibility(self) -> float:
        return float(2 * self.n_nonzero if self.max_compatibility is None else self.max_compatibility)

    def _keep(
        self,
        data: LeastSquaresData,
        draws: list[tuple[Anchors, AnchoredDesign]],
        fits: list[list[AnchoredFit]],
    ) -> Self:
        """Store the best draw, or the mean of all."""
        totals = [sum(fit.score(data.n_features) for fit in row) for row in fits]
        best = int(np.argmin(totals))
        chosen = fits[best]
        coef = np.stack([fit.coef for fit in chosen])
        if self.ensemble == "mean":
            coef = np.mean([[fit.coef for fit in row] for row in fits], axis=0)
        self.anchors_ = draws[best][0]
        self.n_iter_ = self.n_draws
        self.n_ill_conditioned_ = self.anchors_.n_ill_conditioned
        single = data.y.ndim == 1
        self.noise_std_, self.alpha_, self.dual_gap_ = (
            values[0] if single else np.array(values)
            for values in (
                [f.noise_std * np.sqrt(data.mean_weight) for f in chosen],
                [f.alpha for f in chosen],
                [f.gap for f in chosen],
            )
        )
        paths = [fit.path for fit in chosen]
        self.path_ = paths[0] if single else paths
        self._set_coefficients(data, coef[0] if single else coef)
        self._certify(data, draws[best], chosen)
        return self

    def _certify(self, data: LeastSquaresData, draw: tuple[Anchors, AnchoredDesign], fits: list[AnchoredFit]) -> None:
        anchors, problem = draw
        noise_std, alpha = (np.array([getattr(fit, name) for fit in fits]) for name in ("noise_std", "alpha"))
        several = data.y.ndim == 2
        self.certificate_ = PredictionCertificate.of(
            data,
            self._exempt(data, anchors, fits),
            anchors=anchors,
            n_nonzero=self.n_nonzero,
            max_compatibility=self._compatibility,
            noise_std=noise_std if several else float(noise_std[0]),
            alpha=alpha if several else float(alpha[0]),
            anchor_rank=problem.rank,
            coef=self.coef_,
            intercept=self.intercept_,
            tol=float(self.tol),
        )
        self.support_certificate_ = None
        if self.solver != "lasso" and self.ensemble == "best":
            rules: tuple[SupportRule, ...] = ()
            if len(fits) == 1 and (self.prune or self.solver == "lasso+prune"):
                rules = (Worthwhile(fits[0].cost),)
            self.support_certificate_ = SupportCertificate.of(data, self, rules=rules)

    def _exempt(self, data: LeastSquaresData, anchors: Anchors, fits: list[AnchoredFit]) -> str:
        """Return why no theorem bounds the error of this fit."""
        if self.solver != "lasso":
            return f"no theorem bounds the error of solver={self.solver!r}"
        if self.noise_std is None:
            return "the noise is estimated; a bound needs noise_std"
        if self.ensemble != "best" or self.n_draws > 1:
            return "several draws: the bound is one for a single draw"
        if any(fit.alpha < default_alpha(fit.noise_std, data.n_samples, data.n_features) * (1 - 1e-12) for fit in fits):
            return "the strength of the l1 norm is below the universal one"
        return "" if anchors.certified else "the anchors are not certified for such supports"

    def error_bound(self, signal_size: float | None = None) -> Any:
        """Return the proved bound on the mean squared prediction error, NaN where no theorem applies.

        With row weights the mean is weighted, and the noise of a row of weight w has variance ``noise_std**2 / w``.

        Parameters
        ----------
        signal_size : float, optional
            Root mean square of the true signal; an upper bound from the data by default.

        Returns
        -------
        float or ndarray of shape (n_targets,)
        """
        check_is_fitted(self)
        return self.certificate_.error_bound(signal_size)
