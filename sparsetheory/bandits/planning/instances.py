"""Decision problems whose values are nearly sparse linear: a tree that hides one leaf, and random ones."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy import sparse

from sparsetheory.bandits.environments.block_codes import BlockCodes
from sparsetheory.bandits.environments.misspecified import sparse_unit_vector
from sparsetheory.bandits.environments.reed_solomon import code_words
from sparsetheory.bandits.planning.mdp import TabularMDP
from sparsetheory.constraints import COUNT, NONNEGATIVE, POSITIVE, SIZE, Integer, generator
from sparsetheory.typing import Float64Array, FloatArray, IndexArray

__all__ = ["RandomMDP", "TreeMDP", "make_random_mdp", "make_tree_mdp"]

# States of the last level of a tree.
_MOST_LEAVES = 10_000_000


@dataclass(frozen=True, eq=False)
class TreeMDP:
    """A tree in which one path pays, and features that hardly tell it from others.

    Parameters
    ----------
    mdp : TabularMDP
        States of a level are the nodes of the tree.
    tables : tuple of BlockCodes
        Features of each level, one row for each pair of node and action.
    path : ndarray of int, of shape (n_levels,)
        The actions that lead to the reward.
    value : float
        The reward.
    eps : float
        Whatever the policy, what actions earn from then on is linear up to this.
    n_nonzero : int
        Non-zeros of the coefficients.

    Examples
    --------
    >>> from sparsetheory.bandits import make_tree_mdp
    >>> tree = make_tree_mdp(3, 2, 1.0, q=5, s=4, k=2, random_state=0)
    >>> tree.mdp.optimal_value(), tree.eps, [f.shape for f in tree.features()]
    (1.0, 0.25, [(1, 2, 20), (2, 2, 20), (4, 2, 20)])
    """

    mdp: TabularMDP
    tables: tuple[BlockCodes, ...]
    path: IndexArray
    value: float
    eps: float
    n_nonzero: int

    def pairs(self) -> list[int]:
        """Return, for each level, the number of the pair of node and action that is on the path."""
        n_actions = self.mdp.rewards[0].shape[1]
        numbers, number = [], 0
        for action in self.path.tolist():
            number = number * n_actions + action
            numbers.append(number)
        return numbers

    def features(self, dtype: Any = np.float64) -> tuple[FloatArray, ...]:
        """Return features of each level as an array of shape (n_states, n_actions, n_features)."""
        return tuple(
            table.dense(dtype=dtype).reshape(*rewards.shape, -1)
            for table, rewards in zip(self.tables, self.mdp.rewards, strict=True)
        )

    def candidates(self) -> tuple[FloatArray, ...]:
        """Return the coefficients that explain each possible path, for each level: one of them is within `eps`."""
        return tuple(self.value * table.dense() for table in self.tables)


def make_tree_mdp(H: int, A: int, v: float, q: int, s: int, k: int, *, random_state: Any = None) -> TreeMDP:
    r"""Return a tree in which one of :math:`A^H` leaves pays, with the features of a code.

    At level h a pair of node and action is the string of actions that leads to it, a number below :math:`A^{h+1}`, and
    its features are those of the polynomial with that number in :func:`make_reed_solomon_needle`. Under any policy a
    pair on the path earns some x between 0 and v, and all others nothing. So x times the features of that pair explains
    a level up to :math:`x (k - 1) / s`.

    Parameters
    ----------
    H : int
        Number of levels.
    A : int
        Number of actions, at least 2.
    v : float
        The reward at the end of the path, above 0.
    q, s, k : int
        Size of the field, non-zeros and coefficients of a polynomial; q^k must be at least A^H.
    random_state : int, Generator or None
        Seed of the path, which is uniform.

    Returns
    -------
    TreeMDP

    Raises
    ------
    ValueError
        If there are fewer polynomials than leaves, or more than ten million leaves.

    Notes
    -----
    After Du, Kakade, Wang and Yang (2020, ICLR), with sparse features. A policy that loses less than v/2 chooses the
    leaf with probability above 1/2; n trajectories find it with probability at most (n + 1) / A^H. Takes
    :math:`O(A^H s)` time and memory.

    Examples
    --------
    >>> from sparsetheory.bandits import make_tree_mdp
    >>> len(make_tree_mdp(4, 3, 1.0, q=7, s=5, k=3, random_state=0).tables[3].codes)
    81
    """
    H, A = COUNT.check("H", H), Integer(2).check("A", A)
    v = POSITIVE.check("v", v)
    leaves = A**H
    if leaves > _MOST_LEAVES:
        raise ValueError(f"A ** H must be at most {_MOST_LEAVES}, the number of leaves; got {leaves}")
    table = code_words(q, s, k, leaves)
    rewards = [np.zeros((A**h, A)) for h in range(H)]
    path = generator(random_state).integers(A, size=H)
    leaf = 0
    for action in path.tolist():
        leaf = leaf * A + action
    rewards[-1].flat[leaf] = v
    # Pair i of a level leads to node i of the next one.
    transitions = [sparse.identity(A ** (h + 1), format="csr") for h in range(H - 1)]
    return TreeMDP(
        mdp=TabularMDP(rewards, transitions, np.ones(1)),
        tables=tuple(BlockCodes(table.codes[: A ** (h + 1)], table.block_size, False) for h in range(H)),
        path=path.astype(np.intp),
        value=v,
        eps=v * (int(k) - 1) / table.codes.shape[1],
        n_nonzero=table.codes.shape[1],
    )


@dataclass(frozen=True, eq=False)
class RandomMDP:
    """A random decision problem in which the values of best actions are sparse linear up to an error.

    Parameters
    ----------
    mdp : TabularMDP
    features : tuple of ndarray of shape (n_states, n_actions, n_features)
        Unit vectors, for each level.
    theta : tuple of ndarray of shape (n_features,)
        Coefficients of the values, for each level.
    candidates : tuple of ndarray of shape (n_candidates, n_features)
        Sparse unit vectors, for each level; `theta` is one of them.
    eps : float
        What best actions earn from then on is linear up to this.
    n_nonzero : int
        Non-zeros of the coefficients.

    Examples
    --------
    >>> from sparsetheory.bandits import make_random_mdp
    >>> instance = make_random_mdp(3, 5, 2, 6, 2, eps=0.1, random_state=0)
    >>> errors = [q - f @ t for q, f, t in zip(instance.mdp.optimal_q(), instance.features, instance.theta)]
    >>> max(float(abs(e).max()) for e in errors) <= 0.1 + 1e-12
    True
    """

    mdp: TabularMDP
    features: tuple[Float64Array, ...]
    theta: tuple[Float64Array, ...]
    candidates: tuple[Float64Array, ...]
    eps: float
    n_nonzero: int


def make_random_mdp(
    n_levels: int,
    n_states: int,
    n_actions: int,
    n_features: int,
    n_nonzero: int,
    eps: float,
    *,
    n_candidates: int = 50,
    random_state: Any = None,
) -> RandomMDP:
    r"""Return a random decision problem with sparse linear values up to an error of at most `eps`.

    Values :math:`Q^*_h = \phi_h \theta_h + \nu_h` are drawn first, and rewards are what makes them right:
    :math:`r_h = Q^*_h - P_h \max_a Q^*_{h+1}`. So values and rewards always agree.

    Parameters
    ----------
    n_levels, n_states, n_actions : int
        Sizes, the same in all levels.
    n_features : int
        Number of features.
    n_nonzero : int
        Non-zeros of the coefficients, from 1 to `n_features`; they have length one.
    eps : float
        Bound of the error, which is uniform, at least 0.
    n_candidates : int
        Wrong candidates for the coefficients of each level, at least 0.
    random_state : int, Generator or None
        Seed of everything.

    Returns
    -------
    RandomMDP

    Examples
    --------
    >>> from sparsetheory.bandits import make_random_mdp
    >>> [len(level) for level in make_random_mdp(2, 4, 3, 5, 1, 0.0, n_candidates=9).candidates]
    [10, 10]
    """
    COUNT.require(n_levels=n_levels, n_states=n_states, n_actions=n_actions)
    d = COUNT.check("n_features", n_features)
    s = Integer(1, d).check("n_nonzero", n_nonzero)
    eps, n_wrong = NONNEGATIVE.check("eps", eps), SIZE.check("n_candidates", n_candidates)
    rng = generator(random_state)
    features, theta, candidates, values = [], [], [], []
    for _ in range(n_levels):
        rows = rng.standard_normal((n_states, n_actions, d))
        features.append(rows / np.linalg.norm(rows, axis=2, keepdims=True))
        among = np.array([sparse_unit_vector(d, s, rng) for _ in range(n_wrong + 1)])
        candidates.append(among)
        theta.append(among[rng.integers(n_wrong + 1)])
        values.append(features[-1] @ theta[-1] + rng.uniform(-eps, eps, (n_states, n_actions)))
    transitions = [rng.dirichlet(np.full(n_states, 0.5), size=(n_states, n_actions)) for _ in range(n_levels - 1)]
    ahead = [P @ q.max(axis=1) for P, q in zip(transitions, values[1:], strict=True)]
    rewards = [q - later for q, later in zip(values, [*ahead, 0.0], strict=True)]
    mdp = TabularMDP(rewards, transitions, rng.dirichlet(np.ones(n_states)))
    return RandomMDP(mdp, tuple(features), tuple(theta), tuple(candidates), eps, s)
