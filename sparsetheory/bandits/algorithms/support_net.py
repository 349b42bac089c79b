"""Search by a net of actions on every support."""

from collections.abc import Mapping
from typing import ClassVar

from sparsetheory.bandits.algorithms.base import Outcome
from sparsetheory.bandits.algorithms.log import MeanRewards
from sparsetheory.bandits.algorithms.session import Batches
from sparsetheory.bandits.algorithms.sparse_search import SparseSearch
from sparsetheory.bandits.certificates.covering import CoveringCertificate
from sparsetheory.bandits.supports.enumeration import MAX_SUPPORTS
from sparsetheory.bandits.supports.nets import greedy_net, grid_net
from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import FLAG, MISSING, POSITIVE, Choice, Constraint

__all__ = ["SupportNetSearch"]


class SupportNetSearch(SparseSearch):
    r"""Query a net: on every support, some action within `rho` of every other one.

    The gap is at most 2 `eps` + `norm_bound` `rho`. The number of queries grows like a power of 1 / `rho`: at most
    :math:`\binom{d}{s} (1 + 2 L / \rho)^s` for rows of norm L. Nothing depends on the answers, so all queries can be
    sent at once.

    Parameters
    ----------
    n_nonzero : int
        Number s of coefficients that are not zero.
    eps : float
        Misspecification: how far rewards are from a linear function, at most.
    rho : float, optional
        Euclidean distance that counts as near; `eps` / `norm_bound` by default.
    norm_bound : float
        Bound of the Euclidean norm of the coefficients.
    net : {"grid", "greedy"}
        One action of each cell of a grid with diagonal `rho`, which takes one pass for each support. Or greedily
        separated actions, of which there are fewer, in as many passes as there are.
    reuse : bool
        Whether queries for one support serve the next ones; that takes fewer of them.
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
    alive_supports_ : ndarray of int, of shape (m, n_nonzero)
        Supports that the answers allow.
    max_cells_ : int
        Largest number of actions that one support added to the net.

    Notes
    -----
    Takes O(m n_actions s) time for m supports with the grid. With greedy nets it is O(m n_actions s q), where q is the
    number of actions that the net of one support has. The queries do not depend on the number of threads.

    The rate is that of Dong and Yang (ICML 2023, arXiv:2303.16998); net, grid and constants are ours. With the true
    support M, the best action has a queried one within `rho` of it in the features of M, whose linear part is at most
    `norm_bound` `rho` smaller, and twice the misspecification comes on top.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import LinearBanditProblem, SupportNetSearch
    >>> features = np.random.default_rng(0).uniform(-1, 1, (500, 6))
    >>> problem = LinearBanditProblem(features, rewards=features[:, 2], eps=0.1)
    >>> search = SupportNetSearch(1, eps=0.1).fit(problem)
    >>> bool(problem.gap(search.action_) <= search.bound_), search.n_queries_ < 150
    (True, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        **SparseSearch._sparse_constraints,
        "rho": MISSING | POSITIVE,
        "norm_bound": POSITIVE,
        "net": Choice("grid", "greedy"),
        "reuse": FLAG,
    }

    def __init__(
        self,
        n_nonzero: int,
        *,
        eps: float,
        rho: float | None = None,
        norm_bound: float = 1.0,
        net: str = "grid",
        reuse: bool = True,
        max_supports: int = MAX_SUPPORTS,
        noise_std: float = 0.0,
        delta: float = 0.05,
        width: float | None = None,
        reward_range: float | None = None,
        verbose: bool = False,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.eps = eps
        self.rho = rho
        self.norm_bound = norm_bound
        self.net = net
        self.reuse = reuse
        self.max_supports = max_supports
        self.noise_std = noise_std
        self.delta = delta
        self.width = width
        self.reward_range = reward_range
        self.verbose = verbose

    def _batches(self) -> Batches:
        rho, observations = self._rho(), self._observations()
        supports = self._supports()
        find = grid_net if self.net == "grid" else greedy_net
        chosen, largest = find(self._columns(), supports, rho, self.reuse, self.verbose)
        yield from observations.answers(chosen)
        bound = 2 * self.eps + self.norm_bound * rho + 2 * self._width()
        attributes = {"alive_supports_": self._explained(observations), "max_cells_": largest, "width_": self._width()}
        return Outcome(observations.best(), bound, attributes)

    def _rho(self) -> float:
        if self.rho is None and self.eps == 0:
            raise ValueError("rho must be given where eps is 0; got None")
        return self.eps / self.norm_bound if self.rho is None else float(self.rho)

    def _certificate(self, action: int, means: MeanRewards, outcome: Outcome | None) -> Certificate:
        known = super()._certificate(action, means, outcome)
        if outcome is None or known.bound <= outcome.bound:  # the net has holes, or answers say more than it does
            return known
        rho, width = self._rho(), self._width()
        return CoveringCertificate(
            "", self.bound_, None, Status.VALID, action=action, queried=means.actions, observed=means.rewards,
            eps=self.eps, width=width, n_nonzero=self.n_nonzero, norm_bound=float(self.norm_bound), rho=rho,
        ).stated()  # fmt: skip
