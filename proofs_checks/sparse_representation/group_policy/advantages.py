"""Claims about rewards of prefixes and advantages within groups that hold exactly."""

from dataclasses import dataclass
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from hypothesis import strategies as st

from sparsetheory.gpu import representation
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source
from sparsetheory.proofs_checks.layerwise_pruning.tensors import array, tensor
from sparsetheory.proofs_checks.verdicts import Always
from sparsetheory.typing import Float64Array

_PAPER = ("Hong et al., Generative Reasoning Recommendation via LLMs, 2025", "2510.20815")
# What the authors add to standard deviations.
_EPS = 1e-6
_LEVELS = (0.0, 0.5, 0.707, 0.866, 0.95, 1.0)


@dataclass(frozen=True)
class Answers:
    """Which answers of a group are right, and how many are drawn from it."""

    hits: tuple[bool, ...]
    n_pass: int

    @property
    def bonus(self) -> Float64Array:
        """The bonus of each answer."""
        hits = tensor(self.hits)
        return array(representation.pass_bonus(hits, hits.long() * 0, self.n_pass))

    def expected(self) -> Float64Array:
        """Return the mean, over all subsets with an answer, of whether one is right, in units of its spread."""
        n, k = len(self.hits), self.n_pass
        subsets = list(combinations(range(n), k))
        right = np.array([any(self.hits[i] for i in subset) for subset in subsets], dtype=float)
        scores = (right - right.mean()) / (right.std() + _EPS)
        members = np.array([[i in subset for subset in subsets] for i in range(n)])
        return np.asarray(members @ scores / members.sum(1))


@st.composite
def _answers(draw: st.DrawFn) -> Answers:
    hits = draw(st.lists(st.booleans(), min_size=2, max_size=9))
    return Answers(tuple(hits), draw(st.integers(1, len(hits))))


def _expectation(case: Answers) -> Measurement:
    """Compare the bonus with an enumeration of all subsets."""
    return Measurement.worst(np.abs(case.bonus - case.expected()), 0.0, scale=1.0)


def _all_others(case: Answers) -> Measurement:
    """Count the subsets without a hit for an answer that is not right as if it were not among those to draw from."""
    n, c, k = len(case.hits), sum(case.hits), case.n_pass
    none = comb(n - c, k) / comb(n, k)
    spread = np.sqrt(none * (1 - none)) + _EPS
    bonus = np.where(case.hits, none / spread, (none - comb(n - c, k - 1) / comb(n - 1, k - 1)) / spread)
    return Measurement.worst(np.abs(bonus - case.expected()), 0.0, scale=1.0)


pass_bonus_is_expectation = Claim(
    name="sparse_representation.pass_bonus_is_expectation",
    summary="The bonus of an answer is the mean score of all subsets of k answers with it, by whether one is right.",
    statement=r"b_i = \mathbb E_{S \ni i, |S| = k} \frac{1(S \cap \text{hits} \ne \emptyset) - \rho}{\sigma + 10^{-6}},"
    r" \quad \rho = 1 - \binom{n - c}{k} / \binom{n}{k}",
    source=Source(_PAPER[0], "bonus of the advantage, as released", _PAPER[1], provenance="authors' code"),
    verdict=Always(rtol=1e-9),
    instances=_answers,
    evaluate=_expectation,
    near_miss=_all_others,
)


@dataclass(frozen=True)
class Group:
    """Rewards of the answers to one question, each by its number among the levels of a reward."""

    levels: tuple[int, ...]

    def advantages(self, shift: float = 0.0, factor: float = 1.0, bonus: bool = True) -> Float64Array:
        """Return advantages of rewards that are shifted and scaled, with the hits of those before."""
        levels = np.array(self.levels)
        rewards = tensor(factor * np.array(_LEVELS)[levels] + shift)
        hits = tensor(levels == len(_LEVELS) - 1)
        return array(representation.group_advantage(rewards, hits.long() * 0, hits, bonus=bonus))


def _groups() -> st.SearchStrategy[Group]:
    levels = st.integers(0, len(_LEVELS) - 1)
    equal = st.builds(lambda level, n: (level,) * n, levels, st.integers(4, 12))
    return st.builds(Group, st.lists(levels, min_size=4, max_size=12).map(tuple) | equal)


def _identities(case: Group) -> Measurement:
    """Collect sums, which are 0, changes by shift and scale, which are small, and groups without a lesson."""
    scores, total = case.advantages(bonus=False), case.advantages()
    shifted, scaled = case.advantages(shift=3.0), case.advantages(factor=7.0)
    spread = float(np.std(np.array(_LEVELS)[list(case.levels)], ddof=1))
    largest = float(np.abs(scores).max())
    # A scale changes what the constant beside the standard deviation weighs.
    allowed = 2 * _EPS / spread * largest if spread else 0.0
    same = len(set(case.levels)) == 1
    zeros = float(np.abs(total).max()) if same else 0.0
    left = [abs(scores.sum()), abs(total.sum()), *np.abs(shifted - total), *np.abs(scaled - total), zeros]
    return Measurement.worst(left, [0.0, 0.0, *np.zeros(len(total)), *np.full(len(total), allowed), 0.0], scale=1.0)


def _plain_mean(case: Group) -> Measurement:
    """Trust the mean of equal rewards, whose rounding is divided by 1e-6, in single precision as on a device."""
    rewards = (np.array(_LEVELS)[list(case.levels)] + 3.0).astype(np.float32)
    scores = (rewards - np.float32(rewards.sum() / np.float32(len(rewards)))) / (rewards.std(ddof=1) + np.float32(_EPS))
    return Measurement(float(abs(scores.sum())), 0.0, scale=1.0)


advantage_identities = Claim(
    name="sparse_representation.advantage_identities",
    summary="Advantages of a group add up to 0, ignore shift and scale of rewards, and vanish where all are equal.",
    statement=r"\sum_i A_i = 0, \quad A(r + t) = A(r), \quad |A(a r) - A(r)| \le 2 \cdot 10^{-6}\, |z| / s, \quad"
    r" r_i \equiv r_1 \implies A = 0",
    source=Source(_PAPER[0], "advantages of a group, as released", _PAPER[1], provenance="authors' code"),
    verdict=Always(rtol=1e-9),
    instances=_groups,
    evaluate=_identities,
    near_miss=_plain_mean,
)


@dataclass(frozen=True)
class Codes:
    """A code, the right one, and the place up to which a second code agrees with the right one further."""

    given: tuple[int, ...]
    target: tuple[int, ...]

    def rewards(self) -> Float64Array:
        """Return the rewards of codes that begin as the right one for longer and longer, and go on as given."""
        n = len(self.target)
        rows = [(*self.target[:k], *self.given[k:]) for k in range(n + 1)]
        return array(representation.prefix_reward(tensor(rows), tensor(self.target)).double())

    def lengths(self) -> list[int]:
        """Return how long each of these codes agrees with the right one, counted one by one."""
        found = []
        for k in range(len(self.target) + 1):
            row, length = (*self.target[:k], *self.given[k:]), 0
            while length < len(row) and row[length] == self.target[length]:
                length += 1
            found.append(length)
        return found


@st.composite
def _codes(draw: st.DrawFn) -> Codes:
    n = draw(st.sampled_from((4, 5)))
    code = st.tuples(*[st.integers(0, 2)] * n)
    return Codes(draw(code), draw(code))


def _expected(length: int, n: int) -> float:
    """Return the root of the share of the four codes, to three digits; 0.95 for a wrong running number."""
    return 1.0 if length == n else 0.95 if length == 4 else round((length / 4) ** 0.5, 3)


def _rewarded(case: Codes) -> Measurement:
    """Compare with the definition, and later rewards with earlier ones."""
    rewards, n = case.rewards(), len(case.target)
    off = np.abs(rewards - [_expected(length, n) for length in case.lengths()])
    return Measurement.worst([*off, *rewards[:-1]], [*(0 * off), *rewards[1:]], scale=1.0)


def _any_place(case: Codes) -> Measurement:
    """Count codes that agree at any place, not only before the first that does not."""
    n, rows = len(case.target), [(*case.target[:k], *case.given[k:]) for k in range(len(case.target) + 1)]
    counts = [sum(a == b for a, b in zip(row, case.target, strict=True)) for row in rows]
    return Measurement.worst(np.abs(case.rewards() - [_expected(count, n) for count in counts]), 0.0, scale=1.0)


prefix_rewards = Claim(
    name="sparse_representation.prefix_rewards",
    summary="The reward of a code never falls as more of its beginning is right, and takes six values.",
    statement=r"r = \text{round}_3 \sqrt{l / 4} \; (l \le 3), \quad 0.95 \; (l = 4 \text{ and not all}), \quad"
    r" 1 \; (\text{all}); \quad l \le l' \implies r \le r'",
    source=Source(_PAPER[0], "reward of residual codes, as released", _PAPER[1], provenance="authors' code"),
    verdict=Always(rtol=1e-6),
    instances=_codes,
    evaluate=_rewarded,
    near_miss=_any_place,
)


@dataclass(frozen=True)
class Vectors:
    """Vectors of items by a seed, and how they are coded."""

    seed: int
    n_samples: int
    n_codes: int
    balanced: bool

    def coded(self) -> tuple[Any, Any]:
        """Return the vectors, and their codes of three levels."""
        rng = np.random.default_rng(self.seed)
        X = tensor(rng.standard_normal((self.n_samples, 3)) * [3.0, 1.0, 0.3] + 1.0)
        return X, representation.residual_codes(X, 3, self.n_codes, self.balanced, generator=self.seed % 1000)


@st.composite
def _vectors(draw: st.DrawFn) -> Vectors:
    n = draw(st.integers(4, 40))
    return Vectors(draw(st.integers(0, 2**32 - 1)), n, draw(st.integers(1, min(n, 7))), draw(st.booleans()))


def _residuals(case: Vectors) -> list[Float64Array]:
    """Return the squared lengths of what is left of each vector, before and after each level, from codes alone."""
    X, found = case.coded()
    levels = [found.centroids[level][found.codes[:, level]] for level in range(3)]
    left = [X, X - levels[0], X - levels[0] - levels[1], X - found.decode(found.codes)]
    return [array(part.square().sum(1)) for part in left]


def _mean_falls(case: Vectors) -> Measurement:
    """Compare mean squares after each level with those before."""
    means = [float(squares.mean()) for squares in _residuals(case)]
    return Measurement.worst(means[1:], means[:-1], scale=means[0])


def _each_falls(case: Vectors) -> Measurement:
    """Expect the same of every vector."""
    squares = _residuals(case)
    return Measurement.worst(np.concatenate(squares[1:]), np.concatenate(squares[:-1]), scale=float(squares[0].mean()))


residual_codes_improve = Claim(
    name="sparse_representation.residual_codes_improve",
    summary="Every level of residual codes lowers the mean squared error, also with clusters of equal size.",
    statement=r"c_s = \text{mean of } R_l \text{ over cluster } s \implies"
    r" \tfrac1n \|R_{l+1}\|_F^2 \le \tfrac1n \|R_l\|_F^2",
    source=Source.ours("the mean of a cluster is nearer to its points than the origin, in the mean of squares"),
    verdict=Always(rtol=1e-12),
    instances=_vectors,
    evaluate=_mean_falls,
    near_miss=_each_falls,
)
