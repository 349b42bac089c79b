"""Search by a net in the coordinates that a design on each support makes."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import Outcome
from sparsetheory.bandits.algorithms.session import Batches
from sparsetheory.bandits.algorithms.sparse_search import SparseSearch
from sparsetheory.bandits.supports.designs import SupportModel
from sparsetheory.bandits.supports.enumeration import MAX_SUPPORTS
from sparsetheory.constraints import FLAG, POSITIVE, Constraint
from sparsetheory.numba_kernels.bandits.nets import separated
from sparsetheory.typing import IndexArray

__all__ = ["SupportDesignNet"]


class SupportDesignNet(SparseSearch):
    r"""Learn each support from a few actions, and query a net of those that may be best.

    The gap is at most :math:`(2 + \eta)\, \varepsilon`. The number of queries, at most
    :math:`\binom{d}{s} (1 + 2 \sqrt{2 s} / \eta)^s` and those of the designs, does not depend on `eps`: a net whose
    mesh shrinks with `eps` in the units of the features, as that of :class:`SupportNetSearch`, has a fixed mesh in the
    coordinates in which the design has learned the model to `eps`. Queries come in two batches, or three with `screen`.

    Parameters
    ----------
    n_nonzero : int
        Number s of coefficients that are not zero.
    eps : float
        Misspecification: how far rewards are from a linear function, at most.
    eta : float
        Mesh of the net, in units of `eps`.
    prune : bool
        Whether only actions that can be best are covered.
    screen : bool
        Whether actions that serve all supports are queried first, and supports that their answers refute are left out.
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

    See Also
    --------
    AdaptiveSupportSearch : Fewer queries, in many batches.

    Notes
    -----
    Ours; it improves the rate of Dong and Yang (ICML 2023, arXiv:2303.16998). Actions are visited in the order of their
    predictions, the best first. So the best action of the true support has an action of the net within `eta` of it,
    which is predicted to be no worse, and whose linear part is at most `eta` `eps` smaller.

    Takes O(m n_actions s^2) time for the designs on m supports, and O(n_actions s q) for a net of q actions on each
    support that the answers allow.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import LinearBanditProblem, SupportDesignNet
    >>> features = np.random.default_rng(0).uniform(-1, 1, (5000, 8))
    >>> rewards = features[:, 2] - features[:, 4] + 0.01 * np.sin(np.arange(5000))
    >>> problem = LinearBanditProblem(features, rewards=rewards, eps=0.01)
    >>> search = SupportDesignNet(2, eps=0.01).fit(problem)
    >>> problem.gap(search.action_) <= 0.03, search.n_queries_ < 60
    (True, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        **SparseSearch._sparse_constraints,
        "eta": POSITIVE,
        "prune": FLAG,
        "screen": FLAG,
    }

    def __init__(
        self,
        n_nonzero: int,
        *,
        eps: float,
        eta: float = 1.0,
        prune: bool = True,
        screen: bool = True,
        noise_std: float = 0.0,
        delta: float = 0.05,
        width: float | None = None,
        reward_range: float | None = None,
        max_supports: int = MAX_SUPPORTS,
        verbose: bool = False,
    ) -> None:
        self.n_nonzero = n_nonzero
        self.eps = eps
        self.eta = eta
        self.prune = prune
        self.screen = screen
        self.noise_std = noise_std
        self.delta = delta
        self.width = width
        self.reward_range = reward_range
        self.max_supports = max_supports
        self.verbose = verbose

    def _batches(self) -> Batches:
        observations, columns = self._observations(), self._columns()
        designs = yield from self._designs(observations, columns, self.screen, 2.0)
        best = float(observations.observed.max(initial=-np.inf))
        net: list[IndexArray] = []
        largest = 0.0
        for model in self._agreeing(observations, columns, designs, "nets"):
            net.append(self._net(model, best))
            largest = max(largest, model.eps)
        if not net:
            raise self._refuted(observations)
        yield from observations.answers(np.concatenate(net))
        attributes = {"alive_supports_": self._explained(observations), "width_": self._width()}
        return Outcome(observations.best(), (2 + self.eta) * largest + 2 * self._width(), attributes)

    def _net(self, model: SupportModel, best: float) -> IndexArray:
        """Return actions near all those that may be best, those predicted best first; `best` is the best answer."""
        order = np.argsort(-model.predicted, kind="stable")
        if self.prune:
            upper = model.predicted + model.eps * (model.norms + 1)
            if upper.max() <= best + (2 + self.eta) * model.eps:
                return np.empty(0, dtype=np.intp)  # no action is much better than what was seen
            order = order[model.candidates()[order]]
        chosen = np.empty(len(order), dtype=np.intp)
        return chosen[: separated(model.white, order, float(self.eta), chosen)]
