"""Evidence for a plan: what it earns, and what the best one earns, both computed anew."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np

from sparsetheory.bandits.planning.inputs import checked_candidates, checked_features, model_error
from sparsetheory.bandits.planning.mdp import TabularMDP
from sparsetheory.certificates import Certificate, Status
from sparsetheory.constraints import Instance
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["PlanningCertificate", "gap_bound", "rounding"]

_ROUNDING = 1e-9


def rounding(mdp: TabularMDP) -> float:
    """Return what rounding may add to a value: a share of the most that can be earned, or lost."""
    return _ROUNDING * max(sum(float(np.abs(level).max()) for level in mdp.rewards), 1e-300)


def gap_bound(error: float, mdp: TabularMDP) -> float:
    """Return (2 H + 1) times the error of the best candidates, with room for rounding in each level."""
    return (2 * mdp.n_levels + 1) * (error + rounding(mdp))


@dataclass(frozen=True, eq=False)
class PlanningCertificate(Certificate):
    r"""A policy earns at most `bound` less than the best one.

    `measured` is what the best policy earns, by going back from the last level, less what this one earns, by going
    forward. The bound is (2 H + 1) e for H levels, where e = eps + L rho, L is the length of the longest row, and
    rounding adds to e a share of 1e-9 of the rewards. It rests on the premise that in each level some candidate
    predicts the values of best actions within e; a check computes these values, and says that nothing applies where
    the premise fails.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`.
    eps : float
        Misspecification that the plan was made for.
    rho : float
        Distance of the best candidate.
    policy : tuple of ndarray of int
        Action of each state, for each level.

    Examples
    --------
    >>> from sparsetheory.bandits import SparseOliveRL, make_random_mdp
    >>> instance = make_random_mdp(3, 5, 2, 6, 2, eps=0.05, random_state=0)
    >>> given = instance.mdp, instance.features, instance.candidates
    >>> certificate = SparseOliveRL(0.05).fit(*given).certificate_
    >>> certificate.check(*given).status.value
    'valid'
    """

    TERMS: ClassVar[tuple[str, ...]] = ("eps", "rho")

    eps: float = field(kw_only=True)
    rho: float = field(kw_only=True)
    policy: tuple[IndexArray, ...] = field(kw_only=True, repr=False)

    @classmethod
    def of(
        cls, eps: float, rho: float, policy: tuple[IndexArray, ...], mdp: TabularMDP, features: Any, candidates: Any
    ) -> "PlanningCertificate":
        """Certify a policy on the decision problem that it was made for."""
        bound = gap_bound(model_error(eps, rho, features), mdp)
        kept = tuple(level.copy() for level in policy)
        blank = cls("", bound, None, Status.INVALID, eps=eps, rho=rho, policy=kept)
        return blank.stated().check(mdp, features, candidates)

    def promise(self) -> str:
        """Return what is promised."""
        return (
            "the policy earns at most bound = (2 H + 1) (eps + L rho) less than the best one, if in each of H levels a "
            "candidate predicts the values of best actions within eps + L rho"
        )

    def check(
        self,
        mdp: TabularMDP,
        features: Sequence[Any],
        candidates: Sequence[Any],
        *,
        random_state: Any = 0,
    ) -> "PlanningCertificate":
        """Compute both values from the decision problem, and whether the candidates are good enough.

        Parameters
        ----------
        mdp, features, candidates
            What the plan was made for.
        random_state : object
            Not used: nothing is drawn.

        Returns
        -------
        PlanningCertificate
            With a fresh `measured`, `status` and `reason`.

        Raises
        ------
        ValueError
            For what `fit` refuses, or if the policy does not fit the decision problem.
        """
        Instance(TabularMDP, "a TabularMDP").check("mdp", mdp)
        rows = checked_features(features, mdp)
        among = checked_candidates(candidates, rows)
        measured = mdp.optimal_value() - mdp.value(self.policy)
        error = model_error(self.eps, self.rho, rows)
        short = _level_without_good_candidate(mdp, rows, among, error + rounding(mdp))
        if not np.isclose(self.bound, gap_bound(error, mdp), rtol=1e-12):
            status, reason = Status.INVALID, "the bound is not that of the decision problem"
        elif short is not None:
            status, reason = (
                Status.NOT_APPLICABLE,
                f"no candidate of level {short} predicts the best values",
            )
        else:
            status, reason = Status.of(measured <= self.bound), ""
        return replace(self, measured=measured, status=status, reason=reason).unless_misstated()


def _level_without_good_candidate(
    mdp: TabularMDP, features: Sequence[Float64Array], candidates: Sequence[Float64Array], error: float
) -> int | None:
    for level, best in enumerate(mdp.optimal_q()):
        rows, wanted = features[level].reshape(best.size, -1), best.ravel()
        if not any(np.abs(rows @ theta - wanted).max() <= error for theta in candidates[level]):
            return level
    return None
