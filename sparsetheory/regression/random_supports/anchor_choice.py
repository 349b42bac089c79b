"""Anchors for prepared columns: blindly, or by testing random supports."""

import warnings
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import POSITIVE, Choice, generator
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.least_squares import check_indices
from sparsetheory.regression.linear_model import check_sparsity
from sparsetheory.regression.random_supports.anchor_search import AnchorSearch, AnchorSpan, SearchRules, proved_share
from sparsetheory.regression.random_supports.support_distribution import SupportLaw
from sparsetheory.regression.theory import anchor_failure_bound, required_anchors
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Anchors", "find_anchors"]


@dataclass(frozen=True, eq=False)
class Anchors:
    """Columns that are fitted freely.

    Attributes
    ----------
    indices : ndarray of int, shape (m,)
        The anchors T, in the order in which they were chosen.
    Q : ndarray of shape (n_samples, rank)
        Orthonormal basis of their span, and of whatever else is always in the model.
    weights : ndarray of shape (n_features,)
        Root-mean-square distance of every column to that span; zero where it is rounding.
    certified : bool
        Whether at most a share `delta` of random supports has a compatibility bound above `max_compatibility`: by tests
        at confidence ``1 - beta``, or for random anchors by their number.
    delta, delta_implied : float
        The share asked for, and the one that is proved: by the tests, or for random anchors by their number (then on
        average over the anchors); 1 where nothing is.
    n_tests, n_failures : int
        Supports drawn, and how many of them added an anchor.
    n_ill_conditioned : int
        Supports with a condition number beyond 1e12. They count as failures unless the anchors span them.
    n_usable : int
        Columns that are not zero (and, with a prior, not excluded); supports and anchors are drawn among them.
    n_passes : int
        Supports in a row that passed with the anchors as they are.
    prior : ndarray of shape (n_features,), optional
        Relative probabilities of features in a support, where not uniform.
    always : ndarray of shape (n_samples, q), optional
        Orthonormal basis of what is in every model, projected out of supports and anchors alike.
    k, max_compatibility : int, float, optional
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
    prior: Float64Array | None = None
    always: Float64Array | None = None
    k: int | None = None
    max_compatibility: float | None = None

    def serves(self, k: int, max_compatibility: float) -> bool:
        """Whether anchors chosen for supports of one size and compatibility serve others: ratios grow with size."""
        known = self.k is not None and self.max_compatibility is not None
        return known and self.k >= k and self.max_compatibility <= max_compatibility  # type: ignore[operator]


def find_anchors(
    columns: Columns,
    k: int,
    *,
    method: str = "adaptive",
    delta: float = 0.05,
    max_compatibility: float | None = None,
    beta: float = 0.05,
    m: int | None = None,
    m_max: int | None = None,
    rule: str = "one",
    support_prior: ArrayLike | None = None,
    forced: ArrayLike | None = None,
    rtol: float = 1e-11,
    random_state: Any = None,
) -> Anchors:
    """Choose anchors on prepared columns, without the weights; what their basis spans is in every model.

    Parameters, errors and warnings are those of :func:`select_anchors`. `columns` must come from checked data.
    """
    k = check_sparsity("k", k, columns.n_samples, columns.n_features)
    _check_shares(delta=delta, beta=beta)
    allowed = 2.0 * k if max_compatibility is None else POSITIVE.check("max_compatibility", max_compatibility)
    Choice("adaptive", "random").check("method", method)
    Choice("one", "mixed").check("rule", rule)
    if m is not None and method == "adaptive":
        raise ValueError(f"m must be None unless method='random': m_max limits adaptive anchors; got {m!r}")
    first = check_indices("forced", forced, columns.n_features)
    law = SupportLaw(columns.usable(), support_prior, k, generator(random_state))
    span = AnchorSpan(columns, first, POSITIVE.check("rtol", rtol))
    if method == "random":
        found = _random(span, law, k, delta, m, allowed)
    else:
        limit = None if m_max is None else _check_limit("m_max", m_max, columns.n_samples - 2)
        found = _adaptive(span, law, k, delta, beta, limit, rule, allowed)
    return replace(
        found, n_usable=law.columns.size, prior=law.prior, always=columns.basis, k=k, max_compatibility=allowed
    )


def _check_shares(**shares: Any) -> None:
    for name, value in shares.items():
        if not (isinstance(value, float | np.floating) and 0 < value < 1):
            raise ValueError(f"{name} must be a number strictly between 0 and 1; got {value!r}")


def _check_limit(name: str, value: Any, limit: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | np.integer) or not 0 <= value <= limit:
        raise ValueError(f"{name} must be an integer between 0 and {limit}; got {value!r}")
    return int(value)


def _random(span: AnchorSpan, law: SupportLaw, k: int, delta: float, m: int | None, allowed: float) -> Anchors:
    quarter = span.columns.n_samples // 4
    needed = min(required_anchors(k, delta), law.columns.size)
    size = min(needed, quarter) if m is None else _check_limit("m", m, law.columns.size)
    implied = _implied(law, k, size, allowed)
    if size < needed if m is None else size > quarter:
        warnings.warn(
            f"{size} random anchors, where {needed} are needed for delta={delta:.3g} and a quarter of the samples is "
            f"{quarter}: they imply delta={implied:.3g}",
            UserWarning,
            stacklevel=4,
        )
    span.add(law.anchors(size))
    return _anchors(span, certified=implied <= delta, delta=delta, delta_implied=implied)


def _implied(law: SupportLaw, k: int, m: int, allowed: float) -> float:
    """Bound the share of supports that beat m random anchors; all columns as anchors leave nothing."""
    if k == 1 or (law.prior is None and m >= law.columns.size):
        return 0.0
    return anchor_failure_bound(k, m) if allowed >= k else 1.0


def _adaptive(
    span: AnchorSpan,
    law: SupportLaw,
    k: int,
    delta: float,
    beta: float,
    m_max: int | None,
    rule: str,
    allowed: float,
) -> Anchors:
    if law.size <= 1:
        return _anchors(span, certified=True, delta=delta, delta_implied=0.0)
    space = min(span.columns.n_samples // 3, max(span.columns.n_samples - 3 - span.Q.shape[1], 0))
    limit = min(space, int(4 * k / delta)) if m_max is None else m_max
    search = AnchorSearch(span, law, SearchRules(allowed, delta, beta, limit, rule == "mixed"))
    implied = proved_share(search.n_failures, search.n_passes, beta)
    if not search.certified:
        # Blocks are drawn apart from the supports that failed, so that their number alone proves something.
        blind = max(search.n_blocks * (k - 1), 0 if m_max is not None else _top_up(span, law, k, delta, space - limit))
        implied = _implied(law, k, blind, allowed)
        warnings.warn(
            f"anchors are not certified: at the limit of {limit} anchors, {search.n_passes} of {search.needed} needed "
            f"supports in a row passed (random anchors imply delta={implied:.3g}). Raise m_max, delta or "
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


def _top_up(span: AnchorSpan, law: SupportLaw, k: int, delta: float, room: int) -> int:
    """Add random anchors that the default limit left room for, and return their number."""
    size = min(required_anchors(k, delta), room, law.columns.size)
    if size < k - 1:
        return 0
    span.add(law.anchors(size))
    return size


def _anchors(span: AnchorSpan, **facts: Any) -> Anchors:
    return Anchors(indices=np.array(span.indices, dtype=np.intp), Q=span.Q, weights=np.empty(0), **facts)
