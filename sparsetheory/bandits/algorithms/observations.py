"""Mean rewards of the actions that were queried."""

import math
from collections.abc import Generator

import numpy as np

from sparsetheory.bandits.algorithms.session import Batch
from sparsetheory.typing import BoolArray, Float64Array, IndexArray

__all__ = ["Observations", "block_means", "repetitions", "width_of_means"]

# More queries of one action than anybody waits for; a log of them would not fit into memory.
_MOST_REPETITIONS = 10**8


def repetitions(noise_std: float, delta: float, n_actions: int, width: float) -> int:
    r"""Return how often an action is queried, so that the means of all actions are within `width` of the truth.

    By the tail bound of subgaussian noise and a union over actions, ``ceil(2 noise_std^2 log(2 n_actions / delta) /
    width^2)`` answers do, except with probability `delta`; so this holds for actions that are chosen one after another,
    too.

    Raises
    ------
    ValueError
        If that is more than a hundred million.
    """
    if noise_std == 0:
        return 1
    count = 2 * noise_std**2 * math.log(2 * n_actions / delta) / width**2
    if count > _MOST_REPETITIONS:
        raise ValueError(
            f"width must be large enough for at most {_MOST_REPETITIONS:.0e} queries of one action; got {width:g}, "
            f"which takes {count:.2g} with noise_std={noise_std:g}"
        )
    return max(1, math.ceil(count))


def width_of_means(noise_std: float, eps: float, width: float | None) -> float:
    """Return how far means of answers may be from the truth: 0 without noise, else what is wanted, `eps` by default."""
    if noise_std == 0:
        return 0.0
    if width is None and eps == 0:
        raise ValueError("width must be given where there is noise and eps is 0; got None")
    return float(eps if width is None else width)


def block_means(rewards: Float64Array, counts: IndexArray) -> Float64Array:
    """Return the means of blocks of rewards that follow each other, given their lengths, all above 0."""
    return np.add.reduceat(rewards, np.concatenate(([0], np.cumsum(counts)[:-1]))) / counts


class Observations:
    """What is known of rewards: each action is asked about once, `repeat` times in a row.

    Parameters
    ----------
    n_actions : int
    repeat : int
        Queries of one action, whose mean counts.

    Attributes
    ----------
    queried : ndarray of int
        Actions in the order in which they were asked about.
    """

    def __init__(self, n_actions: int, repeat: int = 1) -> None:
        self._values = np.full(n_actions, np.nan)
        self._order: list[IndexArray] = []
        self.repeat = repeat

    @property
    def queried(self) -> IndexArray:
        """Actions in the order in which they were asked about."""
        self._order = [np.concatenate(self._order)] if self._order else []
        return self._order[0] if self._order else np.empty(0, dtype=np.intp)

    @property
    def observed(self) -> Float64Array:
        """Mean rewards of the queried actions."""
        return self._values[self.queried]

    @property
    def known(self) -> BoolArray:
        """Which actions have been queried."""
        return np.isfinite(self._values)

    def means_of(self, actions: IndexArray) -> Float64Array:
        """Return mean rewards of actions; NaN where they are not known."""
        return self._values[actions]

    def answers(self, actions: IndexArray) -> Generator[Batch, Float64Array, Float64Array]:
        """Query actions that are not known yet, and return the mean rewards of all of them."""
        new = actions[~np.isfinite(self._values[actions])]
        new = new[np.sort(np.unique(new, return_index=True)[1])]
        if new.size:
            rewards = yield Batch(np.repeat(new, self.repeat))
            self._values[new] = rewards.reshape(len(new), self.repeat).mean(axis=1)
            self._order.append(new)
        return self._values[actions]

    def best(self) -> int:
        """Return the queried action with the largest mean reward, of equal ones the first queried."""
        return int(self.queried[np.argmax(self.observed)])
