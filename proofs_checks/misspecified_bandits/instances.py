"""Sparse bandits that are small and adversarial, and the worst that their unseen rewards can do to a search."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import Generic, TypeVar

import numpy as np
from hypothesis import strategies as st
from sklearn.base import clone

from sparsetheory.bandits import LinearBanditProblem, VacuousBoundWarning, make_reed_solomon_needle
from sparsetheory.bandits.algorithms.base import BanditAlgorithm
from sparsetheory.bandits.environments.misspecified import adversarial_error, confusing_error, sparse_unit_vector
from sparsetheory.typing import Float64Array, IndexArray

__all__ = [
    "KINDS",
    "Searched",
    "SparseBandit",
    "bandits",
    "draw_bandit",
    "draw_rows",
    "fitted",
    "seeds",
    "whatever_the_bound",
]

KINDS = ("gauss", "correlated", "blocks", "signs", "integers", "copies", "near copies", "units", "low rank", "code")
_ERRORS = ("uniform", "sign", "adversarial", "confusing", "low", "none")

T = TypeVar("T", bound=BanditAlgorithm)

seeds = st.integers(0, 2**32 - 1)


@dataclass(frozen=True, eq=False)
class SparseBandit:
    """Rewards that are a sparse linear function of the features, up to an error.

    Parameters
    ----------
    features : ndarray of shape (n_actions, n_features)
    theta : ndarray of shape (n_features,)
        Coefficients.
    error : ndarray of shape (n_actions,)
    eps : float
        No entry of the error is larger.
    n_nonzero : int
        Non-zeros that a search is told, at least those of `theta`.
    kind : str
        How it was drawn.
    seed : int
        Seed of whatever a claim draws besides.
    """

    features: Float64Array
    theta: Float64Array
    error: Float64Array
    eps: float
    n_nonzero: int
    kind: str
    seed: int

    def __repr__(self) -> str:
        """Show shapes and sizes: arrays would fill the screen."""
        K, d = self.features.shape
        return f"SparseBandit({self.kind}, K={K}, d={d}, s={self.n_nonzero}, eps={self.eps:.3g}, seed={self.seed})"

    @cached_property
    def linear(self) -> Float64Array:
        """The linear function."""
        return self.features @ self.theta

    @cached_property
    def rewards(self) -> Float64Array:
        """Mean rewards."""
        return self.linear + self.error

    @property
    def true_support(self) -> IndexArray:
        """Features with a coefficient that is not zero."""
        return np.flatnonzero(self.theta)

    @property
    def norm_bound(self) -> float:
        """Length of the coefficients, or 1 if they are all zero."""
        return float(np.linalg.norm(self.theta)) or 1.0

    @property
    def longest(self) -> float:
        """Length of the longest row."""
        return float(np.linalg.norm(self.features, axis=1).max())

    @property
    def scale(self) -> float:
        """Size of the terms that add up to rewards, which rounding is relative to."""
        return float((np.abs(self.features) @ np.abs(self.theta)).max()) + self.eps

    def rng(self) -> np.random.Generator:
        """Return a fresh generator; the same one each time."""
        return np.random.default_rng(self.seed)

    def problem(self, noise_std: float = 0.0) -> LinearBanditProblem:
        """Return the problem that a search is given."""
        return LinearBanditProblem(
            self.features, self.rewards, eps=self.eps, noise_std=noise_std, random_state=self.seed
        )

    def worst_gap(self, queried: IndexArray, action: int) -> float:
        """Return the largest gap of an action that rewards can have which agree with the answers.

        A search whose next query depends on answers alone does the same on all these rewards. So a theorem about every
        bounded error is a theorem about this number: unseen rewards are as large as the error allows, and that of the
        action, if it was not queried, as small.
        """
        rewards = self.linear + self.eps
        rewards[queried] = self.rewards[queried]
        own = self.rewards[action] if action in queried else self.linear[action] - self.eps
        return float(max(np.delete(rewards, action).max(initial=-np.inf), own) - own)


def fitted(search: T, problem: LinearBanditProblem, budget: int | None = None) -> T:
    """Fit a search, however little its bound says."""
    with whatever_the_bound():
        return search.fit(problem, budget=budget)


@contextmanager
def whatever_the_bound() -> Iterator[None]:
    """Let searches end without a warning that their bounds say nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", VacuousBoundWarning)
        yield


@dataclass(frozen=True, eq=False)
class Searched(Generic[T]):
    """A bandit, and a search of it.

    Parameters
    ----------
    bandit : SparseBandit
    search : BanditAlgorithm
        Not fitted; copies of it are.
    """

    bandit: SparseBandit
    search: T

    def __repr__(self) -> str:
        """Show what is searched, and how."""
        return f"{self.search} of {self.bandit}"

    @cached_property
    def end(self) -> T:
        """The search at its end."""
        return fitted(clone(self.search), self.bandit.problem())

    @cached_property
    def gap(self) -> float:
        """The largest gap of its answer that unseen rewards can cause."""
        return self.bandit.worst_gap(self.end.queried_, self.end.action_)


def draw_rows(kind: str, K: int, d: int, s: int, rng: np.random.Generator) -> Float64Array:
    """Draw features of length about one."""
    X = rng.standard_normal((K, d))
    if kind == "correlated":
        X += 2 * rng.standard_normal((K, 1))
    elif kind == "signs":
        return rng.choice([-1.0, 1.0], (K, d))
    elif kind == "integers":
        return rng.integers(-2, 3, (K, d)).astype(float)
    elif kind == "blocks":
        X = np.zeros((K, d))
        X[np.arange(K)[:, None], rng.integers(0, d, (K, s))] = s**-0.5
        return X
    elif kind == "copies":
        X[:, d // 2 :] = X[:, : d - d // 2]
        X = X[rng.integers(0, max(1, K // 2), K)]
    elif kind == "low rank":
        X = X[:, : max(1, d // 2)] @ rng.standard_normal((max(1, d // 2), d))
    return np.asarray(X / np.linalg.norm(X, axis=1, keepdims=True))


def _coefficients(kind: str, X: Float64Array, s: int, rng: np.random.Generator) -> Float64Array:
    """Draw coefficients; those of near copies cancel, and those of features in other units undo them."""
    d = X.shape[1]
    theta = sparse_unit_vector(d, s, rng)
    used = np.flatnonzero(theta)
    if kind == "near copies" and s > 1:
        distance = 10.0 ** rng.uniform(-3, -1)
        X[:, used[1]] = X[:, used[0]] + distance * X[:, used[1]]
        theta[used[:2]] = np.array([1.0, -1.0]) / distance + theta[used[:2]]
    elif kind == "units":
        units = 10.0 ** rng.integers(-3, 4, d)
        X *= units
        theta /= units
    return theta


def _error(name: str, X: Float64Array, s: int, eps: float, rng: np.random.Generator) -> Float64Array:
    K = len(X)
    if eps == 0 or name == "none" or not X.any():
        return np.zeros(K)
    if name == "adversarial":
        return adversarial_error(X, eps)
    if name == "confusing" and len(X) > 1 and 2 * s <= X.shape[1]:
        return confusing_error(X, s, eps, rng)
    if name == "sign":
        return eps * rng.choice([-1.0, 1.0], K)
    return np.full(K, -eps) if name == "low" else rng.uniform(-eps, eps, K)


def _code(seed: int) -> SparseBandit:
    rng = np.random.default_rng(seed)
    q, s, k = [(3, 2, 2), (3, 3, 2), (5, 2, 2)][rng.integers(3)]
    needle = make_reed_solomon_needle(q, s, k, centred=bool(rng.random() < 0.5), random_state=rng)
    error = needle.rewards - needle.linear_rewards()
    return SparseBandit(needle.features().astype(np.float64), needle.theta, error, needle.eps, s, "code", seed)


def draw_bandit(kind: str, error: str, K: int, d: int, s: int, eps: float, size: float, seed: int) -> SparseBandit:
    """Draw a bandit.

    Parameters
    ----------
    kind : str
        One of :data:`KINDS`; a code is a needle among Reed-Solomon codes, of a few sizes of its own.
    error : str
        "uniform", "sign", "adversarial" to least squares, "confusing" with another sparse function, "low" everywhere,
        or "none" at all.
    K, d, s : int
        Actions, features and non-zeros.
    eps : float
        Largest error, in units of `size`.
    size : float
        Length of the coefficients.
    seed : int

    Returns
    -------
    SparseBandit
    """
    if kind == "code":
        return _code(seed)
    rng, s = np.random.default_rng(seed), min(s, d)
    X = draw_rows(kind, K, d, s, rng)
    if not X.any():
        X[0, 0] = 1.0
    theta = size * _coefficients(kind, X, s, rng)
    return SparseBandit(X, theta, _error(error, X, s, eps * size, rng), eps * size, s, kind, seed)


def bandits(
    kinds: tuple[str, ...] = KINDS, *, max_actions: int = 60, max_nonzero: int = 3, max_features: int = 7
) -> st.SearchStrategy[SparseBandit]:
    """Search bandits of every kind, with and without error.

    Parameters
    ----------
    kinds : tuple of str
        Kinds of features.
    max_actions, max_nonzero, max_features : int
        Largest sizes.
    """
    return st.builds(
        draw_bandit,
        st.sampled_from(kinds),
        st.sampled_from(_ERRORS),
        st.integers(2, max_actions),
        st.integers(1, max_features),
        st.integers(1, max_nonzero),
        st.sampled_from([0.0, 1e-6, 0.01, 0.1, 0.3, 1.0]),
        st.sampled_from([1e-3, 1.0, 30.0]),
        seeds,
    )
