"""Plan with sparse linear values: trust the most optimistic candidates, and drop those that the plan refutes."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator

from sparsetheory.bandits.errors import InconsistentOracleError, VacuousBoundWarning
from sparsetheory.bandits.planning.certificate import PlanningCertificate, gap_bound, rounding
from sparsetheory.bandits.planning.inputs import checked_candidates, checked_features, model_error
from sparsetheory.bandits.planning.mdp import TabularMDP
from sparsetheory.constraints import NONNEGATIVE, Constraint, Instance, check_parameters
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["SparseOliveRL"]

# Predictions that are made in one go.
_NUMBERS = 2**22


def _optimism(features: Float64Array, candidates: Float64Array) -> Float64Array:
    """Return what each candidate promises in each state, of shape (n_candidates, n_states)."""
    n_states, n_actions, n_features = features.shape
    rows, step = features.reshape(-1, n_features), max(1, _NUMBERS // (n_states * n_actions))
    parts = [
        (candidates[start : start + step] @ rows.T).reshape(-1, n_states, n_actions).max(axis=2)
        for start in range(0, len(candidates), step)
    ]
    return np.concatenate(parts)


class SparseOliveRL(BaseEstimator):
    r"""Plan in a decision problem whose values of best actions are linear up to an error, and coefficients are few.

    For each level there are candidates for the coefficients, for example a net of sparse vectors. A round goes through
    the levels with the distribution of states that the plan so far leads to. In each level the candidate that promises
    most there is trusted, and its best actions are the plan. If a candidate promises over 2 e more than the plan earns
    in its level and the next candidate promises after it, it is dropped; if none is dropped, the plan is returned.

    Parameters
    ----------
    eps : float
        Bound of the misspecification of the values of best actions, at least 0, in the unit of rewards.
    rho : float
        Distance of the best candidate from the true coefficients, at least 0.

    Attributes
    ----------
    policy_ : tuple of ndarray of int
        Action of each state, for each level.
    value_ : float
        What the policy earns.
    theta_ : tuple of ndarray
        Candidates that the plan trusts.
    value_gap_bound_ : float
        The best policy earns at most this more: (2 H + 1) e for H levels, and room for rounding.
    optimism_ : float
        The best policy earns at most this more, as this plan shows: what the first candidate promises more than the
        plan earns, plus e. At most `value_gap_bound_`.
    vacuous_ : bool
        Whether any policy satisfies `value_gap_bound_`, by the range of the rewards of each level.
    n_rounds_ : int
        Rounds, at most one more than there are candidates.
    removed_ : tuple of ndarray of int
        Candidates of each level that were dropped, in this order.
    certificate_ : PlanningCertificate
        ``certificate_.check(mdp, features, candidates)`` computes both values anew.

    Notes
    -----
    After Du, Yang and Wang (2024, arXiv:2407.13622), who learn from samples; here expectations are exact. The algorithm
    is our reading of their abstract, and the constants are ours. With e = eps + L rho, where L is the length of the
    longest row, some candidate of each level predicts within e. That of level h is never dropped: on the states where
    it was trusted it promises at most :math:`E[r + V^*_{h+1}] + e`, and the next candidate, the most optimistic on the
    same states, promises at least :math:`E[V^*_{h+1}] - e`. At the end the first candidate promises at least
    :math:`V^* - e`, and 2 e is lost in each level. A round costs O(S A d + N S) for each level, with S states, A
    actions, d features and N candidates; promises of all candidates take O(N S A d) once, and O(N S) memory.

    Examples
    --------
    >>> from sparsetheory.bandits import SparseOliveRL, make_tree_mdp
    >>> tree = make_tree_mdp(3, 2, 1.0, q=13, s=12, k=2, random_state=0)
    >>> planner = SparseOliveRL(tree.eps).fit(tree.mdp, tree.features(), tree.candidates())
    >>> round(planner.value_gap_bound_, 4), planner.value_
    (0.5833, 1.0)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {"eps": NONNEGATIVE, "rho": NONNEGATIVE}

    def __init__(self, eps: float, *, rho: float = 0.0) -> None:
        self.eps = eps
        self.rho = rho

    def fit(self, mdp: TabularMDP, features: Sequence[Any], candidates: Sequence[Any]) -> Self:
        """Plan.

        Parameters
        ----------
        mdp : TabularMDP
            The decision problem.
        features : sequence of array-like of shape (n_states, n_actions, n_features)
            Features of each level.
        candidates : sequence of array-like of shape (n_candidates, n_features)
            Candidates for the coefficients of each level.

        Returns
        -------
        self

        Raises
        ------
        ValueError
            If a parameter is out of its range, or shapes do not fit.
        InconsistentOracleError
            If all candidates of a level are dropped, which proves a larger misspecification.
        """
        check_parameters(self)
        Instance(TabularMDP, "a TabularMDP").check("mdp", mdp)
        rows = checked_features(features, mdp)
        among = checked_candidates(candidates, rows)
        error, slack = model_error(float(self.eps), float(self.rho), rows), rounding(mdp)
        promises = [_optimism(level, vectors) for level, vectors in zip(rows, among, strict=True)]
        alive = [np.ones(len(level), dtype=np.bool_) for level in among]
        removed: list[list[int]] = [[] for _ in among]
        refuted, self.n_rounds_ = np.inf, 0
        while True:
            self.n_rounds_ += 1
            chosen, policy, excess = self._round(mdp, rows, among, promises, alive)
            worse = np.flatnonzero(excess > 2 * (error + slack))
            if not worse.size:
                break
            refuted = min(refuted, float(excess[worse].min()))
            for level in worse.tolist():
                alive[level][chosen[level]] = False
                removed[level].append(chosen[level])
                if not alive[level].any():
                    raise self._inconsistent(level, refuted / 2 - slack - (error - float(self.eps)))
        self.policy_, self.value_ = policy, mdp.value(policy)
        self.theta_ = tuple(level[number] for level, number in zip(among, chosen, strict=True))
        self.removed_ = tuple(np.array(level, dtype=np.intp) for level in removed)
        self.value_gap_bound_ = gap_bound(error, mdp)
        self.optimism_ = float(excess.sum()) + error + slack
        self.vacuous_ = bool(self.value_gap_bound_ >= sum(float(np.ptp(level)) for level in mdp.rewards) > 0)
        if self.vacuous_:
            warnings.warn(
                f"every policy is within {self.value_gap_bound_:.3g} of the best one", VacuousBoundWarning, stacklevel=2
            )
        self.certificate_ = PlanningCertificate.of(float(self.eps), float(self.rho), policy, mdp, rows, among)
        return self

    @staticmethod
    def _round(
        mdp: TabularMDP,
        features: Sequence[Float64Array],
        candidates: Sequence[Float64Array],
        promises: Sequence[Float64Array],
        alive: Sequence[BoolArray],
    ) -> tuple[list[int], tuple[IndexArray, ...], Float64Array]:
        """Return the trusted candidates, the plan, and how much more each promises than the plan earns and the next."""
        chosen, policy, occupancy = [], [], mdp.initial
        promised, earned = np.zeros(mdp.n_levels + 1), np.zeros(mdp.n_levels)
        for level in range(mdp.n_levels):
            values = np.where(alive[level], promises[level] @ occupancy, -np.inf)
            chosen.append(int(np.argmax(values)))
            promised[level] = values[chosen[-1]]
            actions = (features[level] @ candidates[level][chosen[-1]]).argmax(axis=1)
            policy.append(actions)
            earned[level] = occupancy @ mdp.rewards[level][np.arange(len(actions)), actions]
            if level < mdp.n_levels - 1:
                occupancy = mdp.advance(level, occupancy, actions)
        return chosen, tuple(policy), promised[:-1] - earned - promised[1:]

    @staticmethod
    def _inconsistent(level: int, eps_lower: float) -> InconsistentOracleError:
        return InconsistentOracleError(
            f"eps must be larger: all candidates of level {level} were refuted, so the values are misspecified by at "
            f"least {eps_lower:.6g}, or no candidate was within rho",
            eps_lower,
        )
