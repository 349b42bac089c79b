"""A needle in a haystack, with features that say nothing, and with features of which each explains one action."""

from typing import Any

import numpy as np

from sparsetheory.bandits.environments.block_codes import BlockCodes, smallest_unsigned
from sparsetheory.bandits.environments.instance import NeedleInstance
from sparsetheory.constraints import COUNT, MISSING, POSITIVE, Integer, generator
from sparsetheory.typing import Float64Array

__all__ = ["choose_needle", "make_basis_needle", "make_needle", "needle_rewards"]


def choose_needle(needle: int | None, n_actions: int, rng: np.random.Generator) -> int:
    """Return the given action, or a random one."""
    chosen = (MISSING | Integer(0, n_actions - 1)).check("needle", needle)
    return int(rng.integers(n_actions)) if chosen is None else int(chosen)


def needle_rewards(n_actions: int, needle: int, value: float = 1.0) -> Float64Array:
    """Return rewards of which one is not zero."""
    rewards = np.zeros(n_actions)
    rewards[needle] = value
    return rewards


def make_needle(n_actions: int, value: float = 1.0, *, random_state: Any = None) -> NeedleInstance:
    r"""Return a needle that no feature helps to find.

    The only feature is the constant one; the best linear function is `value` / 2 everywhere, and that is also its
    error. Whoever asks n < K different questions and then names an action, names the needle with probability at most
    (n + 1) / K; see :func:`~sparsetheory.bandits.bounds.needle_success`.

    Parameters
    ----------
    n_actions : int
        Number of actions, K.
    value : float
        What the needle earns, above 0.
    random_state : int, Generator or None
        Seed of the needle, which is uniform.

    Returns
    -------
    NeedleInstance
        Its misspecification is exact, and so is its coherence of one.

    Notes
    -----
    The hypothesis of Du, Kakade, Wang and Yang (2020, ICLR), without features.

    Examples
    --------
    >>> from sparsetheory.bandits import make_needle
    >>> instance = make_needle(10, random_state=0)
    >>> float(instance.rewards.sum()), instance.eps
    (1.0, 0.5)
    """
    n, value = COUNT.check("n_actions", n_actions), POSITIVE.check("value", value)
    needle = int(generator(random_state).integers(n))
    # With one action the function is exact.
    level = value / 2 if n > 1 else value
    return NeedleInstance(
        rewards=needle_rewards(n, needle, value),
        theta=np.array([level]),
        eps=value - level,
        n_nonzero=1,
        table=np.ones((n, 1)),
        needle=needle,
        coherence=1.0 if n > 1 else 0.0,
    )


def make_basis_needle(n_actions: int, value: float = 1.0, *, random_state: Any = None) -> NeedleInstance:
    r"""Return a needle with one feature for each action: no error, one non-zero, and still a question for each action.

    Features are the unit vectors, and the coefficients those of the needle times `value`. The model is exact and as
    sparse as can be; yet a gap below `value` with probability p takes p K - 1 questions. A number of questions that
    does not grow with the number of features is therefore impossible without conditions on the features.

    Parameters
    ----------
    n_actions : int
        Number of actions and of features, K.
    value : float
        What the needle earns, above 0.
    random_state : int, Generator or None
        Seed of the needle, which is uniform.

    Returns
    -------
    NeedleInstance
        Its misspecification and coherence are zero.

    Examples
    --------
    >>> from sparsetheory.bandits import make_basis_needle
    >>> instance = make_basis_needle(4, random_state=0)
    >>> instance.eps, instance.n_nonzero, instance.features().shape
    (0.0, 1, (4, 4))
    """
    n, value = COUNT.check("n_actions", n_actions), POSITIVE.check("value", value)
    needle = int(generator(random_state).integers(n))
    rewards = needle_rewards(n, needle, value)
    return NeedleInstance(
        rewards=rewards,
        theta=rewards.copy(),
        eps=0.0,
        n_nonzero=1,
        table=BlockCodes(np.arange(n, dtype=smallest_unsigned(n - 1))[:, None], n, False),
        needle=needle,
        coherence=0.0,
    )
