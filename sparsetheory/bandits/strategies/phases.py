r"""Phases of an elimination: what they saw, and what they cost.

A phase plays a design on the active actions and estimates by its own plays alone. Except for an error of noise, its
predictions are within b + w of the linear function f: b is the misspecification times the amplification, with what the
design drops, and w is the width. An action stays if it is predicted within 2 w of the best. So the best active action
leaves only for one that is at most 2 b worse, which stays: a phase lowers the largest active f by at most 2 b. What
stays is at most 4 w + 2 b below the largest f that was active. With rewards within eps of f, a play
of phase l loses at most

    c_l = min{ range, 4 w_(l-1) + 2 sum_(j<l) b_j + 2 eps },

and in the first phase the range of the rewards. An action that is left alone was predicted more than 2 w better than
all others: it is at most 2 b below the largest f that was active, whatever w is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = ["EliminationPhase", "lost_afterwards", "lost_in_plays"]


@dataclass(frozen=True)
class EliminationPhase:
    """One phase of an elimination.

    Parameters
    ----------
    n_active : int
        Actions that were left when it began.
    rank : int
        Rank of their features.
    n_plays : int
        Plays of the phase; fewer than planned if they were the last.
    width : float
        How far noise may have moved predictions, at most, except with the probability that the strategy accepts.
        Infinite for a phase that did not come to its end.
    amplification : float
        How much its least squares may have amplified the misspecification.
    rho_drop : float
        What its design dropped of the features, as in :class:`Design`.
    """

    n_active: int
    rank: int
    n_plays: int
    width: float
    amplification: float
    rho_drop: float

    def bias(self, eps: float, norm_bound: float) -> float:
        """Return what the misspecification moves predictions by, at most."""
        if not np.isfinite(self.amplification):
            return np.inf  # the phase predicts nothing
        dropped = self.rho_drop * norm_bound
        return (eps + dropped) * self.amplification + dropped


def lost_afterwards(
    phases: Sequence[EliminationPhase], eps: float, norm_bound: float, *, greedy: bool = False, alone: bool = False
) -> float:
    """Return how far below the best reward the actions are that some phases left, at most.

    The greedy action of the last one is predicted to be best, so that its width counts half. It does not count where
    one action is left alone, or several with equal features.
    """
    if not phases:
        return np.inf
    biases = [phase.bias(eps, norm_bound) for phase in phases]
    widths = 0 if alone else 2 if greedy else 4
    return widths * phases[-1].width + 2 * sum(biases) + 2 * eps


def lost_in_plays(
    phases: Sequence[EliminationPhase],
    n_plays: int,
    eps: float,
    norm_bound: float,
    reward_range: float,
    *,
    alone: bool = False,
) -> float:
    """Return the regret of plays that begin with some complete phases, at most; `alone` if one action is left then."""
    plays = [phase.n_plays for phase in phases]
    plays.append(n_plays - sum(plays))
    costs = [
        min(reward_range, lost_afterwards(phases[:i], eps, norm_bound, alone=alone and i == len(phases)))
        for i in range(len(plays))
    ]
    return sum(count * cost for count, cost in zip(plays, costs, strict=True) if count)
