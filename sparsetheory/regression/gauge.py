"""How hard a support is, given anchors, and how often that is too hard."""

from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import stats

from sparsetheory.certificates import Certificate
from sparsetheory.lowrank.families_arguments import generator
from sparsetheory.numba_kernels.support_gauge import largest_signed_norm
from sparsetheory.regression.anchors import Anchors
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.distances import inverse_factor

__all__ = ["AnchorCertificate", "certify_anchors", "support_gauge"]

_Array = NDArray[np.float64]
# Beyond this size the 2^(k - 1) sign vectors take too long.
_MAX_EXACT = 14


class Weighted(Protocol):
    """Anything that knows the distance of every column to the span of some anchors."""

    @property
    def weights(self) -> _Array:
        """Root-mean-square distances, shape (d,)."""
        ...


def support_gauge(X: Any, S: ArrayLike, anchors: Weighted, *, exact: bool = False) -> dict[str, Any]:
    r"""Return the gauge of a support: the most :math:`\sum |w_i| D_T(i)` of a signal of size one on S.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (N, d)
        Design.
    S : array-like of int, shape (k,)
        Support.
    anchors : Anchors
        Only its weights count: the distances :math:`D_T`.
    exact : bool
        Maximise over all sign vectors (k at most 14), else return the sum of ratios, which is never smaller.

    Returns
    -------
    dict
        "alpha", the gauge or its bound, and "ratios", of shape (k,), with :math:`D_T(i) / D_{S \setminus i}(i)`,
        zero for columns that depend on the others.

    Raises
    ------
    ValueError
        If `exact` is asked for more than 14 columns.

    Notes
    -----
    With :math:`X_S = QR`, the gauge is :math:`\max_s \|R^{-\top} (s \circ D)\|` over signs; Gray codes change one sign
    at a time, O(2^k k). Ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.regression import make_design, select_anchors
    >>> X = make_design("gaussian", 50, 100, random_state=0)
    >>> gauge = support_gauge(X, [3, 5, 8], select_anchors(X, 3, random_state=0), exact=True)
    >>> bool(gauge["ratios"].max() <= gauge["alpha"] <= gauge["ratios"].sum())
    True
    """
    support = np.asarray(S, dtype=np.intp)
    if exact and support.size > _MAX_EXACT:
        raise ValueError(f"exact=True tries 2^(k - 1) signs and allows k up to {_MAX_EXACT}; got {support.size}")
    columns = Columns(X.tocsc() if hasattr(X, "tocsc") else X).raw(support)
    W, kept = inverse_factor(columns)
    # In root mean squares, as the weights are.
    scaled = W * np.sqrt(columns.shape[0])
    weights = np.asarray(anchors.weights)[support[kept]]
    ratios = np.zeros(support.size)
    ratios[kept] = weights * np.linalg.norm(scaled, axis=1)
    alpha = largest_signed_norm(np.ascontiguousarray(weights[:, None] * scaled)) if exact else ratios.sum()
    return {"alpha": float(alpha), "ratios": ratios}


@dataclass(frozen=True, eq=False)
class AnchorCertificate(Certificate):
    """How often random supports are too hard for some anchors.

    Attributes
    ----------
    bound : float
        Upper confidence limit of the share of supports whose gauge bound exceeds `alpha_max` (Clopper and Pearson).
    measured : float
        Share among the supports drawn.
    lower : float
        Lower confidence limit.
    k, alpha_max, n_samples, confidence
        What was asked.
    gauges : ndarray of shape (n_samples,)
        Sums of ratios.
    anchors : Anchors
    """

    lower: float = field(kw_only=True)
    k: int = field(kw_only=True)
    alpha_max: float = field(kw_only=True)
    confidence: float = field(kw_only=True)
    gauges: _Array = field(kw_only=True, repr=False)
    anchors: Anchors = field(kw_only=True, repr=False)

    @property
    def n_samples(self) -> int:
        """Number of supports drawn."""
        return self.gauges.size

    def check(self, X: Any, n_samples: int = 200, random_state: Any = None) -> "AnchorCertificate":
        """Draw fresh supports and measure their distances one by one, by least squares.

        Parameters
        ----------
        X : ndarray or sparse matrix of shape (N, d)
            Design.
        n_samples : int
            Supports to draw.
        random_state : int, RandomState, Generator or None
            Seed.

        Returns
        -------
        AnchorCertificate
            `valid` says whether the new share is compatible with the bound: its lower limit is not above it.
        """
        columns = Columns(X.tocsc() if hasattr(X, "tocsc") else X)
        usable = np.flatnonzero(columns.raw_squares() > 0)
        anchored = columns.raw(self.anchors.indices)
        rng = generator(random_state)
        gauges = []
        for _ in range(n_samples):
            own = columns.raw(rng.choice(usable, self.k, replace=False))
            others = [np.delete(own, i, axis=1) for i in range(self.k)]
            far = [_distance(own[:, i], anchored) for i in range(self.k)]
            near = [_distance(own[:, i], others[i]) for i in range(self.k)]
            gauges.append(sum(f / n for f, n in zip(far, near, strict=True) if f > 0 and n > 0))
        failures = int(np.sum(np.array(gauges) > self.alpha_max * (1 + 1e-6)))
        low = stats.binomtest(failures, n_samples).proportion_ci(self.confidence).low
        return replace(self, measured=failures / n_samples, valid=bool(low <= self.bound))


def _distance(column: _Array, others: _Array) -> float:
    """Return the distance of a column to a span by least squares on normalised columns, zero where it is rounding."""
    if others.shape[1] == 0:
        return float(np.linalg.norm(column))
    scaled = others / np.maximum(np.linalg.norm(others, axis=0), 1e-300)
    left = column - scaled @ np.linalg.lstsq(scaled, column, rcond=1e-13)[0]
    length = float(np.linalg.norm(left))
    return length if length > 1e-11 * float(np.linalg.norm(column)) else 0.0


def certify_anchors(
    X: Any,
    k: int,
    anchors: Anchors,
    *,
    n_samples: int = 500,
    alpha_max: float | None = None,
    confidence: float = 0.95,
    random_state: Any = None,
) -> AnchorCertificate:
    """Measure how often uniformly random supports are too hard for some anchors.

    Parameters
    ----------
    X : ndarray or sparse matrix of shape (N, d)
        Design.
    k : int
        Size of the supports.
    anchors : Anchors
        Any anchors; how they were found does not matter, as long as it was without these supports.
    n_samples : int
        Supports to draw.
    alpha_max : float, optional
        Allowed gauge bound; 2k by default.
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
        If a number is out of range.

    Examples
    --------
    >>> from sparsetheory.regression import make_design, select_anchors
    >>> X = make_design("clusters", 100, 300, G=8, random_state=0)
    >>> certificate = certify_anchors(X, 4, select_anchors(X, 4, random_state=0), random_state=1)
    >>> certificate.bound < 0.1, certificate.check(X, random_state=2).valid
    (True, True)
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie strictly between 0 and 1; got {confidence!r}")
    if n_samples < 1:
        raise ValueError(f"n_samples must be at least 1; got {n_samples!r}")
    allowed = 2.0 * k if alpha_max is None else float(alpha_max)
    gauges = np.array(list(_gauges(X, k, anchors, n_samples, generator(random_state))))
    failures = int(np.sum(gauges > allowed))
    upper = stats.binomtest(failures, n_samples, alternative="less").proportion_ci(confidence).high
    lower = stats.binomtest(failures, n_samples, alternative="greater").proportion_ci(confidence).low
    return AnchorCertificate(
        f"at most a share of bound of random supports of size {k} has a gauge above {allowed:g} "
        f"({confidence:.0%} confidence)",
        float(upper),
        failures / n_samples,
        True,
        lower=float(lower),
        k=k,
        alpha_max=allowed,
        confidence=confidence,
        gauges=gauges,
        anchors=anchors,
    )


def _gauges(X: Any, k: int, anchors: Anchors, n_samples: int, rng: np.random.Generator) -> Iterator[float]:
    X = X.tocsc() if hasattr(X, "tocsc") else X
    usable = np.flatnonzero(Columns(X).raw_squares() > 0)
    if not 1 <= k <= usable.size:
        raise ValueError(f"k must be between 1 and the number of columns that are not zero, {usable.size}; got {k!r}")
    for _ in range(n_samples):
        support = usable[rng.choice(usable.size, k, replace=False, shuffle=False)]
        yield support_gauge(X, support, anchors)["alpha"]
