"""Finding an item by its code as a bandit with sparse linear rewards, up to an error."""

from collections.abc import Sequence
from itertools import product

import numpy as np

from sparsetheory.bandits import BanditInstance, BlockCodes
from sparsetheory.constraints import Integer, Several
from sparsetheory.gpu.representation.group_policy.rewards import prefix_reward

__all__ = ["make_code_bandit"]


def make_code_bandit(
    target: Sequence[int], n_codes: int, levels: Sequence[float] = (0.5, 0.707, 0.866, 0.95)
) -> BanditInstance:
    """Return the bandit whose actions are all codes, and whose rewards are those of prefixes of one of them.

    Parameters
    ----------
    target : sequence of int
        The right code, one entry from 0 to ``n_codes - 1`` for each level.
    n_codes : int
        Codes of a level, from 2; there are ``n_codes ** len(target)`` actions.
    levels : sequence of float
        Rewards of prefixes, one for each level, as :func:`prefix_reward` takes them.

    Returns
    -------
    BanditInstance
        Features have one entry for each level and code. `theta` has one non-zero for each level: of all such linear
        functions it is nearest to the rewards, and `eps` is how near.

    Notes
    -----
    A reward of prefixes is no sum over levels: a right code earns nothing after a wrong one. `eps` is a sixth of
    the range for four levels, which is no small misspecification.

    Examples
    --------
    >>> instance = make_code_bandit([1, 0, 2, 3], 4)
    >>> instance.n_actions, instance.n_features, instance.n_nonzero, round(instance.eps, 2)
    (256, 16, 4, 0.17)
    """
    from scipy.optimize import linprog

    size = Integer(2).check("n_codes", n_codes)
    Several(Integer(0, size - 1)).check("target", target)
    depth = len(target)
    if depth != len(levels):
        raise ValueError(f"levels must have one entry for each of the {depth} codes of target; got {len(levels)}")
    codes = np.array(list(product(range(size), repeat=depth)), dtype=np.min_scalar_type(size - 1))
    rewards = prefix_reward(codes.astype(np.int64), list(target), levels).double().numpy()
    table = BlockCodes(codes, size, signed=False)
    columns = np.arange(depth) * size + np.asarray(target)
    # Actions that match the target at the same levels are one row of a small linear programme.
    right, places = np.unique(codes == np.asarray(target), axis=0, return_index=True)
    rows, values = right * depth**-0.5, rewards[places]
    ones = np.ones((len(rows), 1))
    bounds = np.vstack([np.hstack([rows, -ones]), np.hstack([-rows, -ones])])
    solved = linprog(np.eye(depth + 1)[-1], bounds, np.concatenate([values, -values]), bounds=(None, None))
    theta = np.zeros(depth * size)
    theta[columns] = solved.x[:-1]
    eps = float(np.abs(rows @ solved.x[:-1] - values).max())
    return BanditInstance(rewards=rewards, theta=theta, eps=eps, n_nonzero=depth, table=table)
