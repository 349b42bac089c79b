"""Claims about elimination in phases: what its plays miss, with misspecification and with noise."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bandits import PhasedElimination, bounds
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.instances import SparseBandit, bandits, draw_bandit, fitted
from sparsetheory.proofs_checks.misspecified_bandits.sources import lattimore
from sparsetheory.proofs_checks.verdicts import Always, WithProbability

# Least squares in whitened coordinates; columns may be nearly copies, up to a thousandth.
_ROUNDING = 1e-8


@dataclass(frozen=True, eq=False)
class _Played:
    """A bandit, and an elimination that has played it."""

    bandit: SparseBandit
    horizon: int
    noise_std: float

    def __repr__(self) -> str:
        """Show what was played."""
        return f"{self.horizon} plays of {self.bandit} with noise {self.noise_std:g}"

    @cached_property
    def end(self) -> PhasedElimination:
        """The elimination at its end."""
        bandit = self.bandit
        strategy = PhasedElimination(self.horizon, noise_std=self.noise_std, norm_bound=bandit.norm_bound)
        return fitted(strategy, bandit.problem(self.noise_std))

    @property
    def regret(self) -> float:
        """What all plays missed."""
        rewards = self.bandit.rewards
        return float((rewards.max() - rewards[self.end.log_.actions]).sum())

    def formula(self, eps: float) -> float:
        """Return the bound of the theorem, for the phases as they were."""
        phases, bandit = self.end.phases_, self.bandit
        return bounds.phased_regret(
            self.horizon,
            bandit.features.shape[1],
            len(bandit.features),
            eps,
            self.noise_std,
            None,
            float(np.ptp(bandit.rewards)),
            plays=[phase.n_plays for phase in phases],
            ranks=[max(1, phase.rank) for phase in phases],
        ).regret

    def last_estimate(self) -> dict[str, float]:
        """Return the largest error of the last estimate, at the actions that it has left, and its bound."""
        complete = [phase for phase in self.end.phases_ if np.isfinite(phase.width)]
        if not complete:
            return {}
        left, last = self.end.active_, complete[-1]
        errors = np.abs(self.bandit.features[left] @ self.end.theta_ - self.bandit.linear[left])
        bound = 2 * self.bandit.eps * np.sqrt(last.rank) + last.width
        return {"error of the last phase": float(errors.max()), "its bound": float(bound)}

    def order(self) -> float:
        """Return the root of d n log(n K)."""
        K, d = self.bandit.features.shape
        return float(np.sqrt(d * self.horizon * np.log(self.horizon * K)))


def _without_noise() -> st.SearchStrategy[_Played]:
    return st.builds(_Played, bandits(max_features=6), st.sampled_from([1, 30, 200, 1500]), st.just(0.0))


def _exact(played: _Played, *, misspecified: bool = True) -> Measurement:
    """Compare the regret with the bound by what phases were in fact, and that with the formula.

    In a phase predictions err by b, eps times the amplification, which with rounded numbers of plays is at most twice
    the root of the rank. The best active action is dropped only for one that is at most 2 b worse, which stays. What
    stays is at most 2 b worse than the best that was active. So a play loses at most 2 b for each phase so far, and
    twice eps.
    """
    scale = played.horizon * played.bandit.scale
    if not misspecified:
        return Measurement(played.regret, played.formula(0.0), scale)
    further = {"by ranks": played.formula(played.bandit.eps)}
    return Measurement.chain(played.regret, played.end.regret_bound_, further, scale)


elimination_regret = Claim(
    name="misspecified_bandits.elimination_regret",
    summary="Without noise elimination loses at most eps times the root of the rank, per play and earlier phase.",
    statement=r"R_n \le U_1 R + \sum_{l > 1} U_l \min\Bigl\{R,\, 4 w_{l-1} + 4 \varepsilon \sum_{j < l} \sqrt{r_j}"
    r" + 2 \varepsilon\Bigr\}",
    source=Source.ours("phased elimination after Lattimore, Szepesvari and Weisz (2020); the constants are ours"),
    verdict=Always(_ROUNDING),
    instances=_without_noise,
    evaluate=_exact,
    # As if the first phase found the best actions.
    near_miss=lambda played: _exact(played, misspecified=False),
)


def _draw_noisy(rng: np.random.Generator, n: float) -> _Played:
    kind, error = str(rng.choice(["gauss", "correlated", "signs"])), str(rng.choice(["uniform", "adversarial"]))
    d, eps = int(rng.choice([2, 4, 8])), float(rng.choice([0.0, 0.02, 0.1]))
    bandit = draw_bandit(kind, error, 100, d, 2, eps, 1.0, int(rng.integers(2**32)))
    return _Played(bandit, int(n), float(rng.choice([0.3, 1.0])))


def _noisy(played: _Played, *, naive: bool = False) -> Measurement:
    r"""Compare the regret with both bounds, where there is noise.

    In each phase an estimate errs by more than its width, beside what misspecification adds, with a probability of at
    most :math:`2 K \alpha`, where :math:`\alpha = 1 / (K n)`. So all bounds hold at once with probability
    :math:`1 - 2 P / n` for P phases.
    """
    if naive:  # what the last phase knows, as if all plays had known it
        widths = [phase.width for phase in played.end.phases_ if np.isfinite(phase.width)]
        return Measurement(played.regret, played.horizon * widths[-1])
    by_ranks = played.formula(played.bandit.eps) * (1 + _ROUNDING)  # where all of it is the range of the rewards
    measurement = Measurement.chain(played.regret, played.end.regret_bound_, {"by ranks": by_ranks})
    return measurement.and_chain(played.last_estimate())


elimination_noise = Claim(
    name="misspecified_bandits.elimination_noise",
    summary="With noise the bound of regret of phased elimination holds, but for a probability of a few over n.",
    statement=r"P\bigl(R_n \le \mathrm{bound}\bigr) \ge 1 - 2P/n, \quad w_l = \sigma \sqrt{4 r_l \log(K n) / m_l}",
    source=Source.ours("phased elimination after Lattimore, Szepesvari and Weisz (2020); the constants are ours"),
    verdict=WithProbability(0.95),
    evaluate=_noisy,
    near_miss=lambda played: _noisy(played, naive=True),
    sweep=Sweep(
        axis="plays n",
        values=(1e3, 1e4, 1e5, 1e6),
        quick_values=(1e3, 1e4, 1e5),
        draw=_draw_noisy,
        trials=100,
        quick_trials=40,
        log="xy",
        measured_label="regret",
        bound_label="bound by its phases",
    ),
)


def _draw_sphere(rng: np.random.Generator, n: float) -> _Played:
    d, K = int(rng.choice([5, 10, 20])), int(rng.choice([200, 500, 1000]))
    bandit = draw_bandit("gauss", "none", K, d, d, 0.0, 1.0, int(rng.integers(2**32)))
    return _Played(bandit, int(n), 1.0)


def _ratio(played: _Played, order: float = 1.0) -> Measurement:
    ratio = played.regret / played.order() ** order
    return Measurement(ratio, 12.0).and_chain({"at least": 2.0, "regret over its order": ratio})


elimination_order = Claim(
    name="misspecified_bandits.elimination_order",
    summary="Without misspecification the regret is 2 to 12 times the root of d n log(n K).",
    statement=r"2 \le R_n / \sqrt{d n \log(n K)} \le 12, \quad \varepsilon = 0",
    source=lattimore("order of the regret; the constants are measured"),
    verdict=WithProbability(0.95, margin=0.15),
    evaluate=_ratio,
    # Any smaller power.
    near_miss=lambda played: _ratio(played, order=0.8),
    sweep=Sweep(
        axis="plays n",
        values=(1e4, 1e5, 1e6),
        quick_values=(1e4, 1e5),
        draw=_draw_sphere,
        trials=60,
        quick_trials=30,
        log="x",
        measured_label="regret over the root of d n log(n K)",
        bound_label="claimed",
    ),
)
