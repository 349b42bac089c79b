"""Search by a small design on every support, and the best action that each of them predicts."""

from collections.abc import Mapping
from typing import ClassVar

import numpy as np

from sparsetheory.bandits.algorithms.base import Outcome
from sparsetheory.bandits.algorithms.session import Batches
from sparsetheory.bandits.algorithms.sparse_search import SparseSearch
from sparsetheory.bandits.supports.enumeration import MAX_SUPPORTS
from sparsetheory.constraints import FLAG, Constraint, Real

__all__ = ["SupportGreedy"]


class SupportGreedy(SparseSearch):
    r"""Learn each support from a few actions, and query the action that it predicts to be best.

    The gap is at most :math:`2 \varepsilon (1 + \sqrt{2 s})`. The number of queries, at most
    :math:`\binom{d}{s}` times the size of a design in s dimensions and one more, does not depend on `eps`. Queries come
    in two batches, or three with `screen`.

    Parameters
    ----------
    n_nonzero : int
        Number s of coefficients that are not zero.
    eps : float
        Misspecification: how far rewards are from a linear function, at most.
    target_mult : float
        Largest leverage of the designs, as a multiple of their ranks.
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
    SupportDesignNet : A constant times `eps`, for a few more queries.

    Notes
    -----
    Ours. On the true support least squares err by at most `eps` times the amplification of the design, which is at most
    the root of its largest leverage; the best prediction loses twice that and twice `eps`. ``bound_`` is the worst over
    the supports that the answers allow. Takes O(m n_actions s^2) time for m supports.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import LinearBanditProblem, SupportGreedy
    >>> features = np.random.default_rng(0).uniform(-1, 1, (500, 6))
    >>> problem = LinearBanditProblem(features, rewards=features[:, 2] - features[:, 4], eps=0.01)
    >>> search = SupportGreedy(2, eps=0.01).fit(problem)
    >>> problem.gap(search.action_), search.alive_supports_.tolist()
    (0.0, [[2, 4]])
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        **SparseSearch._sparse_constraints,
        "target_mult": Real(1.0),
        "screen": FLAG,
    }

    def __init__(
        self,
        n_nonzero: int,
        *,
        eps: float,
        target_mult: float = 2.0,
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
        self.target_mult = target_mult
        self.screen = screen
        self.noise_std = noise_std
        self.delta = delta
        self.width = width
        self.reward_range = reward_range
        self.max_supports = max_supports
        self.verbose = verbose

    def _batches(self) -> Batches:
        observations, columns = self._observations(), self._columns()
        designs = yield from self._designs(observations, columns, self.screen, self.target_mult)
        best: list[int] = []
        factor = 0.0
        for model in self._agreeing(observations, columns, designs, "predictions"):
            best.append(int(np.argmax(model.predicted)))
            factor = max(factor, 2 * (1 + model.amplification) * model.eps)
        if not best:
            raise self._refuted(observations)
        yield from observations.answers(np.array(best, dtype=np.intp))
        attributes = {"alive_supports_": self._explained(observations), "width_": self._width()}
        return Outcome(observations.best(), factor + 2 * self._width(), attributes)
