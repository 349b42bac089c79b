"""Search that always queries the action that could still be best, and knows how much it could be missing."""

import heapq
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import Outcome
from sparsetheory.bandits.algorithms.observations import Observations
from sparsetheory.bandits.algorithms.session import Batches
from sparsetheory.bandits.algorithms.sparse_search import SparseSearch
from sparsetheory.bandits.certificates.upper_bounds import upper_bounds
from sparsetheory.bandits.design.optimal import g_optimal_design
from sparsetheory.bandits.design.pivoting import pivoted_rows
from sparsetheory.bandits.supports.basis import support_basis
from sparsetheory.bandits.supports.consistency import consistent_supports
from sparsetheory.bandits.supports.enumeration import MAX_SUPPORTS
from sparsetheory.constraints import COUNT, MISSING, POSITIVE, Choice, Constraint
from sparsetheory.progress import tracked
from sparsetheory.typing import AnyArray, IndexArray

__all__ = ["AdaptiveSupportSearch"]


class AdaptiveSupportSearch(SparseSearch):
    """Query the action with the largest possible reward, until no action can be much better than the best one seen.

    At every step the gap of the best action so far is bounded by what the answers prove. The search ends when that is
    at most `target`, at the latest when all actions are known. It needs the fewest queries of all searches here, one
    batch after another.

    Parameters
    ----------
    n_nonzero : int
        Number of coefficients that are not zero.
    eps : float
        Misspecification: how far rewards are from a linear function, at most.
    target : float, optional
        The gap that is good enough; four times `eps`, and of the width of noisy means, by default.
    batch : int
        Actions that are queried at once after the first ones.
    base : {"core", "span"}
        What is queried first: a design for all features, or as few actions as span them.
    noise_std : float
        Standard deviation of the noise, which is subgaussian; actions are queried repeatedly if there is any.
    delta : float
        Probability with which noise may spoil the guarantee.
    width : float, optional
        How far a mean may be from the truth; `eps` by default.
    reward_range : float, optional
        Known difference of the largest and the smallest reward; for `vacuous_`. That of the observed ones by default.
    max_supports : int
        Refuse more supports than this.
    verbose : bool
        Whether a progress bar is shown while all supports are gone through.

    Attributes
    ----------
    gaps_ : ndarray of float
        The bound of the gap before every batch, and at the end.

    Notes
    -----
    Ours. An upper bound of a reward on one support stays valid when more answers come, so it is computed again only
    while it is the largest of all. Takes O(n_actions s + n s^2) time for each time that happens, for n answers.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import AdaptiveSupportSearch, LinearBanditProblem
    >>> features = np.random.default_rng(0).uniform(-1, 1, (5000, 8))
    >>> rewards = features[:, 2] - features[:, 4] + 0.01 * np.sin(np.arange(5000))
    >>> search = AdaptiveSupportSearch(2, eps=0.01).fit(LinearBanditProblem(features, rewards=rewards, eps=0.01))
    >>> search.certificate_.bound <= 0.04, search.n_queries_ < 60
    (True, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        **SparseSearch._sparse_constraints,
        "target": MISSING | POSITIVE,
        "batch": COUNT,
        "base": Choice("core", "span"),
    }

    def __init__(
        self,
        n_nonzero: int,
        *,
        eps: float,
        target: float | None = None,
        batch: int = 1,
        base: str = "core",
        noise_std: float = 0.0,
        delta: float = 0.05,
        width: float | None = None,
        reward_range: float | None = None,
        max_supports: int = MAX_SUPPORTS,
        verbose: bool = False,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.eps = eps
        self.target = target
        self.batch = batch
        self.base = base
        self.noise_std = noise_std
        self.delta = delta
        self.width = width
        self.reward_range = reward_range
        self.max_supports = max_supports
        self.verbose = verbose

    def _batches(self) -> Batches:
        observations, width = self._observations(), self._width()
        eps, columns = self.eps + width, self._columns()
        self._supports()
        if self.base == "core":
            first = g_optimal_design(self._features).support
        else:
            first = pivoted_rows(self._features).indices
        yield from observations.answers(first)
        rows = self._features[observations.queried]
        alive = consistent_supports(rows, observations.observed, self.n_nonzero, eps, self.max_supports)
        frontier = _Frontier(columns, alive, eps, self.batch, self._refuted, self.verbose)
        target = 4 * eps if self.target is None else float(self.target)
        gaps: list[float] = []
        while True:
            largest, wanted = frontier.largest(observations)
            best = float(observations.observed.max())
            gaps.append(max(largest, best + width) - (best - width))
            if gaps[-1] <= target or not len(wanted):
                # Bounds that earlier answers gave are valid, but whoever checks the last ones will see all answers.
                largest, wanted = frontier.renewed(observations)
                gaps[-1] = max(largest, best + width) - (best - width)
                if gaps[-1] <= target or not len(wanted):
                    break
            yield from observations.answers(wanted)
        attributes = {"gaps_": np.array(gaps), "width_": width}
        return Outcome(observations.best(), max(target, gaps[-1]), attributes)


@dataclass(eq=False)
class _Frontier:
    """Supports in the order of their largest upper bounds."""

    columns: AnyArray
    supports: IndexArray
    eps: float
    batch: int
    refuted: Callable[[Observations], Exception]
    verbose: bool
    entries: list[tuple[float, int]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.entries = [(-np.inf, which) for which in range(len(self.supports))]
        self._seen = np.full(len(self.supports), -1)
        self._wanted: dict[int, IndexArray] = {}

    def largest(self, observations: Observations) -> tuple[float, IndexArray]:
        """Return the largest possible reward of an action that was not queried, and actions that could have it.

        The entry on top is brought up to date until it stays on top; entries that the answers refute leave. If none is
        left, the error that `refuted` makes is raised.
        """
        queried, observed, known = observations.queried, observations.observed, observations.known
        fresh = bool(np.all(self._seen < 0))
        # Every step brings an entry up to date or drops it, so there are no more of them than entries, and a last look.
        for _ in tracked(range(len(self.entries) + 1), "largest rewards", self.verbose and fresh):
            if not self.entries:
                break
            value, which = self.entries[0]
            if self._seen[which] == len(queried):
                return -value, self._wanted[which]
            basis = support_basis(self.columns, self.supports[which])
            bounds = upper_bounds(basis, queried, observed, self.eps, float(observed.max()))
            if bounds.refuted:
                heapq.heappop(self.entries)
                continue
            bounds.values[known] = -np.inf
            count = min(self.batch, int(np.count_nonzero(~known)))
            top = np.argpartition(-bounds.values, count - 1)[:count] if count else np.empty(0, dtype=np.intp)
            self._wanted[which] = top[np.argsort(-bounds.values[top], kind="stable")]
            self._seen[which] = len(queried)
            heapq.heapreplace(self.entries, (-float(bounds.values.max()), which))
        raise self.refuted(observations)

    def renewed(self, observations: Observations) -> tuple[float, IndexArray]:
        """Return what :meth:`largest` does, when all entries are brought up to date."""
        self.entries = [(-np.inf, which) for _, which in self.entries]
        self._seen[:] = -1
        return self.largest(observations)
