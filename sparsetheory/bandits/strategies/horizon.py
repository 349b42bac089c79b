"""What strategies with a number of plays share: the curve and a bound of what they lose."""

from typing import Self

import numpy as np

from sparsetheory.bandits.algorithms.base import BanditAlgorithm
from sparsetheory.bandits.environments.problem import LinearBanditProblem
from sparsetheory.constraints import Instance
from sparsetheory.typing import Float64Array

__all__ = ["HorizonStrategy"]


class HorizonStrategy(BanditAlgorithm):
    """Base of strategies that make `horizon` plays, each of which counts.

    A subclass implements ``_regret_bound``, too.

    Attributes
    ----------
    regret_curve_ : ndarray of shape (n_queries_,)
        Expected reward missed in all plays up to each one. Set by `fit` and `run` where the problem knows its rewards.
    regret_bound_ : float
        The plays so far miss at most so much in all; infinite where nothing is proved, or `reward_range` is needed and
        not known.
    """

    reward_range: float | None

    def run(self, problem: LinearBanditProblem) -> Self:
        """Let a problem answer all queries that are open or still to come.

        Parameters
        ----------
        problem : LinearBanditProblem

        Returns
        -------
        self
        """
        super().run(problem)
        if problem.rewards is not None:
            self.regret_curve_ = self.regret(problem)
            if self.reward_range is None:
                self.regret_bound_ = self._regret_bound(float(np.ptp(problem.rewards)))
        return self

    def regret(self, problem: LinearBanditProblem) -> Float64Array:
        """Return the expected reward that was missed in all plays up to each one.

        Parameters
        ----------
        problem : LinearBanditProblem
            With known rewards, which noise does not change.

        Returns
        -------
        ndarray of shape (n_queries,)
            In the order of the answers; increasing.

        Raises
        ------
        ValueError
            If the problem does not know its rewards, or has other actions.

        Examples
        --------
        >>> import numpy as np
        >>> from sparsetheory.bandits import LinearBanditProblem, PhasedElimination
        >>> problem = LinearBanditProblem(np.eye(2), rewards=[1.0, 0.75], noise_std=0.01, random_state=0)
        >>> strategy = PhasedElimination(100, noise_std=0.01).fit(problem)
        >>> curve = strategy.regret(problem)
        >>> len(curve), bool(curve[-1] == curve[40] < 4)
        (100, True)
        """
        Instance(LinearBanditProblem).check("problem", problem)
        if problem.rewards is None:
            raise ValueError("rewards must be given to know a regret; got an oracle")
        if problem.features.shape != self._features.shape:
            raise ValueError(
                f"problem must have features of shape {self._features.shape}; got {problem.features.shape}"
            )
        return np.cumsum((problem.rewards.max() - problem.rewards)[self.log_.actions])

    def _regret_bound(self, reward_range: float) -> float:
        """Return what the plays so far lose at most, if rewards differ by no more than a number."""
        raise NotImplementedError(f"{type(self).__name__} does not define _regret_bound")

    def _finish(self) -> None:
        super()._finish()
        self.regret_bound_ = self._regret_bound(np.inf if self.reward_range is None else float(self.reward_range))
