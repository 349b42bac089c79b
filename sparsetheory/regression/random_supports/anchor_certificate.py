"""How often random supports are too hard for some anchors, with confidence limits."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
from scipy import stats

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import COUNT, FRACTION, POSITIVE, Instance, Integer, generator
from sparsetheory.regression.columns import Columns, check_columns
from sparsetheory.regression.least_squares import check_indices
from sparsetheory.regression.linear_model import check_sparsity
from sparsetheory.regression.random_supports.anchors import Anchors
from sparsetheory.regression.random_supports.compatibility_reference import PlainCompatibilities
from sparsetheory.regression.random_supports.support_batch import SupportBatch
from sparsetheory.regression.random_supports.support_distribution import SupportDistribution
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AnchorCertificate", "certify_anchors"]

# Supports that are gathered together.
_BATCH = 32
# A check fails by chance at most this often.
_CHANCE = 1e-6
_MOST_DRAWS = 2000


@dataclass(frozen=True, eq=False)
class AnchorCertificate(Certificate):
    """How often random supports are too hard for some anchors.

    Attributes
    ----------
    bound : float
        Upper confidence limit of the fraction of supports whose sum of ratios exceeds `max_compatibility` (Clopper and
        Pearson).
    measured : float
        Share among the supports drawn.
    lower : float
        Lower confidence limit.
    n_nonzero, max_compatibility, confidence
        What was asked.
    supports : ndarray of int, shape (n_supports, n_nonzero)
        Supports drawn.
    compatibilities : ndarray of shape (n_supports,)
        Their sums of ratios; infinite where a condition number beyond 1e12 leaves nothing to rely on.
    anchors : Anchors
        What was tested.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("lower", "n_supports")

    lower: float = field(kw_only=True)
    n_nonzero: int = field(kw_only=True)
    max_compatibility: float = field(kw_only=True)
    confidence: float = field(kw_only=True)
    supports: IndexArray = field(kw_only=True, repr=False)
    compatibilities: Float64Array = field(kw_only=True, repr=False)
    anchors: Anchors = field(kw_only=True, repr=False)

    def promise(self) -> str:
        """Return what is promised, at which confidence."""
        return (
            f"at most a fraction of bound of random supports of size {self.n_nonzero} has a compatibility above "
            f"{self.max_compatibility:g} "
            f"({self.confidence:.6g} confidence)"
        )

    @property
    def n_supports(self) -> int:
        """Number of supports drawn."""
        return self.compatibilities.size

    def check(
        self, X: Any, *, n_supports: int | None = None, n_repeats: int | None = None, random_state: Any = 0
    ) -> "AnchorCertificate":
        """Repeat the old supports and draw fresh ones, with all distances by plain least squares.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The design.
        n_supports : int, optional
            Fresh supports; by default as many as show nearly always that the true fraction is twice `bound`, but at
            most 2000.
        n_repeats : int, optional
            Old supports whose compatibilities are compared; all by default.
        random_state : int, RandomState, Generator or None
            Seed.

        Returns
        -------
        AnchorCertificate
            `measured` is the fraction among the fresh supports. It is valid if that fraction is possible where the true
            one is below `bound` (an exact binomial test at level 1e-6), the compatibilities repeat, their limits are
            those stated, and the basis of the anchors is theirs.

        Raises
        ------
        ValueError
            If X is not of the shape of the certified one, or a number is out of range.
        """
        rng = generator(random_state)
        if not 0 <= self.bound <= 1:
            return replace(self, measured=float("nan"), status=Status.INVALID, reason="the bound is no fraction")
        count = _draws(self.bound) if n_supports is None else Integer(1, 10_000_000).check("n_supports", n_supports)
        repeats = self.n_supports if n_repeats is None else COUNT.check("n_repeats", n_repeats)
        columns = Columns(check_columns(X), self.anchors.fixed_basis)
        _require_anchors(columns, self.anchors)
        plain = PlainCompatibilities(columns, self.anchors.indices)
        fresh = plain.of(_draw(columns, self.anchors, self.n_nonzero, count, rng))
        failures = int(sum(compatibility.exceeds(self.max_compatibility) for compatibility in fresh))
        reason = self._contradiction(plain, repeats)
        if not stats.binom.sf(failures - 1, count, self.bound) > _CHANCE:
            reason = f"{failures} of {count} fresh supports fail, which a fraction of {self.bound:.3g} excludes"
        judged = replace(self, measured=failures / count, status=Status.of(not reason), reason=reason)
        return judged.unless_misstated()

    def _contradiction(self, plain: PlainCompatibilities, repeats: int) -> str:
        """Return what the design says against the certificate, apart from fresh supports."""
        lower, upper = _limits(self.compatibilities, self.max_compatibility, self.confidence)
        if not (np.isclose(self.bound, upper, rtol=1e-9, atol=0) and np.isclose(self.lower, lower, rtol=1e-9, atol=0)):
            return f"the limits are not those of the compatibilities, {lower:.3g} and {upper:.3g}"
        if len(self.supports) != self.n_supports:
            return "there is not one compatibility per support"
        if not plain.spanned_by(self.anchors.Q):
            return "the basis is not one of the anchors' span"
        supports, compatibilities = self.supports[:repeats], self.compatibilities[:repeats]
        for S, again, old in zip(supports, plain.of(supports), compatibilities, strict=True):
            if not again.agrees(old):
                return f"the compatibility of support {S.tolist()} is {again.value:.6g}, not {old:.6g}"
        return ""


def _draws(bound: float) -> int:
    """Return how many supports tell a fraction of twice the bound from the bound, missing it in one of 1000 checks."""
    fraction = min(max(bound, 1e-6), 1.0)
    double = min(2 * fraction, 1.0)
    needed = 4.8 * np.sqrt(fraction * (1 - fraction)) + 3.1 * np.sqrt(double * (1 - double))
    return int(np.clip(np.ceil((needed / fraction) ** 2), 100, _MOST_DRAWS))


def _limits(compatibilities: Float64Array, allowed: float, confidence: float) -> tuple[float, float]:
    """Return the limits of Clopper and Pearson for the fraction of compatibilities that exceed what is allowed."""
    failures, count = int(np.sum(compatibilities > allowed)), compatibilities.size
    upper = stats.binomtest(failures, count, alternative="less").proportion_ci(confidence).high
    lower = stats.binomtest(failures, count, alternative="greater").proportion_ci(confidence).low
    return float(lower), float(upper)


def _require_anchors(columns: Columns, anchors: Anchors) -> None:
    """Raise ValueError where anchors cannot be those of a design of this shape."""
    if anchors.Q.shape[:1] != (columns.n_samples,):
        raise ValueError(f"anchors.Q must have one row per row of X, {columns.n_samples}; got {anchors.Q.shape}")
    if anchors.weights.shape not in ((0,), (columns.n_features,)):
        raise ValueError(
            f"X must have {anchors.weights.size} features, as the design of the anchors; got {columns.n_features}"
        )
    check_indices("anchors", anchors.indices, columns.n_features)


def _draw(columns: Columns, anchors: Anchors, n_nonzero: int, count: int, rng: np.random.Generator) -> IndexArray:
    return SupportDistribution(columns.usable(), anchors.support_prior, n_nonzero, rng).supports(count)


def certify_anchors(
    X: Any,
    anchors: Anchors,
    *,
    n_nonzero: int,
    n_supports: int = 500,
    max_compatibility: float | None = None,
    confidence: float = 0.95,
    random_state: Any = None,
) -> AnchorCertificate:
    """Measure how often random supports are too hard for some anchors.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Design.
    anchors : Anchors
        Any anchors; how they were found does not matter, as long as it was without these supports.
    n_nonzero : int
        Size of the supports, drawn from the distribution for which the anchors were chosen.
    n_supports : int
        Number of supports to draw.
    max_compatibility : float, optional
        Allowed sum of ratios; twice `n_nonzero` by default.
    confidence : float
        Of each limit, in (0, 1).
    random_state : int, RandomState, Generator or None
        Seed.

    Returns
    -------
    AnchorCertificate

    Raises
    ------
    ValueError
        If a number is out of range, X is not finite, or the basis of the anchors does not fit X.

    Examples
    --------
    >>> from sparsetheory.regression import make_design, select_anchors
    >>> X = make_design("clusters", 100, 300, n_clusters=8, random_state=0)
    >>> anchors = select_anchors(X, n_nonzero=4, random_state=0)
    >>> certificate = certify_anchors(X, anchors, n_nonzero=4, random_state=1)
    >>> certificate.bound < 0.1, certificate.check(X, random_state=2).valid
    (True, True)
    """
    Instance(Anchors, "those of select_anchors").check("anchors", anchors)
    columns = Columns(check_columns(X), anchors.fixed_basis)
    n_nonzero = check_sparsity("n_nonzero", n_nonzero, columns.n_samples, columns.n_features)
    count = Integer(1, 10_000_000).check("n_supports", n_supports)
    FRACTION.check("confidence", confidence)
    allowed = 2.0 * n_nonzero if max_compatibility is None else POSITIVE.check("max_compatibility", max_compatibility)
    _require_anchors(columns, anchors)
    supports = _draw(columns, anchors, n_nonzero, count, generator(random_state))
    compatibilities = np.concatenate([_compatibilities(columns, part, anchors) for part in _parts(supports)])
    lower, upper = _limits(compatibilities, allowed, confidence)
    return AnchorCertificate(
        "",
        upper,
        float(np.mean(compatibilities > allowed)),
        Status.VALID,
        lower=lower,
        n_nonzero=n_nonzero,
        max_compatibility=allowed,
        confidence=float(confidence),
        supports=supports,
        compatibilities=compatibilities,
        anchors=anchors,
    ).stated()


def _parts(supports: IndexArray) -> list[IndexArray]:
    return [supports[start : start + _BATCH] for start in range(0, len(supports), _BATCH)]


def _compatibilities(columns: Columns, supports: IndexArray, anchors: Anchors) -> Float64Array:
    if supports.shape[1] == 0:
        return np.zeros(len(supports))
    batch = SupportBatch(columns, supports, anchors.Q)
    compatibilities = batch.ratios().sum(axis=1)
    return np.where(batch.ill_conditioned & (compatibilities > 0), np.inf, compatibilities)
