"""The claim that searches on means of noisy answers lose little more than those on exact ones."""

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from sparsetheory.bandits import (
    AdaptiveSupportSearch,
    OptimisticElimination,
    SupportDesignNet,
    SupportGreedy,
    SupportNetSearch,
)
from sparsetheory.bandits.algorithms.base import BanditAlgorithm
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.instances import SparseBandit, draw_bandit, fitted
from sparsetheory.proofs_checks.verdicts import WithProbability
from sparsetheory.typing import Float64Array

_DELTA = 0.05
_NAMES = ("net", "greedy", "design net", "adaptive", "optimistic")


@dataclass(frozen=True, eq=False)
class _Noisy:
    """A bandit, a search by name, and noise in units of how far means may be from the truth."""

    bandit: SparseBandit
    name: str
    ratio: float

    @property
    def width(self) -> float:
        """How far means may be from the truth."""
        return self.bandit.eps

    @property
    def noise_std(self) -> float:
        """Standard deviation of the noise."""
        return self.ratio * self.width

    @cached_property
    def end(self) -> BanditAlgorithm:
        """The search at its end."""
        bandit, s = self.bandit, self.bandit.n_nonzero
        terms: dict[str, Any] = {"eps": bandit.eps, "noise_std": self.noise_std, "delta": _DELTA}
        searches = {
            "net": lambda: SupportNetSearch(s, rho=0.3, **terms),
            "greedy": lambda: SupportGreedy(s, **terms),
            "design net": lambda: SupportDesignNet(s, **terms),
            "adaptive": lambda: AdaptiveSupportSearch(s, **terms),
            "optimistic": lambda: OptimisticElimination(self._candidates(), rho=0.1, **terms),
        }
        return fitted(searches[self.name](), bandit.problem(self.noise_std))

    def _candidates(self) -> Float64Array:
        rng = self.bandit.rng()
        other = rng.standard_normal((30, len(self.bandit.theta)))
        moved = rng.standard_normal(len(self.bandit.theta))
        near = self.bandit.theta + 0.1 * moved / np.linalg.norm(moved)
        return np.vstack([other / np.linalg.norm(other, axis=1, keepdims=True), near])


def _draw(rng: np.random.Generator, ratio: float) -> _Noisy:
    kind, error = str(rng.choice(["gauss", "correlated", "blocks"])), str(rng.choice(["uniform", "sign"]))
    bandit = draw_bandit(kind, error, 60, int(rng.integers(3, 7)), 2, 0.1, 1.0, int(rng.integers(2**32)))
    return _Noisy(bandit, str(rng.choice(_NAMES)), ratio)


def _means(noisy: _Noisy, share: float = 1.0) -> Measurement:
    r"""Compare the largest error of a mean with w, and the gap with the bound of the search on exact answers plus 2 w.

    A mean of m answers is within w except with probability :math:`2 \exp(-m w^2 / (2 \sigma^2))`. This is
    :math:`\delta / K` for :math:`m = \lceil 2 \sigma^2 \log(2K/\delta) / w^2 \rceil`, so a union over all actions
    covers whatever the search chooses to ask. Its answers are then within eps + w of a sparse linear function. It loses
    w where it takes a mean for the reward of the best action, and w where for that of its own.
    """
    end, rewards = noisy.end, noisy.bandit.rewards
    measured = float(np.abs(end.observed_ - rewards[end.queried_]).max())
    gap = float(rewards.max() - rewards[end.action_])
    return Measurement(measured, share * noisy.width).and_chain({"gap": gap, "bound of the gap": end.bound_})


noise_rule = Claim(
    name="misspecified_bandits.noise_rule",
    summary="If every action is asked about often enough, searches on means keep their bounds, in 95 of 100 cases.",
    statement=r"m = \lceil 2 \sigma^2 \log(2K/\delta) / w^2 \rceil \implies \max_{a \in Q} |\bar y_a - r_a| \le w,"
    r" \quad \max_a r_a - r_{\hat a} \le \mathrm{bound}(\varepsilon + w) + 2w",
    source=Source.ours("a union over all actions"),
    verdict=WithProbability(1 - _DELTA),
    evaluate=_means,
    # As if one mean were the only one.
    near_miss=lambda noisy: _means(noisy, share=0.45),
    sweep=Sweep(
        axis="noise over width",
        values=(0.5, 1.0, 3.0),
        draw=_draw,
        trials=200,
        quick_trials=60,
        log="x",
        measured_label="largest error of a mean",
        bound_label="w",
    ),
)
