"""Anchors for prepared columns: blindly, or by testing random supports."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import FRACTION, POSITIVE, Choice, Integer, generator
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.least_squares import check_indices
from sparsetheory.regression.linear_model import check_sparsity
from sparsetheory.regression.random_supports.anchor_search import AnchorSearch, proved_fraction
from sparsetheory.regression.random_supports.anchor_span import AnchorSpan
from sparsetheory.regression.random_supports.support_distribution import SupportDistribution
from sparsetheory.regression.theory import anchor_failure_bound, required_anchors
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Anchors", "find_anchors"]


@dataclass(frozen=True, eq=False)
class Anchors:
    """Columns that are fitted freely.

    Attributes
    ----------
    indices : ndarray of int, shape (n_anchors,)
        The anchors T, in the order in which they were chosen.
    Q : ndarray of shape (n_samples, rank)
        Orthonormal basis of their span, and of whatever else is always in the model.
    weights : ndarray of shape (n_features,)
        Root-mean-square distance of every column to that span; zero where it is rounding.
    certified : bool
        Whether at most a fraction `delta` of random supports has a compatibility bound above `max_compatibility`: by
        tests at the confidence asked for, or for random anchors by their number.
    delta, delta_implied : float
        The fraction asked for, and the one that is proved: by the tests, or for random anchors by their number (then
        on average over the anchors); 1 where nothing is.
    n_tests, n_failures : int
        Supports drawn, and how many of them added an anchor.
    n_ill_conditioned : int
        Supports with a condition number beyond 1e12. They count as failures unless the anchors span them.
    n_usable : int
        Columns that are not zero (and, with a prior, not excluded); supports and anchors are drawn among them.
    n_passes : int
        Supports in a row that passed with the anchors as they are.
    support_prior : ndarray of shape (n_features,), optional
        Relative probabilities of features in a support, where not uniform.
    fixed_basis : ndarray of shape (n_samples, n_fixed), optional
        Orthonormal basis of what is in every model, projected out of supports and anchors alike.
    n_nonzero, max_compatibility : int, float, optional
        Size of the supports and bound on their compatibility, for which the anchors were chosen.
    """

    indices: IndexArray
    Q: Float64Array
    weights: Float64Array
    certified: bool
    delta: float
    delta_implied: float
    n_tests: int = 0
    n_failures: int = 0
    n_ill_conditioned: int = 0
    n_usable: int = 0
    n_passes: int = 0
    support_prior: Float64Array | None = None
    fixed_basis: Float64Array | None = None
    n_nonzero: int | None = None
    max_compatibility: float | None = None

    def serves(self, n_nonzero: int, max_compatibility: float) -> bool:
        """Whether anchors chosen for supports of one size and compatibility serve others: ratios grow with size."""
        if self.n_nonzero is None or self.max_compatibility is None:
            return False
        return self.n_nonzero >= n_nonzero and self.max_compatibility <= max_compatibility


def find_anchors(
    columns: Columns,
    *,
    n_nonzero: int,
    method: str = "adaptive",
    delta: float = 0.05,
    max_compatibility: float | None = None,
    confidence: float = 0.95,
    n_anchors: int | None = None,
    max_anchors: int | None = None,
    rule: str = "one",
    support_prior: ArrayLike | None = None,
    forced: ArrayLike | None = None,
    rtol: float = 1e-11,
    random_state: Any = None,
) -> Anchors:
    """Choose anchors on prepared columns, without the weights; what their basis spans is in every model.

    Parameters, errors and warnings are those of :func:`select_anchors`. `columns` must come from checked data.
    """
    n_nonzero = check_sparsity("n_nonzero", n_nonzero, columns.n_samples, columns.n_features)
    FRACTION.require(delta=delta, confidence=confidence)
    allowed = 2.0 * n_nonzero if max_compatibility is None else POSITIVE.check("max_compatibility", max_compatibility)
    Choice("adaptive", "random").check("method", method)
    Choice("one", "mixed").check("rule", rule)
    if n_anchors is not None and method == "adaptive":
        raise ValueError(
            f"n_anchors must be None unless method='random': max_anchors limits adaptive anchors; got {n_anchors!r}"
        )
    first = check_indices("forced", forced, columns.n_features)
    distribution = SupportDistribution(columns.usable(), support_prior, n_nonzero, generator(random_state))
    span = AnchorSpan(columns, first, POSITIVE.check("rtol", rtol))
    if method == "random":
        found = _random(span, distribution, n_nonzero, delta, n_anchors, allowed)
    else:
        limit = None if max_anchors is None else Integer(0, columns.n_samples - 2).check("max_anchors", max_anchors)
        found = _adaptive(span, distribution, n_nonzero, delta, confidence, limit, rule, allowed)
    return replace(
        found,
        n_usable=distribution.columns.size,
        support_prior=distribution.prior,
        fixed_basis=columns.basis,
        n_nonzero=n_nonzero,
        max_compatibility=allowed,
    )


def _random(
    span: AnchorSpan,
    distribution: SupportDistribution,
    n_nonzero: int,
    delta: float,
    n_anchors: int | None,
    allowed: float,
) -> Anchors:
    """Draw anchors blindly: their number alone proves something."""
    quarter = span.columns.n_samples // 4
    needed = min(required_anchors(n_nonzero, delta), distribution.columns.size)
    if n_anchors is None:
        size = min(needed, quarter)
        doubtful = size < needed
    else:
        size = Integer(0, distribution.columns.size).check("n_anchors", n_anchors)
        doubtful = size > quarter
    implied = _implied(distribution, n_nonzero, size, allowed)
    if doubtful:
        warnings.warn(
            f"{size} random anchors, where {needed} are needed for delta={delta:.3g} and a quarter of the samples is "
            f"{quarter}: they imply delta={implied:.3g}",
            UserWarning,
            stacklevel=4,
        )
    span.add(distribution.anchors(size))
    return _anchors(span, certified=implied <= delta, delta=delta, delta_implied=implied)


def _implied(distribution: SupportDistribution, n_nonzero: int, n_anchors: int, allowed: float) -> float:
    """Bound the fraction of supports that beat random anchors; all columns as anchors leave nothing."""
    if n_nonzero == 1 or (distribution.prior is None and n_anchors >= distribution.columns.size):
        return 0.0
    return anchor_failure_bound(n_nonzero, n_anchors) if allowed >= n_nonzero else 1.0


def _adaptive(
    span: AnchorSpan,
    distribution: SupportDistribution,
    n_nonzero: int,
    delta: float,
    confidence: float,
    max_anchors: int | None,
    rule: str,
    allowed: float,
) -> Anchors:
    """Test supports until enough in a row pass; where the default limit ends that early, random anchors follow."""
    if distribution.size <= 1:
        return _anchors(span, certified=True, delta=delta, delta_implied=0.0)
    space = min(span.columns.n_samples // 3, max(span.columns.n_samples - 3 - span.Q.shape[1], 0))
    limit = min(space, int(4 * n_nonzero / delta)) if max_anchors is None else max_anchors
    search = AnchorSearch(
        span,
        distribution,
        max_compatibility=allowed,
        delta=delta,
        confidence=confidence,
        max_anchors=limit,
        blocks=rule == "mixed",
    ).run()
    implied = proved_fraction(search.n_failures, search.n_passes, confidence)
    if not search.certified:
        room = 0 if max_anchors is not None else space - limit
        # Blocks are drawn apart from the supports that failed, so that their number alone proves something.
        blind = max(search.n_blocks * (n_nonzero - 1), _top_up(span, distribution, n_nonzero, delta, room))
        implied = _implied(distribution, n_nonzero, blind, allowed)
        warnings.warn(
            f"anchors are not certified: at the limit of {limit} anchors, {search.n_passes} of {search.needed} needed "
            f"supports in a row passed (random anchors imply delta={implied:.3g}). Raise max_anchors, delta or "
            "max_compatibility",
            RuntimeWarning,
            stacklevel=4,
        )
    return _anchors(
        span,
        certified=search.certified,
        delta=delta,
        delta_implied=implied,
        n_tests=search.n_tests,
        n_failures=search.n_failures,
        n_ill_conditioned=search.n_ill_conditioned,
        n_passes=search.n_passes,
    )


def _top_up(span: AnchorSpan, distribution: SupportDistribution, n_nonzero: int, delta: float, room: int) -> int:
    """Add random anchors where a limit left room for enough of them, and return their number."""
    size = min(required_anchors(n_nonzero, delta), room, distribution.columns.size)
    if size < n_nonzero - 1:
        return 0
    span.add(distribution.anchors(size))
    return size


def _anchors(span: AnchorSpan, **facts: Any) -> Anchors:
    return Anchors(indices=np.array(span.indices, dtype=np.intp), Q=span.Q, weights=np.empty(0), **facts)
