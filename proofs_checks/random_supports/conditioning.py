"""Claims about what ill-conditioned columns do to the error: nothing with anchors, everything without."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.random_supports.instances import ours
from sparsetheory.proofs_checks.random_supports.trials import Trial, anchored_error, draw_trial, lasso_error
from sparsetheory.proofs_checks.verdicts import Attains, ScalesAs, WithProbability
from sparsetheory.regression import Anchors, make_design, select_anchors

_Array = NDArray[np.float64]
_TAUS = (1e-1, 1e-3, 1e-6, 1e-2, 1e-4, 1e-5)


@cache
def _clustered(tau: float) -> tuple[_Array, Anchors]:
    X = make_design("clusters", 300, 600, G=15, lo=tau / 10, hi=tau, random_state=0)
    return X, select_anchors(X, 6, random_state=0)


def _draw(rng: np.random.Generator, tau: float) -> Trial:
    return draw_trial(rng, *_clustered(tau), 0.1)


def _trials() -> st.SearchStrategy[Trial]:
    return st.builds(
        lambda seed, tau: _draw(np.random.default_rng(seed), tau), st.integers(0, 2**32 - 1), st.sampled_from(_TAUS[:2])
    )


def _sweep(**labels: str) -> Sweep:
    return Sweep(
        axis="largest distance within a cluster",
        values=_TAUS,
        draw=_draw,
        trials=40,
        quick_trials=12,
        log="xy",
        **labels,
    )


def _greedy(trial: Trial) -> Measurement:
    """Measure the error of forward-backward selection from the anchors; the bound does not depend on tau."""
    extras = {"anchored Lasso": anchored_error(trial, "lasso"), "Lasso without anchors": lasso_error(trial)}
    return Measurement(anchored_error(trial, "foba"), 0.2, extras=extras)


condition_free = Claim(
    name="random_supports.condition_free",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \le 0.2\, \sigma^2 \text{ however close the columns of a cluster}",
    source=ours("measured: errors do not grow with the condition number"),
    verdict=WithProbability(0.95),
    instances=_trials,
    evaluate=_greedy,
    near_miss=lambda trial: Measurement(lasso_error(trial), 0.2),
    sweep=_sweep(
        measured_label="forward-backward from anchors, error over noise variance",
        bound_label="0.2",
    ),
)


def _anchored_lasso(trial: Trial) -> Measurement:
    """Measure the error of the Lasso from the anchors: worse than selection, and as indifferent to tau."""
    return Measurement(anchored_error(trial, "lasso"), 0.6)


condition_free_lasso = Claim(
    name="random_supports.condition_free_lasso",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \le 0.6\, \sigma^2 \text{ for the anchored Lasso, however close}",
    source=ours("measured: errors do not grow with the condition number"),
    verdict=WithProbability(0.8),
    instances=_trials,
    evaluate=_anchored_lasso,
    near_miss=lambda trial: Measurement(lasso_error(trial), 0.6),
    sweep=_sweep(measured_label="anchored Lasso, error over noise variance", bound_label="0.6"),
)


def _plain_lasso(trial: Trial) -> Measurement:
    """Measure the error of the Lasso without anchors at the level that the noise asks for.

    Coefficients that cancel have a large l1 norm, and the Lasso pays for it.
    """
    return Measurement(lasso_error(trial), 20.0)


lasso_fails = Claim(
    name="random_supports.lasso_fails",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \ge 20\, \sigma^2 \text{ for the Lasso without anchors}",
    source=ours("measured: the plain Lasso on random supports of clustered columns"),
    # Supports that hit fifteen clusters twice, which two thirds of them do, need cancellation.
    verdict=Attains(0.6),
    instances=_trials,
    evaluate=_plain_lasso,
    near_miss=lambda trial: Measurement(anchored_error(trial, "foba"), 20.0),
    sweep=_sweep(measured_label="Lasso without anchors, error over noise variance", bound_label="20"),
)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Responses of one kind, whose mean error is compared along a sweep: single errors spread over decades."""

    trials: tuple[Trial, ...]

    def mean(self, solver: str) -> float:
        return float(np.mean([anchored_error(trial, solver) for trial in self.trials]))


def _draw_batch(rng: np.random.Generator, tau: float) -> _Batch:
    return _Batch(tuple(_draw(rng, tau) for _ in range(10)))


def _l1_norm(batch: _Batch) -> Measurement:
    """Measure what a bound on the plain Lasso is made of: it grows like the condition number."""
    return Measurement(float(np.mean([trial.norm for trial in batch.trials])), 1.0)


flat_error = Claim(
    name="random_supports.flat_error",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \propto \tau^0 \text{ up to } \pm 0.1 \text{ from anchors}",
    source=ours("measured: slope in the distance within clusters"),
    verdict=ScalesAs(0.0, 0.1),
    instances=lambda: st.builds(lambda s: _draw_batch(np.random.default_rng(s), 1e-2), st.integers(0, 2**32 - 1)),
    evaluate=lambda batch: Measurement(batch.mean("foba"), 1.0),
    near_miss=_l1_norm,
    sweep=Sweep(
        axis="largest distance within a cluster",
        values=_TAUS,
        draw=_draw_batch,
        trials=40,
        quick_trials=20,
        log="xy",
        measured_label="forward-backward from anchors, mean error over noise variance",
        bound_label="the noise variance",
    ),
)
