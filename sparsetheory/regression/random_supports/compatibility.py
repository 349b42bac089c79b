"""How hard a support is, given anchors, and how often that is too hard."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar, Protocol

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats
from sklearn.utils import Bunch

from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE, POSITIVE, Integer, generator
from sparsetheory.numba_kernels.support_compatibility import largest_signed_norm
from sparsetheory.regression.columns import Columns, check_columns
from sparsetheory.regression.distances import inverse_factor
from sparsetheory.regression.least_squares import check_indices
from sparsetheory.regression.linear_model import check_sparsity
from sparsetheory.regression.random_supports.anchors import Anchors
from sparsetheory.regression.random_supports.compatibility_reference import PlainCompatibilities
from sparsetheory.regression.random_supports.support_batch import SupportBatch
from sparsetheory.regression.random_supports.support_distribution import SupportLaw
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["AnchorCertificate", "certify_anchors", "support_compatibility"]

# Beyond this size the 2^(k - 1) sign vectors take too long.
_MAX_EXACT = 14
_BATCH = 32
# A check fails by chance at most this often.
_CHANCE = 1e-6
_MOST_DRAWS = 2000


class Weighted(Protocol):
    """Anything that knows the distance of every column to the span of some anchors."""

    @property
    def weights(self) -> Float64Array:
        """Root-mean-square distances, shape (n_features,)."""
        ...


def support_compatibility(X: Any, S: ArrayLike, anchors: Weighted, *, exact: bool = False) -> Bunch:
    r"""Return the compatibility of a support: the most :math:`\sum |w_i| D_T(i)` of a signal of size one on S.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Design; only the columns of S are read.
    S : array-like of int, shape (n_nonzero,)
        Support: distinct columns.
    anchors : Anchors
        Only the distances :math:`D_T` count, its `weights`, and `always` where it is set.
    exact : bool
        Maximise over all sign vectors (k at most 14), else return the sum of ratios, which is never smaller.

    Returns
    -------
    dict whose keys are attributes too
        "compatibility", the compatibility or its bound, and "ratios", of shape (n_nonzero,), with
        :math:`D_T(i) / D_{S \setminus i}(i)`. Where columns depend on each other, signals are written on an independent
        subset, and the others have ratio zero.

    Raises
    ------
    ValueError
        If S does not hold distinct columns, X is not finite on them, `anchors` has no weights for X, or `exact` is
        asked for more than 14 columns.

    Notes
    -----
    With :math:`X_S = QR`, the compatibility is :math:`\max_s \|R^{-\top} (s \circ D)\|` over signs; Gray codes change
    one sign at a time, O(2^k k). No ratio exceeds it, and :math:`\sqrt k \|\mathrm{diag}(D) R^{-1}\|` bounds it too.
    Ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import make_design, select_anchors
    >>> X = make_design("gaussian", 50, 100, random_state=0)
    >>> compatibility = support_compatibility(X, [3, 5, 8], select_anchors(X, 3, random_state=0), exact=True)
    >>> bool(compatibility["ratios"].max() <= compatibility["compatibility"] <= compatibility["ratios"].sum())
    True
    """
    if not hasattr(anchors, "weights"):
        raise TypeError(f"anchors must be those of select_anchors, with weights; got {anchors!r}")
    FLAG.require(exact=exact)
    columns = Columns(check_columns(X), getattr(anchors, "always", None))
    support = _check_support(S, columns.n_features)
    weights = np.asarray(anchors.weights)
    if weights.shape != (columns.n_features,):
        raise ValueError(f"anchors must have {columns.n_features} weights, one per column of X; got {weights.shape}")
    if exact and support.size > _MAX_EXACT:
        raise ValueError(f"exact=True tries 2^(k - 1) signs and allows k up to {_MAX_EXACT}; got {support.size}")
    own = columns.take(support)
    if not np.all(np.isfinite(own)):
        raise ValueError("X must be finite on S; it contains NaN or infinity there")
    W, kept = inverse_factor(own)
    # In root mean squares, as the weights are.
    rows = weights[support[kept], None] * W * np.sqrt(columns.n_samples)
    ratios = np.zeros(support.size)
    ratios[kept] = np.linalg.norm(rows, axis=1)
    compatibility = largest_signed_norm(np.ascontiguousarray(rows)) if exact else ratios.sum()
    return Bunch(compatibility=float(compatibility), ratios=ratios)


def _check_support(S: ArrayLike, d: int) -> IndexArray:
    support = np.asarray(S)
    valid = support.ndim == 1 and support.size and np.issubdtype(support.dtype, np.integer)
    if not valid or support.min() < 0 or support.max() >= d or np.unique(support).size < support.size:
        raise ValueError(f"S must hold distinct indices of columns between 0 and {d - 1}; got {S!r}")
    return support.astype(np.intp)


@dataclass(frozen=True, eq=False)
class AnchorCertificate(Certificate):
    """How often random supports are too hard for some anchors.

    Attributes
    ----------
    bound : float
        Upper confidence limit of the share of supports whose sum of ratios exceeds `max_compatibility` (Clopper and
        Pearson).
    measured : float
        Share among the supports drawn.
    lower : float
        Lower confidence limit.
    k, max_compatibility, confidence
        What was asked.
    supports : ndarray of int, shape (n_samples, k)
        Supports drawn.
    compatibilities : ndarray of shape (n_samples,)
        Their sums of ratios; infinite where a condition number beyond 1e12 leaves nothing to rely on.
    anchors : Anchors
        What was tested.
    """

    TERMS: ClassVar[tuple[str, ...]] = ("lower", "n_samples")

    lower: float = field(kw_only=True)
    k: int = field(kw_only=True)
    max_compatibility: float = field(kw_only=True)
    confidence: float = field(kw_only=True)
    supports: IndexArray = field(kw_only=True, repr=False)
    compatibilities: Float64Array = field(kw_only=True, repr=False)
    anchors: Anchors = field(kw_only=True, repr=False)

    def promise(self) -> str:
        """Return what is promised, at which confidence."""
        return (
            f"at most a share of bound of random supports of size {self.k} has a compatibility above "
            f"{self.max_compatibility:g} "
            f"({self.confidence:.6g} confidence)"
        )

    @property
    def n_samples(self) -> int:
        """Number of supports drawn."""
        return self.compatibilities.size

    def check(
        self, X: Any, *, n_samples: int | None = None, n_repeats: int | None = None, random_state: Any = 0
    ) -> "AnchorCertificate":
        """Repeat the old supports and draw fresh ones, with all distances by plain least squares.

        Parameters
        ----------
        X : array-like or sparse matrix of shape (n_samples, n_features)
            The design.
        n_samples : int, optional
            Fresh supports; by default as many as show nearly always that the true share is twice `bound`, but at most
            2000.
        n_repeats : int, optional
            Old supports whose compatibilities are compared; all by default.
        random_state : int, RandomState, Generator or None
            Seed.

        Returns
        -------
        AnchorCertificate
            `measured` is the share among the fresh supports. It is valid if that share is possible where the true one
            is below `bound` (an exact binomial test at level 1e-6), the compatibilities repeat, their limits are those
            stated, and the basis of the anchors is theirs.

        Raises
        ------
        ValueError
            If X is not of the shape of the certified one, or a number is out of range.
        """
        rng = generator(random_state)
        if not 0 <= self.bound <= 1:
            return replace(self, measured=float("nan"), status=Status.INVALID, reason="the bound is no share")
        count = _draws(self.bound) if n_samples is None else Integer(1, 10_000_000).check("n_samples", n_samples)
        repeats = self.n_samples if n_repeats is None else COUNT.check("n_repeats", n_repeats)
        columns = Columns(check_columns(X), self.anchors.always)
        _require_anchors(columns, self.anchors)
        plain = PlainCompatibilities(columns, self.anchors.indices)
        fresh = plain.of(_draw(columns, self.anchors, self.k, count, rng))
        failures = int(sum(compatibility.exceeds(self.max_compatibility) for compatibility in fresh))
        reason = self._contradiction(plain, repeats)
        if not stats.binom.sf(failures - 1, count, self.bound) > _CHANCE:
            reason = f"{failures} of {count} fresh supports fail, which a share of {self.bound:.3g} excludes"
        judged = replace(self, measured=failures / count, status=Status.of(not reason), reason=reason)
        return judged.unless_misstated()

    def _contradiction(self, plain: PlainCompatibilities, repeats: int) -> str:
        """Return what the design says against the certificate, apart from fresh supports."""
        lower, upper = _limits(self.compatibilities, self.max_compatibility, self.confidence)
        if not (np.isclose(self.bound, upper, rtol=1e-9, atol=0) and np.isclose(self.lower, lower, rtol=1e-9, atol=0)):
            return f"the limits are not those of the compatibilities, {lower:.3g} and {upper:.3g}"
        if len(self.supports) != self.n_samples:
            return "there is not one compatibility per support"
        if not plain.spanned_by(self.anchors.Q):
            return "the basis is not one of the anchors' span"
        supports, compatibilities = self.supports[:repeats], self.compatibilities[:repeats]
        for S, again, old in zip(supports, plain.of(supports), compatibilities, strict=True):
            if not again.agrees(old):
                return f"the compatibility of support {S.tolist()} is {again.value:.6g}, not {old:.6g}"
        return ""


def _draws(bound: float) -> int:
    """Return how many supports tell a share of twice the bound from the bound, missing it in one of 1000 checks."""
    share = min(max(bound, 1e-6), 1.0)
    double = min(2 * share, 1.0)
    needed = 4.8 * np.sqrt(share * (1 - share)) + 3.1 * np.sqrt(double * (1 - double))
    return int(np.clip(np.ceil((needed / share) ** 2), 100, _MOST_DRAWS))


def _limits(compatibilities: Float64Array, allowed: float, confidence: float) -> tuple[float, float]:
    """Return the limits of Clopper and Pearson for the share of compatibilities that exceed what is allowed."""
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


def _draw(columns: Columns, anchors: Anchors, k: int, count: int, rng: np.random.Generator) -> IndexArray:
    return SupportLaw(columns.usable(), anchors.prior, k, rng).supports(count)


def certify_anchors(
    X: Any,
    k: int,
    anchors: Anchors,
    *,
    n_samples: int = 500,
    max_compatibility: float | None = None,
    confidence: float = 0.95,
    random_state: Any = None,
) -> AnchorCertificate:
    """Measure how often random supports are too hard for some anchors.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (n_samples, n_features)
        Design.
    k : int
        Size of the supports, drawn by the law for which the anchors were chosen.
    anchors : Anchors
        Any anchors; how they were found does not matter, as long as it was without these supports.
    n_samples : int
        Supports to draw.
    max_compatibility : float, optional
        Allowed sum of ratios; 2k by default.
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
    >>> X = make_design("clusters", 100, 300, G=8, random_state=0)
    >>> certificate = certify_anchors(X, 4, select_anchors(X, 4, random_state=0), random_state=1)
    >>> certificate.bound < 0.1, certificate.check(X, random_state=2).valid
    (True, True)
    """
    if not isinstance(anchors, Anchors):
        raise TypeError(f"anchors must be those of select_anchors; got {anchors!r}")
    columns = Columns(check_columns(X), anchors.always)
    k = check_sparsity("k", k, columns.n_samples, columns.n_features)
    count = Integer(1, 10_000_000).check("n_samples", n_samples)
    if not 0 < NONNEGATIVE.check("confidence", confidence) < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1; got {confidence!r}")
    allowed = 2.0 * k if max_compatibility is None else POSITIVE.check("max_compatibility", max_compatibility)
    _require_anchors(columns, anchors)
    supports = _draw(columns, anchors, k, count, generator(random_state))
    compatibilities = np.concatenate([_compatibilities(columns, part, anchors) for part in _parts(supports)])
    lower, upper = _limits(compatibilities, allowed, confidence)
    return AnchorCertificate(
        "",
        upper,
        float(np.mean(compatibilities > allowed)),
        Status.VALID,
        lower=lower,
        k=k,
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
