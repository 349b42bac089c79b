"""Claims about what noisy answers prove: of the gap at any time, and of the misspecification."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from sparsetheory.bandits import (
    ESTC,
    AdaptiveSupportSearch,
    CoreSetBandit,
    LinUCB,
    PhasedElimination,
    SparseRegressionBandit,
    SupportDesignNet,
    SupportNetSearch,
    estimate_eps,
)
from sparsetheory.bandits.algorithms.base import BanditAlgorithm
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.misspecified_bandits.instances import SparseBandit, draw_bandit, whatever_the_bound
from sparsetheory.proofs_checks.verdicts import WithProbability

_DELTA = 0.05
# How often a search is looked at, at its end included.
_LOOKS = 8

_SEARCHES: tuple[Callable[[SparseBandit, float], BanditAlgorithm], ...] = (
    lambda bandit, sigma: CoreSetBandit(eps=bandit.eps, noise_std=sigma, delta=_DELTA),
    lambda bandit, sigma: SupportNetSearch(2, eps=bandit.eps, rho=0.5, noise_std=sigma, delta=_DELTA),
    lambda bandit, sigma: SupportDesignNet(2, eps=bandit.eps, noise_std=sigma, delta=_DELTA),
    lambda bandit, sigma: AdaptiveSupportSearch(2, eps=bandit.eps, noise_std=sigma, delta=_DELTA),
    lambda bandit, sigma: SparseRegressionBandit(
        2, eps=bandit.eps, noise_std=sigma, delta=_DELTA, n_samples=60, random_state=bandit.seed
    ),
    lambda bandit, sigma: PhasedElimination(2000, noise_std=sigma, eps=bandit.eps, alpha=1e-4),
    lambda bandit, sigma: ESTC(2, horizon=400, noise_std=sigma, eps=bandit.eps, delta=_DELTA, random_state=bandit.seed),
    lambda bandit, sigma: LinUCB(200, noise_std=sigma, eps=bandit.eps, delta=_DELTA),
)


@dataclass(frozen=True, eq=False)
class _Noisy:
    """A bandit with noisy answers, and the number of a search."""

    bandit: SparseBandit
    noise_std: float
    which: int

    def looks(self) -> list[tuple[float, float]]:
        """Return gaps of the action that is best so far and what is proved of them, whenever something is."""
        search = _SEARCHES[self.which](self.bandit, self.noise_std).start(self.bandit.features)
        problem = self.bandit.problem(self.noise_std)
        looks: list[tuple[float, float]] = []
        while (actions := search.ask()).size:
            for part in np.array_split(actions, min(len(actions), _LOOKS)):
                with whatever_the_bound():
                    search.tell(part, problem.query(part))
            if search.finished_ or len(looks) < _LOOKS:
                certificate = search.certificate_ if search.finished_ else search.certify()
                assert hasattr(certificate, "action")
                looks.append((problem.gap(certificate.action), certificate.bound))
        return [look for look in looks if np.isfinite(look[1])]


def _draw(rng: np.random.Generator, which: float) -> _Noisy:
    kind, error = str(rng.choice(["gauss", "signs", "blocks"])), str(rng.choice(["uniform", "sign", "confusing"]))
    bandit = draw_bandit(kind, error, 40, 5, 2, 0.1, 1.0, int(rng.integers(2**32)))
    return _Noisy(bandit, float(rng.choice([0.05, 0.2])), int(which))


def _proved(noisy: _Noisy, *, nothing: bool = False) -> Measurement:
    """Compare the gap of the action that is best so far with what is proved of it, at several times at once.

    The events that certificates rely on, that means or estimates are within their widths, hold at all times together
    except with the stated probability; then all certificates of a search are right. The searches are, in this order:
    CoreSetBandit, SupportNetSearch, SupportDesignNet, AdaptiveSupportSearch, SparseRegressionBandit,
    PhasedElimination, ESTC and LinUCB.
    """
    gaps, bounds = np.array(noisy.looks()).reshape(-1, 2).T
    return Measurement.worst(gaps, 0.0 * bounds if nothing else bounds)


certificate_with_noise = Claim(
    name="misspecified_bandits.certificate_with_noise",
    summary="With noise all certificates of a search hold at once, in 95 of 100 cases.",
    statement=r"P\Bigl(\max_a r_a - r_{\hat a_t} \le \mathrm{bound}_t \text{ for all } t\Bigr) \ge 1 - \delta",
    source=Source.ours("certificates of all searches and strategies, on one event"),
    verdict=WithProbability(1 - _DELTA, margin=0.15),
    evaluate=_proved,
    # The action that is best so far is the best one.
    near_miss=lambda noisy: _proved(noisy, nothing=True),
    sweep=Sweep(
        axis="number of the search",
        values=tuple(float(which) for which in range(len(_SEARCHES))),
        draw=_draw,
        trials=200,
        quick_trials=22,
        measured_label="gap that is nearest to its bound",
        bound_label="what is proved",
        y_label="gap",
    ),
)


def _draw_answers(rng: np.random.Generator, n: float) -> tuple[SparseBandit, int]:
    error = str(rng.choice(["uniform", "sign"]))
    bandit = draw_bandit("gauss", error, int(n), 5, 2, float(rng.choice([0.0, 0.3])), 1.0, int(rng.integers(2**32)))
    return bandit, int(rng.integers(2**32))


def _lower_bound(drawn: tuple[SparseBandit, int], *, noisy: bool = True) -> Measurement:
    r"""Compare the lower bound of the misspecification from noisy answers with the truth.

    Noise of all n answers is within :math:`\sigma (2 \log(2n/\delta))^{1/2}`, except with probability delta. What is
    proved without noise is by no more than that too large.
    """
    bandit, seed = drawn
    sigma = 0.1
    answers = bandit.rewards + sigma * np.random.default_rng(seed).standard_normal(len(bandit.rewards))
    found = estimate_eps(bandit.features, answers, 2, noise_std=sigma if noisy else 0.0, delta=_DELTA)
    return Measurement(found.eps_lower, bandit.eps)


eps_lower_bound_with_noise = Claim(
    name="misspecified_bandits.eps_lower_bound_with_noise",
    summary="From noisy answers, too, no more misspecification is proved than there is, in 95 of 100 cases.",
    statement=r"P\Bigl(\min_{|M| = s} \min_\theta \|y - X_M \theta\|_\infty - \sigma \sqrt{2 \log(2n/\delta)}"
    r" \le \varepsilon\Bigr) \ge 1 - \delta",
    source=Source.ours("linear programs on all supports, less the largest noise"),
    verdict=WithProbability(1 - _DELTA),
    evaluate=_lower_bound,
    # Noise is taken for misspecification.
    near_miss=lambda drawn: _lower_bound(drawn, noisy=False),
    sweep=Sweep(
        axis="answers n",
        values=(10.0, 30.0, 100.0),
        draw=_draw_answers,
        trials=200,
        quick_trials=40,
        log="x",
        measured_label="lower bound",
        bound_label="misspecification",
    ),
)
