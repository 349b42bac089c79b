"""Successive halving: arms whose rewards settle as they are played, under one budget of plays."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsetheory.constraints import COUNT, Integer
from sparsetheory.typing import Float64Array, IndexArray

__all__ = ["Halving", "HalvingRound", "successive_halving"]

Play = Callable[[IndexArray, int], Float64Array]


@dataclass(frozen=True, eq=False)
class HalvingRound:
    """One round.

    Parameters
    ----------
    arms : ndarray of int
        Arms that took part, in increasing order.
    n_plays : int
        Plays of each of them in this round.
    rewards : ndarray of float64
        Their rewards after all their plays so far.
    """

    arms: IndexArray
    n_plays: int
    rewards: Float64Array


@dataclass(frozen=True, eq=False)
class Halving:
    """The arm that is left, and how that came.

    Parameters
    ----------
    arm : int
        The arm.
    rounds : tuple of HalvingRound
        None where there is one arm only.
    n_plays : int
        Plays of all arms together.
    """

    arm: int
    rounds: tuple[HalvingRound, ...]
    n_plays: int


def successive_halving(play: Play, n_arms: int, budget: int, *, factor: int = 2) -> Halving:
    r"""Find the arm whose reward settles highest: play all arms, keep the better half, and again.

    Nothing has to be random. A play may be a step of training and the reward what the model is worth by then. No bound
    of how fast rewards settle is needed.

    Parameters
    ----------
    play : callable
        ``play(arms, n)`` plays each of some arms n more times and returns one reward for each, more being better: that
        after all its plays so far.
    n_arms : int
        Number of arms.
    budget : int
        Most plays in all. There are ``ceil(log(n_arms) / log(factor))`` rounds, and each gets an equal part of it, in
        equal parts for its arms, rounded down.
    factor : int
        A round of m arms keeps ``ceil(m / factor)`` of them; of equal rewards the first arms stay.

    Returns
    -------
    Halving

    Raises
    ------
    ValueError
        If the budget does not give each arm a play in the first round, or a reward is not a number.

    See Also
    --------
    PhasedElimination : For rewards with noise around means that do not move, and features.

    Notes
    -----
    K. Jamieson and A. Talwalkar (AISTATS 2016, arXiv:1502.07943), after Z. Karnin, T. Koren and O. Somekh (ICML 2013).
    Let the reward of arm i after t plays be within g(t) of its limit, with g falling, and :math:`\Delta_i` be how much
    less than the largest the i-th largest limit is. With more plays in all than

    .. math:: f \lceil \log_f n \rceil \max_{i \ge 2} i \, (1 + g^{-1}(\Delta_i / 2))

    for n arms and factor f, the best arm is the one that is left: where :math:`g^{-1}(y)` is the least t with
    :math:`g(t) < y`. To play all arms alike to the same end takes n times the largest of these numbers of plays.

    Examples
    --------
    Curves that rise to their limits:

    >>> import numpy as np
    >>> limits, plays = np.array([0.5, 0.9, 0.7, 0.8]), np.zeros(4)
    >>> def play(arms, n):
    ...     plays[arms] += n
    ...     return limits[arms] - 1 / (1 + plays[arms])
    >>> found = successive_halving(play, 4, budget=80)
    >>> found.arm, plays.tolist(), found.n_plays
    (1, [10.0, 30.0, 10.0, 30.0], 80)
    """
    COUNT.require(n_arms=n_arms, budget=budget)
    Integer(2).require(factor=factor)
    n_rounds = _n_rounds(n_arms, factor)
    if budget < n_rounds * n_arms:
        raise ValueError(
            f"budget must be at least {n_rounds * n_arms}, one play of each of {n_arms} arms in each of {n_rounds} "
            f"rounds; got {budget}"
        )
    arms: IndexArray = np.arange(n_arms)
    rounds: list[HalvingRound] = []
    for _ in range(n_rounds):
        n_plays = budget // (n_rounds * len(arms))
        rewards = _checked(play(arms.copy(), n_plays), len(arms))
        rounds.append(HalvingRound(arms, n_plays, rewards))
        order = np.argsort(-rewards, kind="stable")
        arms = np.sort(arms[order[: -(-len(arms) // factor)]])
    return Halving(int(arms[0]), tuple(rounds), sum(len(one.arms) * one.n_plays for one in rounds))


def _n_rounds(n_arms: int, factor: int) -> int:
    """Return how many divisions by the factor, rounded up, lead to one arm; without the rounding of logarithms."""
    rounds = 0
    while n_arms > 1:
        n_arms, rounds = -(-n_arms // factor), rounds + 1
    return rounds


def _checked(rewards: object, n_arms: int) -> Float64Array:
    values = np.array(rewards, dtype=np.float64)
    if values.shape != (n_arms,) or np.isnan(values).any():
        raise ValueError(f"play must return one number for each of {n_arms} arms; got {rewards!r:.200}")
    return values
