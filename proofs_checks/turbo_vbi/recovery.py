"""Claims about fits: what the chain gains, how far support probabilities can be trusted, the work of a sweep."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

import numpy as np
from hypothesis import strategies as st
from scipy.linalg import cholesky, get_blas_funcs

from sparsetheory.bayesian.datasets.clustered import ClusteredProblem, make_clustered
from sparsetheory.bayesian.markov.support_priors import ChainPrior
from sparsetheory.bayesian.turbo import gaussian
from sparsetheory.bayesian.turbo.checks import make_problem
from sparsetheory.bayesian.turbo.elbo import InitialFactors, TurboState
from sparsetheory.bayesian.turbo.estimator import TurboVBI
from sparsetheory.bayesian.turbo.model import NoiseFactor, TurboModel
from sparsetheory.bayesian.turbo.problem import TurboProblem
from sparsetheory.bayesian.turbo.sparse_prior import SparsePrior
from sparsetheory.bayesian.turbo.sweep import turbo_sweep
from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.verdicts import ScalesAs, WithProbability

# Observations for a probability of switching on: the harder setting has fewer coefficients that are on.
_ROWS = {0.02: 80, 0.01: 60}


@dataclass(frozen=True, eq=False)
class _Draws:
    """Independent problems of one setting."""

    problems: tuple[ClusteredProblem, ...]
    activation: float
    deactivation: float = 0.1

    def decibels(self, factorisation: str, prior: str) -> float:
        """Return the mean normalised squared error of fits that know noise and priors."""
        errors = []
        for problem in self.problems:
            model = TurboVBI(
                prior=SparsePrior(prior, activation=self.activation, deactivation=self.deactivation, on_rate=1.0),
                factorisation=factorisation,
                noise_variance=problem.noise_variance,
                max_iter=2000,
            )
            model.fit(problem.F, problem.y)
            errors.append(np.sum((model.coef_ - problem.x) ** 2) / np.sum(problem.x**2))
        return float(np.mean(10 * np.log10(errors)))


def _draw(rng: np.random.Generator, activation: float, n_draws: int = 5) -> _Draws:
    problems = tuple(
        make_clustered(_ROWS[activation], 200, activation=activation, random_state=rng) for _ in range(n_draws)
    )
    return _Draws(problems, activation)


def _small_draws() -> st.SearchStrategy[_Draws]:
    return st.builds(
        lambda seed, p01: _draw(np.random.default_rng(seed), p01, 2),
        st.integers(0, 2**32 - 1),
        st.sampled_from(list(_ROWS)),
    )


def _gain(draws: _Draws) -> Measurement:
    """Measure what a chain gains over independent coefficients of the same density."""
    chain, independent = (draws.decibels("collapsed", prior) for prior in ("chain", "iid"))
    return Measurement(0.5, independent - chain, extras={"chain, NMSE in dB": chain})


def _over_settings(measured_label: str, bound_label: str) -> Sweep:
    return Sweep(
        axis="activation",
        values=tuple(_ROWS),
        draw=_draw,
        trials=150,
        quick_trials=31,
        quick_values=(0.02,),
        measured_label=measured_label,
        bound_label=bound_label,
    )


chain_gain = Claim(
    name="turbo_vbi.chain_gain",
    summary="The chain gains on independent coefficients, if precisions are integrated out.",
    statement=r"\mathrm{NMSE}(\text{collapsed chain}) \le \mathrm{NMSE}(\text{collapsed iid}) - 0.5 \text{ dB}, "
    r"\text{ mean of 5 draws}",
    # Half of the draws gain more than 3 dB, the others little: means of few scatter.
    source=Source.measured("gain of the Markov prior, 4.7 dB in the mean of 40 draws"),
    verdict=WithProbability(0.9),
    instances=_small_draws,
    evaluate=_gain,
    near_miss=0.1,
    sweep=_over_settings("claimed: 0.5 dB", "gain in dB"),
)


def _no_gain(draws: _Draws) -> Measurement:
    """Measure how little the chain changes the published updates."""
    chain, independent = (draws.decibels("meanfield", prior) for prior in ("chain", "iid"))
    return Measurement(abs(chain - independent), 1.5)


published_chain_is_inert = Claim(
    name="turbo_vbi.published_chain_is_inert",
    summary="With the published updates the chain changes next to nothing.",
    statement=r"|\mathrm{NMSE}(\text{mean-field chain}) - \mathrm{NMSE}(\text{mean-field iid})| \le 1.5 \text{ dB}, "
    r"\text{ mean of 5 draws}",
    source=Source.measured("inertness of the Markov prior in the published updates"),
    verdict=WithProbability(0.9),
    instances=_small_draws,
    evaluate=_no_gain,
    near_miss=0.1,
    sweep=_over_settings("difference in dB", "1.5 dB"),
)


@dataclass(frozen=True, eq=False)
class _Support:
    """Support probabilities of several fits, and the truth."""

    probability: np.ndarray
    truth: np.ndarray

    def share(self, low: float, high: float) -> float:
        """Return how many of the coefficients with probabilities in a range are on."""
        inside = (self.probability >= low) & (self.probability < high)
        return float(self.truth[inside].mean()) if inside.any() else float("nan")


def _draw_support(rng: np.random.Generator, m: float, n_draws: int = 5) -> _Support:
    post, truth = [], []
    for _ in range(n_draws):
        problem = make_clustered(int(m), 200, random_state=rng)
        signal = problem.F @ problem.x
        y = signal + 0.1 * rng.standard_normal(signal.size)
        model = TurboVBI(prior=SparsePrior(on_rate=1.0, off_rate_ratio=1e-3), noise_variance=0.01).fit(problem.F, y)
        post.append(model.support_proba_)
        truth.append(problem.support)
    return _Support(np.concatenate(post), np.concatenate(truth))


def _extremes(support: _Support) -> Measurement:
    """Measure how often coefficients are on whose probability is below 0.05, and above 0.95."""
    low, high = support.share(0.0, 0.05), support.share(0.95, 1.1)
    return Measurement(low, 0.03).and_chain({"least share": 0.92, "share of those above .95": high})


calibrated_ends = Claim(
    name="turbo_vbi.calibrated_ends",
    summary="Support probabilities near zero and one can be trusted.",
    statement=r"P(s_i = 1 \mid \tilde\pi_i < .05) \le .03, \quad P(s_i = 1 \mid \tilde\pi_i \ge .95) \ge .92"
    r" \text{ over 5 draws}",
    source=Source.measured("calibration of certain probabilities; those between are over-confident"),
    verdict=WithProbability(0.9),
    evaluate=_extremes,
    # The share is 0.009, give or take 0.004.
    near_miss=0.2,
    sweep=Sweep(
        axis="M",
        values=(120.0, 160.0),
        draw=_draw_support,
        trials=60,
        quick_trials=31,
        quick_values=(120.0,),
        measured_label="share on, of those below .05",
        bound_label=".03",
    ),
)


@dataclass(frozen=True, eq=False)
class _Sweepable:
    """A state from which a sweep can be counted."""

    problem: TurboProblem
    model: TurboModel
    prior: ChainPrior
    state: TurboState


def _draw_sweep(rng: np.random.Generator, n: float) -> _Sweepable:
    data = make_clustered(100, int(n), activation=0.001, random_state=rng)
    problem = make_problem(data.F, data.y, None)
    model = SparsePrior(on_rate=1.0).model(problem, 0.01, noise_variance="learn", factorisation="collapsed")
    prior = ChainPrior(0.001, 0.1, (1, problem.n_total))
    start = InitialFactors(np.ones(int(n)), NoiseFactor.known(100.0), prior.update(np.zeros(int(n)), None))
    return _Sweepable(problem, model, prior, turbo_sweep(problem, model, prior, start))


class _Counter:
    """Counts multiplications in the dense products, solves and factorisations of a sweep, in place of time."""

    def __init__(self) -> None:
        self.multiplications = 0

    def blas(self, names: tuple[str, ...], arrays: Any) -> list[Callable[..., Any]]:
        """Return the BLAS functions of these names, which count before they work."""
        return [
            self._counting(name, function) for name, function in zip(names, get_blas_funcs(names, arrays), strict=True)
        ]

    def _counting(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        def counted(alpha: float, first: Any, *others: Any, **options: Any) -> Any:
            # A product with its transpose takes rows times entries, a triangular solve order times right-hand sides.
            self.multiplications += first.shape[0] * (others[0] if others else first).size
            return function(alpha, first, *others, **options)

        if name not in ("syrk", "herk", "trsm"):
            raise NotImplementedError(f"multiplications of {name} are not counted")
        return counted

    def cholesky(self, system: Any, **options: Any) -> Any:
        """Factorise, which takes a third of the cube of the order."""
        self.multiplications += system.shape[0] ** 3 // 3
        return cholesky(system, **options)


def _multiplications(instance: _Sweepable, *, covariance: bool = False) -> Measurement:
    r"""Count the multiplications of a sweep with many more coefficients than observations.

    The matrix :math:`I + \kappa F D^{-1} F^H` takes :math:`M^2 N`, its factorisation :math:`M^3 / 3`, and whitening F
    :math:`M^2 N`; all else is of order :math:`M N`. The covariance of all coefficients would take :math:`M N^2`.
    """
    counter, (m, n) = _Counter(), instance.problem.F.shape
    with (
        patch.object(gaussian, "get_blas_funcs", counter.blas),
        patch.object(gaussian, "cholesky", counter.cholesky),
    ):
        turbo_sweep(instance.problem, instance.model, instance.prior, instance.state)
    count = counter.multiplications + covariance * m * n * n
    # A third factorisation, of few coefficients, is for those whose variance is lost to cancellation.
    return Measurement(float(count), float(3 * m * m * n + m**3))


sweep_cost = Claim(
    name="turbo_vbi.sweep_cost",
    summary="The work of a sweep grows in proportion to the number of coefficients.",
    statement=r"\text{multiplications of a sweep} \propto N^{1 \pm 0.1} \text{ at fixed } M",
    source=Source.measured("multiplications of a sweep, counted"),
    verdict=ScalesAs(1.0, 0.1),
    evaluate=_multiplications,
    near_miss=lambda instance: _multiplications(instance, covariance=True),
    sweep=Sweep(
        axis="N",
        values=(1000.0, 2000.0, 4000.0, 8000.0),
        draw=_draw_sweep,
        trials=10,
        quick_trials=3,
        log="xy",
        measured_label="multiplications",
        bound_label="3 M^2 N + M^3",
    ),
)
