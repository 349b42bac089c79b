"""A live experiment, simulated: rewards that come late and out of order, from a world that drifts."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.bandits.environments.problem import LinearBanditProblem, action_numbers
from sparsetheory.bandits.environments.streams import own_stream
from sparsetheory.constraints import MISSING, NONNEGATIVE, SIZE, Instance, Several
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["SimulatedExperiment"]

_DELAY = SIZE | Several(SIZE, "a pair of integers of at least 0")


def _delay_range(delay: Any) -> tuple[int, int]:
    checked = _DELAY.check("delay", delay)
    low, high = (checked, checked) if isinstance(checked, int) else (tuple(checked) if len(checked) == 2 else (1, 0))
    if high < low:
        raise ValueError(f"delay must be a number of rounds or a pair (fewest, most); got {delay!r}")
    return int(low), int(high)


class SimulatedExperiment:
    r"""A problem behind an experiment that runs in rounds.

    A reward is made when its action is submitted, and arrives some rounds later, mixed with others. After each round
    the mean reward of every action moves by at most `drift`. So after t rounds no reward is further than eps + t drift
    from the linear function of the beginning, and an algorithm that is to survive the drift must be told that bound
    for all rounds of its life.

    Parameters
    ----------
    problem : LinearBanditProblem
        Answers, before drift; it counts queries.
    delay : int or pair of int
        Rounds until a reward arrives: always so many, or uniform between two numbers. With 0 the next call of
        :meth:`collect` returns it.
    drift : float
        Most that a mean reward moves in a round, at least 0: steps are uniform in both directions.
    max_drift : float, optional
        Most that a mean reward is ever away from where it began; no limit by default.
    random_state : int, Generator or None
        Seed of delays and drift.

    Attributes
    ----------
    n_rounds : int
        Rounds so far.

    Notes
    -----
    A round takes O(n_actions) time where there is drift.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.bandits import LinearBanditProblem, SimulatedExperiment
    >>> problem = LinearBanditProblem(np.eye(3), rewards=[0.1, 0.9, 0.5])
    >>> experiment = SimulatedExperiment(problem, delay=1)
    >>> experiment.submit([1, 2])
    >>> experiment.collect()[0].size, experiment.n_waiting
    (0, 2)
    >>> sorted(experiment.collect()[1].tolist())
    [0.5, 0.9]
    """

    def __init__(
        self,
        problem: LinearBanditProblem,
        *,
        delay: int | tuple[int, int] = 0,
        drift: float = 0.0,
        max_drift: float | None = None,
        random_state: Any = None,
    ) -> None:
        self.problem = Instance(LinearBanditProblem).check("problem", problem)
        self._delay = _delay_range(delay)
        self.drift = NONNEGATIVE.check("drift", drift)
        self.max_drift = (MISSING | NONNEGATIVE).check("max_drift", max_drift)
        self.n_rounds = 0
        self._rng = own_stream(random_state, "delays and drift")
        self._moved: Float64Array = np.zeros(problem.n_actions)
        self._actions: IndexArray = np.empty(0, dtype=np.intp)
        self._rewards: Float64Array = np.empty(0)
        self._due: IndexArray = np.empty(0, dtype=np.intp)

    @property
    def n_waiting(self) -> int:
        """Number of rewards that have not arrived."""
        return len(self._actions)

    @property
    def rewards(self) -> Float64Array:
        """Mean rewards of this round, where the problem knows them."""
        if self.problem.rewards is None:
            raise ValueError("rewards must be given to the problem to be known; got an oracle")
        return self.problem.rewards + self._moved

    @property
    def effective_eps(self) -> float:
        """Bound of the misspecification that covers all rewards so far, with their drift."""
        return self.eps_after(self.n_rounds)

    def eps_after(self, n_rounds: int) -> float:
        """Return a bound of the misspecification that covers the first rounds, with their drift.

        Parameters
        ----------
        n_rounds : int
            How often rewards are collected.
        """
        moved = self.drift * SIZE.check("n_rounds", n_rounds)
        return float(self.problem.eps + (moved if self.max_drift is None else min(moved, self.max_drift)))

    def submit(self, actions: ArrayLike) -> None:
        """Play actions in this round.

        Parameters
        ----------
        actions : array-like of int
            Numbers of actions; the same one may be named several times.
        """
        chosen = action_numbers("actions", actions, self.problem.n_actions)
        answers = self.problem.query(chosen) + self._moved[chosen]
        delays = self._rng.integers(self._delay[0], self._delay[1] + 1, size=len(chosen))
        self._actions = np.concatenate([self._actions, chosen])
        self._rewards = np.concatenate([self._rewards, answers])
        self._due = np.concatenate([self._due, self.n_rounds + delays])

    def collect(self) -> tuple[IndexArray, Float64Array]:
        """End the round, and return what has arrived, in random order.

        Returns
        -------
        actions : ndarray of int
        rewards : ndarray
            One for each of the actions.
        """
        here = self._due <= self.n_rounds
        order = self._rng.permutation(np.flatnonzero(here))
        actions, rewards = self._actions[order], self._rewards[order]
        self._actions, self._rewards, self._due = self._actions[~here], self._rewards[~here], self._due[~here]
        self.n_rounds += 1
        if self.drift:
            self._moved += self._rng.uniform(-self.drift, self.drift, len(self._moved))
            if self.max_drift is not None:
                np.clip(self._moved, -self.max_drift, self.max_drift, out=self._moved)
        return actions, rewards

    def gap(self, action: int) -> float:
        """Return how much less an action earns in this round than the best one."""
        rewards = self.rewards
        return float(rewards.max() - rewards[action_numbers("action", action, len(rewards))[0]])
