"""Claims about least squares on a design of all features, where nothing has to be sparse."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.bandits import CoreSetBandit, bounds
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.instances import (
    Searched,
    SparseBandit,
    bandits,
    draw_bandit,
    fitted,
)
from sparsetheory.proofs_checks.misspecified_bandits.sources import lattimore
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.typing import Float64Array

# Least squares in whitened coordinates; columns may be nearly copies, up to a thousandth.
_ROUNDING = 1e-8


def _searches() -> st.SearchStrategy[Searched[CoreSetBandit]]:
    drawn = bandits(max_features=2) | bandits(max_features=10)
    return drawn.map(lambda bandit: Searched(bandit, CoreSetBandit()))


def _combinations(searched: Searched[CoreSetBandit]) -> tuple[Float64Array, Float64Array]:
    """Return how predictions of all actions combine the answers, and their leverages, by a pseudo-inverse."""
    design, features = searched.end.design_, searched.bandit.features
    roots = np.sqrt(design.weights)
    sizes = np.abs(features).max(axis=0)
    scaled = features / np.where(sizes > 0, sizes, 1.0)
    mixed = scaled @ np.linalg.pinv(roots[:, None] * scaled[design.support], rcond=1e-9)
    return mixed * roots, np.square(mixed).sum(axis=1)


def _error(searched: Searched[CoreSetBandit], share: float = 1.0) -> Measurement:
    r"""Compare the largest error of a prediction with eps times the amplification, and that with roots of leverages.

    The error at an action is :math:`\sum_c p_c \nu_c\, \phi_a^T V^{-1} \phi_c`. Errors of size eps with the signs of
    these products attain the amplification. By Jensen it is at most the root of
    :math:`\sum_c p_c (\phi_a^T V^{-1} \phi_c)^2`, which is the leverage.
    """
    bandit, end = searched.bandit, searched.end
    mixed, leverages = _combinations(searched)
    measured = float(np.abs(bandit.features @ end.theta_ - bandit.linear).max())
    amplified = bandit.eps * float(np.abs(mixed).sum(axis=1).max())
    further = {
        "root of the largest leverage": bandit.eps * float(np.sqrt(leverages.max())),
        "root of 2 rank": bandit.eps * float(np.sqrt(2 * end.design_.rank)),
    }
    return Measurement.chain(measured, share * amplified, further, bandit.scale)


one_shot_error = Claim(
    name="misspecified_bandits.one_shot_error",
    summary="Least squares on a design err by eps times the amplification, at most the root of twice the rank.",
    statement=r"|\phi_a^T (\hat\theta - \theta^*)| \le \varepsilon \max_a \sum_c p_c |\phi_a^T V^{-1} \phi_c|"
    r" \le \varepsilon \sqrt{g_{\max}} \le \varepsilon \sqrt{2r}",
    source=Source.ours("the amplification of a design; its root of the rank is that of Lattimore et al. (2020)"),
    verdict=Always(_ROUNDING),
    instances=_searches,
    evaluate=_error,
    near_miss=lambda searched: _error(searched, share=0.98),
)


def _gap(searched: Searched[CoreSetBandit], errors: float = 1.0) -> Measurement:
    """Compare the largest gap that unseen rewards can cause with that of the search, and with those of the theorem.

    The best prediction is at least that of the best action, both are wrong by at most eps times the amplification, and
    the two rewards by eps.
    """
    bandit, end = searched.bandit, searched.end
    further = {
        "by the largest leverage": bounds.one_shot(bandit.eps, end.design_.max_leverage),
        "by the rank": bounds.one_shot(bandit.eps, 2.0 * end.design_.rank),
    }
    bound = 2 * bandit.eps * (errors + end.amplification_)
    return Measurement.chain(searched.gap, min(bound, end.bound_), further, bandit.scale)


one_shot_gap = Claim(
    name="misspecified_bandits.one_shot_gap",
    summary="The best prediction of least squares on a design loses eps times the root of the dimension.",
    statement=r"\max_a r_a - r_{\hat a} \le 2\, \varepsilon\, (1 + \sqrt{g_{\max}})"
    r" \le 2\, \varepsilon\, (1 + \sqrt{2d})",
    source=lattimore("the positive result for bandits; the constants are ours"),
    verdict=Always(_ROUNDING),
    instances=_searches,
    evaluate=_gap,
    # Predictions err, and rewards do not.
    near_miss=lambda searched: _gap(searched, errors=0.0),
)


@dataclass(frozen=True, eq=False)
class _Noisy:
    """A bandit whose answers are noisy, and a number of plays."""

    bandit: SparseBandit
    plays: int

    @cached_property
    def end(self) -> CoreSetBandit:
        """The search at its end."""
        return fitted(CoreSetBandit(noise_std=1.0, reps=self.plays), self.bandit.problem(noise_std=1.0))


def _draw_noisy(rng: np.random.Generator, plays: float) -> _Noisy:
    kind, error = str(rng.choice(["gauss", "correlated", "signs"])), str(rng.choice(["uniform", "adversarial"]))
    bandit = draw_bandit(kind, error, 200, int(rng.integers(2, 9)), 2, 0.03, 1.0, int(rng.integers(2**32)))
    return _Noisy(bandit, int(plays))


def _noisy_error(noisy: _Noisy, *, all_plays: bool = False) -> Measurement:
    r"""Compare the largest error of a prediction with its bound, and the bound of the gap with one without the design.

    An answer is repeated :math:`\lceil m p_a \rceil` times. With N plays in all and their shares as weights, noise at
    an action is subgaussian of variance :math:`\sigma^2 g_a / N`, and a union over K actions costs the logarithm. As
    the plays are at least m p, :math:`g / N \le 2r/m`; and as rounding adds at most as many plays as a design has
    actions, fewer than m, misspecification costs at most twice the root of r.
    """
    bandit, end, delta = noisy.bandit, noisy.end, 0.05
    K, r = len(bandit.features), end.design_.rank
    union = 2 * np.log(2 * K / delta)
    leverage = 1.0 if all_plays else end.design_.max_leverage
    error = bandit.eps * end.amplification_ + np.sqrt(union * leverage / end.n_queries_)
    measured = float(np.abs(bandit.features @ end.theta_ - bandit.linear).max())
    gap = float(bandit.rewards.max() - bandit.rewards[end.action_])
    worst = 2 * (bandit.eps * (1 + 2 * np.sqrt(r)) + np.sqrt(2 * r / noisy.plays * union))
    return Measurement(measured, error).and_chain({"gap": gap, "bound of the gap": end.bound_, "by the rank": worst})


one_shot_noise = Claim(
    name="misspecified_bandits.one_shot_noise",
    summary="With noise least squares err by the root of leverage over plays more, in 95 of 100 experiments.",
    statement=r"|\phi_a^T (\hat\theta - \theta^*)| \le \varepsilon A + \sigma \sqrt{2 \log(2K/\delta)\, g_{\max} / N}"
    r" \text{ for all } a, \text{ with probability } 1 - \delta",
    source=Source.ours("least squares weighted by numbers of plays, and a union over actions"),
    verdict=WithProbability(0.95),
    evaluate=_noisy_error,
    # Noise of the mean of all plays, as if there were one coefficient.
    near_miss=lambda noisy: _noisy_error(noisy, all_plays=True),
    sweep=Sweep(
        axis="plays m",
        values=(100.0, 1000.0, 10_000.0),
        draw=_draw_noisy,
        trials=200,
        quick_trials=40,
        log="xy",
        measured_label="largest error",
        bound_label="bound of the error",
        y_label="error of predictions",
    ),
)
