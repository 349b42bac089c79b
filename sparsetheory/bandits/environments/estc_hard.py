"""A linear bandit in which the actions that teach are not those that pay."""

import math
from itertools import combinations
from typing import Any

import numpy as np

from sparsetheory.bandits.environments.instance import BanditInstance
from sparsetheory.constraints import COUNT, POSITIVE, Integer, Real, generator
from sparsetheory.typing import Float64Array

__all__ = ["make_estc_hard"]

_MOST_ACTIONS = 1_000_000


def _sign_patterns(width: int) -> Float64Array:
    """Return all vectors of signs of a length, one per row."""
    bits = np.arange(2**width)[:, None] >> np.arange(width)
    return np.where(bits & 1, -1.0, 1.0)


def make_estc_hard(
    n_features: int,
    n_nonzero: int,
    signal: float = 0.1,
    *,
    kappa: float = 1.0,
    n_informative: int = 256,
    random_state: Any = None,
) -> BanditInstance:
    r"""Return a sparse linear bandit in which one must lose much to learn which coefficients matter.

    With d features and s non-zeros there are two kinds of actions. Those that pay have s - 1 entries of size one among
    the first d - 1, any places and signs, and a last entry of zero. Those that teach have :math:`\pm\kappa` in all of
    the first d - 1 places and a last entry of one. The coefficients are `signal` at the first s - 1 features, and -1 at
    the last: to teach costs about one each time.

    Parameters
    ----------
    n_features : int
        Number of features, d.
    n_nonzero : int
        Non-zeros of the coefficients, s, from 2 to d.
    signal : float
        Size of the coefficients that pay, above 0.
    kappa : float
        Size of the entries of actions that teach, in (0, 1].
    n_informative : int
        Number of actions that teach: all patterns of signs where there are no more, else random ones.
    random_state : int, Generator or None
        Seed of these patterns.

    Returns
    -------
    BanditInstance
        Its model is exact. Actions that pay come first.

    Raises
    ------
    ValueError
        If there would be more than a million actions that pay.

    Notes
    -----
    From memory of Hao, Lattimore and Wang (2020, NeurIPS), where `signal` shrinks with the horizon, and not compared
    with their text. What they conclude is a regret of order min(C^{-1/3} s^{1/3} n^{2/3}, (d n)^{1/2}), C being the
    largest smallest eigenvalue of a design; nothing here relies on it or on its constant.

    Examples
    --------
    >>> from sparsetheory.bandits import make_estc_hard
    >>> instance = make_estc_hard(6, 3, random_state=0)
    >>> instance.n_actions, round(float(instance.rewards.max()), 9)
    (72, 0.2)
    """
    d = Integer(2).check("n_features", n_features)
    s = Integer(2, d).check("n_nonzero", n_nonzero)
    signal = POSITIVE.check("signal", signal)
    kappa = Real(0.0, 1.0, closed="right").check("kappa", kappa)
    COUNT.check("n_informative", n_informative)
    count = math.comb(d - 1, s - 1) * 2 ** (s - 1)
    if count > _MOST_ACTIONS:
        raise ValueError(f"n_features and n_nonzero must make at most {_MOST_ACTIONS} actions that pay; got {count}")
    patterns = _sign_patterns(s - 1)
    paying = np.zeros((count, d))
    for i, places in enumerate(combinations(range(d - 1), s - 1)):
        paying[i * len(patterns) : (i + 1) * len(patterns), places] = patterns
    if d - 1 < 63 and 2 ** (d - 1) <= n_informative:
        signs = _sign_patterns(d - 1)
    else:
        signs = generator(random_state).choice([-1.0, 1.0], size=(n_informative, d - 1))
    features = np.vstack([paying, np.column_stack([kappa * signs, np.ones(len(signs))])])
    theta = np.zeros(d)
    theta[: s - 1], theta[-1] = signal, -1.0
    return BanditInstance(rewards=features @ theta, theta=theta, eps=0.0, n_nonzero=s, table=features)
