"""Phase 1: few columns whose span makes most random supports easy. Looks at the design only."""

import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import check_array

from sparsetheory.lowrank.families_arguments import generator
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.distances import extend_basis, leave_one_out_distances
from sparsetheory.regression.hyperparameters import check_number
from sparsetheory.regression.linear_model import check_sparsity
from sparsetheory.regression.theory import anchor_failure_bound, required_anchors

__all__ = ["Anchors", "find_anchors", "select_anchors"]

_Array = NDArray[np.float64]
_Index = NDArray[np.intp]
_BATCH = 32
# Supports worse conditioned than this have no reliable distances.
_ILL_CONDITIONED = 1e12
# Distances below this share of a column's norm are rounding.
_DEAD = 1e-11


@dataclass(frozen=True, eq=False)
class Anchors:
    """Columns that are fitted freely.

    Attributes
    ----------
    indices : ndarray of int, shape (m,)
        The anchors T.
    Q : ndarray of shape (N, rank)
        Orthonormal basis of their span, and of whatever else is always in the model.
    weights : ndarray of shape (d,)
        Root-mean-square distance of every column to that span.
    certified : bool
        Whether at most a share delta of random supports has a gauge bound above alpha_max, at confidence 1 - beta.
    delta, delta_implied : float
        The share asked for, and the one that is proved: by the tests, or for random anchors by their number.
    n_tests, n_failures : int
        Supports drawn, and how many of them added an anchor.
    n_ill_conditioned : int
        Supports with a condition number beyond 1e12, counted as failures.
    n_usable : int
        Columns that are not zero; supports and anchors are drawn among them.
    """

    indices: _Index
    Q: _Array
    weights: _Array
    certified: bool
    delta: float
    delta_implied: float
    n_tests: int = 0
    n_failures: int = 0
    n_ill_conditioned: int = 0
    n_usable: int = 0


def select_anchors(
    X: Any,
    k: int,
    *,
    method: str = "adaptive",
    delta: float = 0.05,
    alpha_max: float | None = None,
    beta: float = 0.05,
    m: int | None = None,
    m_max: int | None = None,
    rule: str = "one",
    support_prior: ArrayLike | None = None,
    forced: ArrayLike | None = None,
    rtol: float = 1e-11,
    random_state: Any = None,
) -> Anchors:
    r"""Choose anchors for random supports of size k.

    "adaptive" draws supports S and adds the worst column of any whose ratios :math:`D_T(i) / D_{S \setminus i}(i)` sum
    to more than `alpha_max`, until enough supports in a row pass: the returned set is certified to fail on at most a
    share `delta` of supports, with confidence ``1 - beta``. "random" draws anchors blindly; ``k^2 / delta`` of them
    suffice on every design.

    Parameters
    ----------
    X : array-like or sparse matrix of shape (N, d)
        Design.
    k : int
        Size of the supports.
    method : {"adaptive", "random"}
        As above.
    delta : float
        Share of supports that may fail, in (0, 1).
    alpha_max : float, optional
        Allowed bound on the gauge; 2k by default.
    beta : float
        One minus the confidence, in (0, 1).
    m : int, optional
        Number of random anchors; by default as many as the bound needs, at most N/4.
    m_max : int, optional
        Limit for adaptive anchors; ``min(N // 3, 4k / delta)`` by default.
    rule : {"one", "mixed"}
        "mixed" also adds k - 1 random columns at every failure, which provably ends.
    support_prior : array-like of shape (d,), optional
        Relative probabilities of features in the support; uniform by default. The same law draws random anchors.
    forced : array-like of int, optional
        Columns that are anchors in any case.
    rtol : float
        Anchors closer than this share of their norm to the span of the others add no direction.
    random_state : int, RandomState, Generator or None
        Seed.

    Returns
    -------
    Anchors

    Raises
    ------
    ValueError
        For data that are not finite, `k` outside ``1 .. min(N, d)``, shares outside (0, 1), or anchors that span
        almost the whole sample space.

    Warns
    -----
    UserWarning
        If fewer random anchors than needed fit, with the share that they imply.
    RuntimeWarning
        If adaptive anchors reach `m_max` uncertified.

    Notes
    -----
    A test costs O(N k (k + m)), whatever d is; the weights cost one product N m d. Ours, in the sense of phase 1 of
    Chandrasekaran, Meka and Stavropoulos, arXiv:2511.06211.

    Examples
    --------
    >>> from sparsetheory.regression import make_design, select_anchors
    >>> X = make_design("clusters", 100, 300, G=8, random_state=0)
    >>> anchors = select_anchors(X, 4, random_state=0)
    >>> anchors.certified, anchors.indices.size < 20
    (True, True)
    >>> select_anchors(make_design("gaussian", 100, 300, random_state=0), 4, random_state=0).indices.size
    0
    """
    X = check_array(X, accept_sparse="csc", dtype=[np.float64, np.float32])
    found = find_anchors(
        Columns(X),
        k,
        method=method,
        delta=delta,
        alpha_max=alpha_max,
        beta=beta,
        m=m,
        m_max=m_max,
        rule=rule,
        support_prior=support_prior,
        forced=forced,
        rtol=rtol,
        random_state=random_state,
    )
    columns = Columns(X, found.Q)
    squares = columns.squares()
    squares[squares <= _DEAD**2 * columns.raw_squares()] = 0.0
    squares[found.indices] = 0.0
    return replace(found, weights=np.sqrt(squares / X.shape[0]))


def find_anchors(
    columns: Columns,
    k: int,
    *,
    method: str = "adaptive",
    delta: float = 0.05,
    alpha_max: float | None = None,
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

    Parameters and errors are those of :func:`select_anchors`.
    """
    n, d = columns.n_samples, columns.n_features
    k = check_sparsity("k", k, n, d)
    _check_shares(delta=delta, beta=beta)
    allowed = 2.0 * k if alpha_max is None else check_number("alpha_max", alpha_max, positive=True)
    _check_choice("method", method, ("adaptive", "random"))
    _check_choice("rule", rule, ("one", "mixed"))
    law = _Law(columns.squares() > _DEAD**2 * columns.raw_squares(), support_prior, k, generator(random_state))
    start = _Anchored(columns, _as_indices(forced, d), rtol)
    if method == "random":
        return _random(start, law, k, delta, m)
    limit = min(n // 3, int(4 * k / delta)) if m_max is None else int(m_max)
    return _Search(start, law, k, delta, allowed, beta, limit, rule).run()


def _check_shares(**shares: Any) -> None:
    for name, value in shares.items():
        if not (isinstance(value, float | np.floating) and 0 < value < 1):
            raise ValueError(f"{name} must be a number strictly between 0 and 1; got {value!r}")


def _check_choice(name: str, value: Any, choices: tuple[str, ...]) -> None:
    if value not in choices:
        raise ValueError(f"{name} must be one of {', '.join(choices)}; got {value!r}")


def _as_indices(forced: ArrayLike | None, d: int) -> list[int]:
    indices = np.asarray([] if forced is None else forced)
    if indices.size and (indices.dtype.kind not in "iu" or indices.min() < 0 or indices.max() >= d):
        raise ValueError(f"forced must hold indices of features between 0 and {d - 1}; got {forced!r}")
    return [int(i) for i in dict.fromkeys(indices.tolist())]


class _Law:
    """The law of supports: distinct columns, never zero ones."""

    def __init__(self, usable: NDArray[np.bool_], prior: ArrayLike | None, k: int, rng: np.random.Generator) -> None:
        self.rng = rng
        self.usable = np.flatnonzero(usable)
        self.shares: _Array | None = None
        if prior is not None:
            given = np.asarray(prior, dtype=np.float64)
            if given.shape != usable.shape or not np.all(np.isfinite(given)) or np.any(given < 0):
                raise ValueError(f"support_prior must be {usable.size} finite non-negative numbers, one per feature")
            self.usable = np.flatnonzero(usable & (given > 0))
            self.shares = given[self.usable] / max(given[self.usable].sum(), 1e-300)
        if self.usable.size < k:
            raise ValueError(f"k must be at most the number of usable columns, {self.usable.size}; got {k}")

    def support(self, k: int) -> _Index:
        """Draw k distinct columns."""
        size = self.usable.size
        if self.shares is None:
            return self.usable[self.rng.choice(size, k, replace=False, shuffle=False)]
        return self.usable[self.rng.choice(size, k, replace=False, p=self.shares)]

    def anchors(self, m: int) -> _Index:
        """Draw anchors: without replacement if all columns are alike, else independently from the same law."""
        if self.shares is None:
            return self.support(min(m, self.usable.size))
        return np.unique(self.rng.choice(self.usable, m, p=self.shares))


class _Anchored:
    """Anchors and the basis that they span, growing."""

    def __init__(self, columns: Columns, forced: list[int], rtol: float) -> None:
        self.columns = columns
        self.rtol = rtol
        self.indices: list[int] = []
        always = columns.basis
        self.Q = np.empty((columns.n_samples, 0)) if always is None else always
        if forced:
            self.add(np.array(forced))

    def add(self, indices: _Index) -> None:
        """Append anchors; those that add no direction stay anchors at distance zero."""
        self.Q = extend_basis(self.Q, self.columns.raw(indices), self.rtol)[0]
        self.indices += [int(i) for i in indices]
        if self.Q.shape[1] >= self.columns.n_samples - 2:
            raise ValueError(
                f"anchors span almost the whole sample space: {self.Q.shape[1]} of {self.columns.n_samples} dimensions"
            )

    def project(self, vectors: _Array) -> _Array:
        """Return what the span leaves."""
        for _ in range(2):
            vectors = vectors - self.Q @ (self.Q.T @ vectors)
        return vectors


def _random(start: _Anchored, law: _Law, k: int, delta: float, m: int | None) -> Anchors:
    n = start.columns.n_samples
    needed = required_anchors(k, delta) if k > 1 else 0
    size = min(needed, n // 4) if m is None else int(m)
    if not 0 <= size <= law.usable.size:
        raise ValueError(f"m must be between 0 and the number of usable columns, {law.usable.size}; got {m!r}")
    implied = anchor_failure_bound(k, size) if k > 1 else 0.0
    if m is None and size < needed:
        warnings.warn(
            f"{size} random anchors (a quarter of the samples) instead of {needed}: they imply delta={implied:.3g}, "
            f"not {delta:.3g}",
            UserWarning,
            stacklevel=4,
        )
    if size:
        start.add(np.setdiff1d(law.anchors(size), start.indices))
    return Anchors(
        np.array(start.indices, dtype=np.intp),
        start.Q,
        np.empty(0),
        implied <= delta,
        delta,
        implied,
        n_usable=law.usable.size,
    )


class _Search:
    """Test supports and repair the anchors until enough supports in a row pass."""

    def __init__(
        self, start: _Anchored, law: _Law, k: int, delta: float, allowed: float, beta: float, limit: int, rule: str
    ) -> None:
        self.anchored, self.law = start, law
        self.k, self.delta, self.allowed, self.beta, self.limit, self.rule = k, delta, allowed, beta, limit, rule
        self.passes = self.failures = self.tests = self.ill = 0
        self.worst, self.left = -1, _Left(start, np.empty((start.columns.n_samples, 0)))

    @property
    def needed(self) -> int:
        """Passes in a row that certify; the log makes all rounds together fail with probability at most beta."""
        return int(np.ceil(np.log((self.failures + 1) * (self.failures + 2) / self.beta) / self.delta))

    def run(self) -> Anchors:
        certified = self.k == 1 or self._search()
        if not certified:
            warnings.warn(
                f"anchors are not certified: at the limit of {self.limit} anchors, {self.passes} of {self.needed} "
                "needed supports in a row passed. Raise m_max, delta or alpha_max",
                RuntimeWarning,
                stacklevel=4,
            )
        return Anchors(
            np.array(self.anchored.indices, dtype=np.intp),
            self.anchored.Q,
            np.empty(0),
            certified,
            self.delta,
            self.delta if certified else 1.0,
            self.tests,
            self.failures,
            self.ill,
            self.law.usable.size,
        )

    def _search(self) -> bool:
        while self.passes < self.needed:
            for support, distances, left in self._batch():
                if self.passes >= self.needed:
                    break
                if not self._passes(support, distances, left) and not self._repair():
                    return False
        return True

    def _batch(self) -> Iterator[tuple[_Index, _Array, "_Left"]]:
        """Draw supports; their own distances and what the anchors leave of them are computed together."""
        supports = np.stack([self.law.support(self.k) for _ in range(_BATCH)])
        columns = self.anchored.columns.take(supports.ravel())
        left = _Left(self.anchored, columns)
        for i, distances in enumerate(_own_distances(columns, self.k)):
            left.at = slice(i * self.k, (i + 1) * self.k)
            yield supports[i], distances, left

    def _passes(self, support: _Index, distances: _Array, left: "_Left") -> bool:
        """Test one support, and remember its worst column if it fails."""
        self.tests += 1
        ill = bool(np.isnan(distances).any())
        lengths = left.lengths()
        if ill:
            self.ill += 1
            distances = leave_one_out_distances(left.own()) * np.sqrt(left.own().shape[0])
        ratios = np.divide(lengths, distances, out=np.zeros(self.k), where=lengths > 0)
        if not lengths.any() or (not ill and ratios.sum() <= self.allowed):
            self.passes += 1
            return True
        self.passes, self.failures = 0, self.failures + 1
        self.worst, self.left = int(support[np.argmax(ratios if ratios.any() else lengths)]), left
        return False

    def _repair(self) -> bool:
        """Add the worst column of a failed support, if there is room."""
        if len(self.anchored.indices) >= self.limit:
            return False
        new = [self.worst]
        if self.rule == "mixed":
            new += [int(i) for i in self.law.support(self.k - 1) if i != self.worst]
        self.left.add(np.array([i for i in new if i not in self.anchored.indices], dtype=np.intp))
        return True


class _Left:
    """Columns of a batch of supports, and what the anchors leave of them as more are added."""

    def __init__(self, anchored: _Anchored, columns: _Array) -> None:
        self.anchored, self.columns = anchored, columns
        self.residuals = anchored.project(columns)
        self.at = slice(0)

    def own(self) -> _Array:
        """Columns of the current support."""
        return self.columns[:, self.at]

    def lengths(self) -> _Array:
        """Distances of the current support to the anchors, zero where they are rounding."""
        lengths = np.linalg.norm(self.residuals[:, self.at], axis=0)
        lengths[lengths <= _DEAD * np.linalg.norm(self.own(), axis=0)] = 0.0
        return np.asarray(lengths)

    def add(self, indices: _Index) -> None:
        """Add anchors and remove their new directions from the rest of the batch."""
        known = self.anchored.Q.shape[1]
        self.anchored.add(indices)
        later = slice(self.at.stop, None)
        fresh = self.anchored.Q[:, known:]
        self.residuals[:, later] -= fresh @ (fresh.T @ self.residuals[:, later])


def _own_distances(columns: _Array, k: int) -> _Array:
    """Return leave-one-out lengths of consecutive supports, shape (n_supports, k); NaN where ill-conditioned."""
    n = columns.shape[0]
    norms = np.linalg.norm(columns, axis=0)
    stacked = (columns / np.where(norms > 0, norms, 1.0)).reshape(n, -1, k).transpose(1, 0, 2)
    triangles: _Array = np.linalg.qr(stacked, mode="r")  # type: ignore[assignment]
    pivots = np.abs(np.diagonal(triangles, axis1=1, axis2=2))
    bad = pivots.min(axis=1) * _ILL_CONDITIONED < 1
    triangles[bad] = np.eye(k)
    inverses = np.linalg.inv(triangles)
    bad |= np.linalg.norm(inverses, axis=(1, 2)) * np.linalg.norm(triangles, axis=(1, 2)) > _ILL_CONDITIONED
    distances = norms.reshape(-1, k) / np.linalg.norm(inverses, axis=2)
    distances[bad] = np.nan
    return np.asarray(distances)
