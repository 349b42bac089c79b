"""What is proved about the prediction error of one random-support fit."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import NONNEGATIVE, Integer, generator
from sparsetheory.regression.certificates.plain_support import PlainSupport, plain_supports
from sparsetheory.regression.certificates.support import checked_data
from sparsetheory.regression.least_squares import LeastSquaresData
from sparsetheory.regression.random_supports.anchors import Anchors
from sparsetheory.regression.random_supports.compatibility_reference import PlainCompatibilities
from sparsetheory.regression.random_supports.plain_anchored import AnchoredEvidence, PlainAnchored, understated
from sparsetheory.regression.random_supports.support_distribution import SupportDistribution
from sparsetheory.regression.theory import prediction_bound, universal_alpha
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["PredictionCertificate"]

# Supports whose fraction is below what is promised fail a check by chance at most this often.
_CHANCE = 1e-6
# Agreement of stated numbers with recomputed ones, relative.
_SAME = 1e-9
# The strength of the l1 norm must exceed the noise of all columns but with this probability.
_EXCEEDED = 0.1


@dataclass(frozen=True, eq=False)
class PredictionCertificate(Certificate):
    r"""The error bound of an anchored l1 fit.

    For a support drawn uniformly, Gaussian noise of known standard deviation :math:`\sigma` and the l1 solver at a
    strength of at least the universal one, with probability at least :math:`1 - \delta - \beta - \delta' - 2 e^{-t}`

    .. math:: \tfrac1N \|X(\hat w - w^*)\|^2 \le \Bigl(\tfrac{\sigma}{\sqrt N}\sqrt{m + 2\sqrt{mt} + 2t} + e\Bigr)^2
              + \bigl(\sqrt{2 \lambda \alpha B} + \sqrt{2g}\bigr)^2

    where :math:`\delta` is the fraction of supports that the anchors may fail, :math:`1 - \beta` their confidence,
    :math:`\delta' = 0.1` the chance that the noise exceeds the universal strength, and t a number of the user's choice,
    with m anchor dimensions, compatibility bound :math:`\alpha`, signal size B, duality gap g (the tolerance of the
    solver) and e the rounding of the least-squares fit of the anchors (ours; see
    :func:`sparsetheory.regression.theory.prediction_bound`). `measured` is the same with the gap and the rounding that
    are in the data. No theorem covers the greedy solvers, an estimated noise, smaller strengths, anchors that are
    not certified, averages, or the best of several draws: the status is then "not applicable", and `bound` is NaN.

    Attributes
    ----------
    anchors : Anchors
        Chosen from the design alone.
    n_nonzero, max_compatibility : int, float
        Size of the support and bound on its compatibility.
    noise_std, alpha : float, or ndarray of shape (n_targets,)
        Standard deviation of the noise (of rows of mean weight) and strength of the l1 norm.
    gap, signal_size : float, or ndarray of shape (n_targets,)
        The promised duality gap, `tol` (and rounding) times the loss at zero, and an upper bound on B.
    anchor_residual : float, or ndarray of shape (n_targets,)
        What rounding may leave of the residual in the span of the anchors, in root mean square.
    anchor_rank : int
        Dimension of the anchors' span, with what is in every model.
    shape : tuple of int
        Rows and columns.
    covered : bool
        Whether the theorem covers the fit.
    coef, intercept, forced, fit_intercept, tol
        The model, what is always in it, and the solver's tolerance.
    """

    TERMS: ClassVar[tuple[str, ...]] = (
        "n_nonzero", "max_compatibility", "noise_std", "alpha", "tol", "covered", "fit_intercept",
    )  # fmt: skip

    anchors: Anchors = field(kw_only=True, repr=False)
    n_nonzero: int = field(kw_only=True)
    max_compatibility: float = field(kw_only=True)
    noise_std: Any = field(kw_only=True)
    alpha: Any = field(kw_only=True)
    gap: Any = field(kw_only=True)
    signal_size: Any = field(kw_only=True)
    anchor_residual: Any = field(kw_only=True)
    anchor_rank: int = field(kw_only=True)
    shape: tuple[int, int] = field(kw_only=True)
    covered: bool = field(kw_only=True)
    coef: FloatArray = field(kw_only=True, repr=False)
    intercept: Any = field(kw_only=True)
    forced: IndexArray = field(kw_only=True, repr=False)
    fit_intercept: bool = field(kw_only=True)
    tol: float = field(kw_only=True)

    @classmethod
    def of(cls, data: LeastSquaresData, exempt: str, **facts: Any) -> "PredictionCertificate":
        """Certify a fit from its data and facts; `exempt` says why no theorem covers it."""
        blank = cls(
            "",
            float("nan"),
            None,
            Status.NOT_APPLICABLE,
            reason=exempt,
            gap=float("nan"),
            signal_size=float("nan"),
            anchor_residual=float("nan"),
            shape=(data.n_samples, data.n_features),
            forced=data.free,
            fit_intercept=data.fit_intercept,
            covered=not exempt,
            **facts,
        )
        if exempt:
            return blank.stated()
        design = PlainAnchored(data, blank.anchors.indices)
        fits = blank._fits(data)
        evidence = blank._evidence(design, fits)
        promised = blank._promised(evidence)
        single = np.ndim(blank.noise_std) == 0
        named: dict[str, Any] = {name: float(values[0]) if single else values for name, values in promised.items()}
        stated = replace(blank, **named)
        stated = replace(stated, bound=float(np.max(stated.error_bound()))).stated()
        return stated._judged(design, fits, evidence, "")

    def promise(self) -> str:
        """Return what is promised, and of which fraction of supports."""
        fails = f"a fraction of {self.anchors.delta:.6g} may fail"
        return f"mean squared prediction error on a random support, of which {fails}"

    def error_bound(self, signal_size: float | None = None, *, deviation: float = 3.0) -> Any:
        """Return the bound on the mean squared prediction error.

        Parameters
        ----------
        signal_size : float, optional
            Root mean square of the true signal (about its mean where an intercept is fitted); an upper bound from the
            data by default.
        deviation : float
            Number t that sets the confidence of the noise terms.

        Returns
        -------
        float or ndarray of shape (n_targets,)
            NaN where no theorem applies.

        Raises
        ------
        ValueError
            If one of them is not a finite non-negative number.
        """
        size = self.signal_size if signal_size is None else NONNEGATIVE.check("signal_size", signal_size)
        NONNEGATIVE.check("deviation", deviation)
        if not self.covered:
            return np.full(np.shape(self.noise_std), np.nan) if np.ndim(self.noise_std) else float("nan")
        return self._error(self.gap, self.anchor_residual, size, deviation)

    def _error(self, gap: Any, anchor_residual: Any, size: Any, deviation: float = 3.0) -> Any:
        n_samples, n_features = self.shape
        # The noise in the span of the anchors alone, for noise of standard deviation 1.
        unit = prediction_bound(
            n_samples=n_samples,
            n_features=n_features,
            n_anchors=self.anchor_rank,
            max_compatibility=0.0,
            signal_size=0.0,
            noise_std=1.0,
            delta=_EXCEEDED,
            deviation=deviation,
        )
        found = (np.sqrt(unit) * self.noise_std + anchor_residual) ** 2 + (
            np.sqrt(2 * np.multiply(self.alpha, self.max_compatibility) * size) + np.sqrt(2 * np.asarray(gap))
        ) ** 2
        return float(found) if np.ndim(found) == 0 else found

    def check(
        self,
        X: Any,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        *,
        n_supports: int = 300,
        random_state: Any = 0,
    ) -> "PredictionCertificate":
        """Recompute everything that enters the bound, by plain least squares, and test the anchors on fresh supports.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            Design of the fit.
        y : array-like of shape (n_samples,) or (N, n_targets)
            Response of the fit.
        sample_weight : array-like of shape (n_samples,), optional
            Row weights of the fit.
        n_supports : int
            Fresh supports.
        random_state : int, RandomState, Generator or None
            Seed of the supports.

        Returns
        -------
        PredictionCertificate
            Valid if the coefficients are within `tol` of the minimum, the strength exceeds the universal one, bound,
            size of the signal and rank are those of the data, the noise is not too small for the residuals, and the
            anchors are those of the design and pass as many supports as promised (an exact binomial test at level
            1e-6).

        Raises
        ------
        ValueError
            For data that `fit` refuses, or of another number of features or targets.
        """
        rng, count = generator(random_state), Integer(1, 10_000_000).check("n_supports", n_supports)
        data = checked_data(self, X, y, sample_weight)
        if not self.covered:
            return self.unless_misstated()
        if data.n_samples != self.shape[0]:
            return self._invalid(f"the fit had {self.shape[0]} rows; got {data.n_samples}")
        numbers = (
            self.coef,
            self.intercept,
            self.noise_std,
            self.alpha,
            self.gap,
            self.signal_size,
            self.anchor_residual,
            self.max_compatibility,
        )
        if not all(np.all(np.isfinite(part)) for part in numbers):
            return self._invalid("coefficients or facts are not finite")
        design, fits = PlainAnchored(data, self.anchors.indices), self._fits(data)
        evidence = self._evidence(design, fits)
        reason = self._contradiction(design, evidence) or self._misplaced(data, design, count, rng)
        return self._judged(design, fits, evidence, reason).unless_misstated()

    def _invalid(self, reason: str) -> "PredictionCertificate":
        return replace(self, measured=float("nan"), status=Status.INVALID, reason=reason)

    def _fits(self, data: LeastSquaresData) -> list[PlainSupport]:
        return plain_supports(data, self.coef, self.intercept, data.free)

    def _evidence(self, design: PlainAnchored, fits: list[PlainSupport]) -> list[AnchoredEvidence]:
        alphas = np.broadcast_to(self.alpha, len(fits))
        return [design.evidence(fit, float(alpha)) for fit, alpha in zip(fits, alphas, strict=True)]

    def _promised(self, evidence: list[AnchoredEvidence]) -> dict[str, Float64Array]:
        """Return what the solver's tolerance, the rounding of the coefficients and the response make of the facts."""
        single = 2 * float(np.finfo(self.coef.dtype).eps) if self.coef.dtype == np.float32 else 0.0
        n = self.shape[0]
        return {
            "gap": np.array([(self.tol + n * float(np.finfo(np.float64).eps)) * e.energy for e in evidence]),
            "anchor_residual": np.array([e.rounding + single * e.terms for e in evidence]),
            "signal_size": np.array([e.signal for e in evidence])
            + np.atleast_1d(self.noise_std) * (1 + np.sqrt(2 * 3.0 / n)),
        }

    def _judged(
        self, design: PlainAnchored, fits: list[PlainSupport], evidence: list[AnchoredEvidence], reason: str
    ) -> "PredictionCertificate":
        gaps, residuals = np.array([e.gap for e in evidence]), np.array([e.anchor_residual for e in evidence])
        measured = float(np.max(self._error(gaps, residuals, self.signal_size)))
        if not np.all(gaps <= np.atleast_1d(self.gap) * (1 + _SAME)):
            reason = "the coefficients are not within tol of the minimum"
        elif not np.all(residuals <= np.atleast_1d(self.anchor_residual) * (1 + _SAME)):
            reason = "what is always in the model and the anchors is not fitted by least squares"
        noises = np.broadcast_to(self.noise_std, len(fits))
        if not reason and any(
            understated(design, f, float(s), self.n_nonzero) for f, s in zip(fits, noises, strict=True)
        ):
            reason = "the residuals are too large for noise_std"
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason)

    def _contradiction(self, design: PlainAnchored, evidence: list[AnchoredEvidence]) -> str:
        """Return which stated number is not that of the data."""
        for name, values in self._promised(evidence).items():
            if not np.allclose(np.atleast_1d(getattr(self, name)), values, rtol=_SAME, atol=0):
                return f"{name} is {values}, not {getattr(self, name)}"
        bound = float(np.max(self.error_bound()))
        if not abs(self.bound - bound) <= _SAME * bound:
            return f"the bound is not the promised {bound:.6g}"
        n_samples, n_features = self.shape
        if np.any(
            np.asarray(self.alpha)
            < universal_alpha(1.0, n_samples, n_features, _EXCEEDED) * np.asarray(self.noise_std) * (1 - _SAME)
        ):
            return "the strength of the l1 norm is below the universal one"
        if self.anchor_rank != design.basis.shape[1]:
            return (
                f"anchors and what is always in the model have {design.basis.shape[1]} dimensions, "
                f"not {self.anchor_rank}"
            )
        return ""

    def _misplaced(self, data: LeastSquaresData, design: PlainAnchored, count: int, rng: np.random.Generator) -> str:
        """Return what the design says against the anchors."""
        anchors = self.anchors
        if not (anchors.certified and anchors.serves(self.n_nonzero, self.max_compatibility)):
            return "the anchors are not certified for such supports"
        plain = PlainCompatibilities(data.columns, anchors.indices)
        if not design.agrees(anchors.weights) or not plain.spanned_by(anchors.Q):
            return "the anchors are not of this design"
        distribution = SupportDistribution(data.columns.usable(), anchors.support_prior, self.n_nonzero, rng)
        failures = sum(
            compatibility.exceeds(self.max_compatibility) for compatibility in plain.of(distribution.supports(count))
        )
        if not stats.binom.sf(failures - 1, count, anchors.delta) > _CHANCE:
            return f"{failures} of {count} fresh supports fail, which a fraction of {anchors.delta:.3g} excludes"
        return ""
