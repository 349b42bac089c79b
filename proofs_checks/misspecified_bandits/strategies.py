"""Claims about explore-then-commit and about optimism: what all their plays miss."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from sparsetheory.bandits import ESTC, LinUCB
from sparsetheory.bandits.strategies.horizon import HorizonStrategy
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.instances import SparseBandit, draw_bandit, fitted
from sparsetheory.proofs_checks.misspecified_bandits.sources import hao
from sparsetheory.proofs_checks.verdicts import ScalesAs, WithProbability


@dataclass(frozen=True, eq=False)
class _Played:
    """A bandit, and how a strategy with unit noise plays it."""

    bandit: SparseBandit
    horizon: int
    kind: type[HorizonStrategy]

    @cached_property
    def end(self) -> HorizonStrategy:
        """The strategy at its end."""
        bandit = self.bandit
        strategies: dict[type[HorizonStrategy], Callable[[], HorizonStrategy]] = {
            ESTC: lambda: ESTC(bandit.n_nonzero, horizon=self.horizon, random_state=bandit.seed),
            LinUCB: lambda: LinUCB(self.horizon, norm_bound=bandit.norm_bound),
        }
        return fitted(strategies[self.kind](), bandit.problem(noise_std=1.0))

    @property
    def regret(self) -> float:
        """What all plays missed."""
        rewards = self.bandit.rewards
        return float((rewards.max() - rewards[self.end.log_.actions]).sum())


def _draw_signs(rng: np.random.Generator, n: float) -> _Played:
    bandit = draw_bandit("signs", "none", 200, 10, 2, 0.0, 1.0, int(rng.integers(2**32)))
    return _Played(bandit, int(n), ESTC)


def _exponent(played: _Played, power: float = 1.0) -> Measurement:
    """Take the regret; nearly all of it is that of the exploration."""
    return Measurement(played.regret**power, float(played.horizon))


commitment_exponent = Claim(
    name="misspecified_bandits.commitment_exponent",
    summary="The regret of explore-then-commit grows like n to the power 2/3.",
    statement=r"R_n \sim n^{2/3 \pm 0.06}, \quad \varepsilon = 0",
    source=hao("regret of order n^{2/3} of explore-then-commit"),
    verdict=ScalesAs(2 / 3, 0.06),
    evaluate=_exponent,
    # The root, which is the rate of dense methods.
    near_miss=lambda played: _exponent(played, power=0.75),
    sweep=Sweep(
        axis="plays n",
        values=(1e3, 1e4, 1e5, 1e6),
        draw=_draw_signs,
        trials=30,
        quick_trials=12,
        log="xy",
        measured_label="regret",
        bound_label="plays",
    ),
)


def _draw_any(kind: type[HorizonStrategy]) -> Callable[[np.random.Generator, float], _Played]:
    def draw(rng: np.random.Generator, n: float) -> _Played:
        features, error = str(rng.choice(["gauss", "signs"])), str(rng.choice(["uniform", "confusing"]))
        eps = float(rng.choice([0.0, 0.02, 0.1]))
        return _Played(draw_bandit(features, error, 100, 5, 2, eps, 1.0, int(rng.integers(2**32))), int(n), kind)

    return draw


def _committed(played: _Played, share: float = 1.0) -> Measurement:
    r"""Compare the regret with all the exploration can miss and, for each later play, what the estimate is proved to.

    The smallest eigenvalue of the explored second moments bounds the error of the Lasso, whose penalty need not exceed
    the noise for this, and a greedy action loses twice that and twice eps.
    """
    end = played.end
    assert isinstance(end, ESTC)
    explored = end.n_explored_ * float(np.ptp(played.bandit.rewards))
    bound = end.regret_bound_ if share == 1.0 else share * explored
    return Measurement(played.regret, bound, extras={"exploration": explored})


commitment_regret = Claim(
    name="misspecified_bandits.commitment_regret",
    summary="Explore-then-commit loses the range of rewards while it explores, then what its estimate proves.",
    statement=r"R_n \le n_1 R + (n - n_1) \bigl(2 \varepsilon + 2 \max_a |\phi_a^T (\hat\theta - \theta^*)|\bigr)"
    r" \text{ with probability } 1 - \delta",
    source=Source.ours("explore-then-commit with what its regression proves"),
    verdict=WithProbability(0.95),
    evaluate=_committed,
    # Exploring misses a third of the range.
    near_miss=lambda played: _committed(played, share=1 / 3),
    sweep=Sweep(
        axis="plays n",
        values=(1e3, 1e4, 1e5),
        draw=_draw_any(ESTC),
        trials=100,
        quick_trials=30,
        log="xy",
        measured_label="regret",
        bound_label="bound",
    ),
)


def _optimistic(played: _Played, *, learning: bool = True) -> Measurement:
    r"""Compare the regret with twice the lengths of the intervals of the actions that were played, and 2 eps a play.

    With probability :math:`1 - \delta` all rewards lie in their intervals at all times: noise moves least squares by at
    most the radius of the ellipsoid in its metric, and misspecification by :math:`eps\, t^{1/2}`. The action played has
    the largest upper end, so it misses at most the length of its own interval.
    """
    paid = 2 * played.bandit.eps * played.horizon
    return Measurement(played.regret, played.end.regret_bound_ if learning else paid, extras={"2 eps n": paid})


optimism_regret = Claim(
    name="misspecified_bandits.optimism_regret",
    summary="The regret of LinUCB is at most the sum of its intervals, if they allow for the misspecification.",
    statement=r"R_n \le \sum_t 2 \bigl(\beta_t + \varepsilon \sqrt t\bigr) \|\phi_{a_t}\|_{V_t^{-1}} + 2 \varepsilon n"
    r" \text{ with probability } 1 - \delta",
    source=Source.ours("ellipsoids of Abbasi-Yadkori et al. (2011), inflated as by Lattimore et al. (2020)"),
    verdict=WithProbability(0.95),
    evaluate=_optimistic,
    # Misspecification is all that costs.
    near_miss=lambda played: _optimistic(played, learning=False),
    sweep=Sweep(
        axis="plays n",
        values=(100.0, 1000.0, 4000.0),
        quick_values=(100.0, 1000.0),
        draw=_draw_any(LinUCB),
        trials=60,
        quick_trials=40,
        log="xy",
        measured_label="regret",
        bound_label="bound",
    ),
)
