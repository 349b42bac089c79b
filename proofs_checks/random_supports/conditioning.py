"""Claims about what ill-conditioned columns do to the error: nothing with anchors, everything without."""

from dataclasses import dataclass
from functools import cache, cached_property

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.random_supports.trials import (
    Trial,
    anchored_error,
    anchored_errors,
    draw_colliding_support,
    draw_trial,
    lasso_error,
)
from sparsetheory.proofs_checks.verdicts import Attains, ScalesAs, WithProbability
from sparsetheory.regression import Anchors, make_design, select_anchors
from sparsetheory.typing import Float64Array

_TAUS = (1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6)
_QUICK_TAUS = (1e-1, 1e-3, 1e-6)


@cache
def _clustered(tau: float) -> tuple[Float64Array, Anchors]:
    X = make_design("clusters", 300, 600, n_clusters=15, min_scale=tau / 10, max_scale=tau, random_state=0)
    return X, select_anchors(X, n_nonzero=6, random_state=0)


@dataclass(frozen=True, eq=False)
class _Fits:
    """A response, whose fits from the anchors serve a claim and its near miss."""

    trial: Trial

    @cached_property
    def greedy(self) -> float:
        return anchored_error(self.trial, "foba")

    @cached_property
    def lasso(self) -> float:
        return anchored_error(self.trial, "lasso")


def _draw(rng: np.random.Generator, tau: float) -> Trial:
    return draw_trial(rng, *_clustered(tau), 0.1)


def _draw_fits(rng: np.random.Generator, tau: float) -> _Fits:
    return _Fits(_draw(rng, tau))


def _draw_collision(rng: np.random.Generator, tau: float) -> Trial:
    X, anchors = _clustered(tau)
    return draw_trial(rng, X, anchors, 0.1, draw_colliding_support(rng, X, 6))


def _fits() -> st.SearchStrategy[_Fits]:
    return st.builds(
        lambda seed, tau: _draw_fits(np.random.default_rng(seed), tau),
        st.integers(0, 2**32 - 1),
        st.sampled_from(_TAUS),
    )


def _greedy(fits: _Fits) -> Measurement:
    """Measure the error of forward-backward selection from the anchors; the bound does not depend on tau."""
    extras = {"anchored Lasso": fits.lasso, "Lasso without anchors": lasso_error(fits.trial)}
    return Measurement(fits.greedy, 0.25, extras=extras)


condition_free = Claim(
    name="random_supports.condition_free",
    summary="Selection from anchors errs as little on columns that nearly coincide as on others.",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \le \tfrac14 \sigma^2 \text{ however close the columns of a cluster}",
    source=Source.measured("errors of forward-backward selection do not grow with the condition number"),
    verdict=WithProbability(0.95),
    instances=_fits,
    evaluate=_greedy,
    # Three times what least squares on the true support pays, 6 / 300 of the noise variance: selection pays more.
    near_miss=lambda fits: Measurement(fits.greedy, 0.06),
    sweep=Sweep(
        axis="largest distance within a cluster",
        values=_TAUS,
        draw=_draw_fits,
        trials=60,
        quick_trials=50,
        quick_values=_QUICK_TAUS,
        log="xy",
        measured_label="forward-backward from anchors, error over noise variance",
        y_label="error over noise variance",
        bound_label="claimed: 1/4",
    ),
)


def _anchored_lasso(fits: _Fits) -> Measurement:
    """Measure the error of the Lasso from the anchors: worse than selection, and as indifferent to tau."""
    return Measurement(fits.lasso, 1.5)


condition_free_lasso = Claim(
    name="random_supports.condition_free_lasso",
    summary="The Lasso from anchors errs by at most 3/2 of the noise variance, however close the columns.",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \le \tfrac32 \sigma^2 \text{ for the anchored Lasso, however close}",
    source=Source.measured("errors of the anchored Lasso do not grow with the condition number"),
    verdict=WithProbability(0.9),
    instances=_fits,
    evaluate=_anchored_lasso,
    # As small as the errors of selection: a quarter of the noise variance.
    near_miss=lambda fits: Measurement(fits.lasso, 0.25),
    sweep=Sweep(
        axis="largest distance within a cluster",
        values=_TAUS,
        draw=_draw_fits,
        trials=100,
        quick_trials=80,
        quick_values=_QUICK_TAUS,
        log="xy",
        measured_label="anchored Lasso, error over noise variance",
        y_label="error over noise variance",
        bound_label="claimed: 3/2",
    ),
)


def _plain_lasso(trial: Trial) -> Measurement:
    """Measure the error of the Lasso without anchors at the strength that the noise asks for.

    Coefficients that cancel have a large l1 norm, and the Lasso pays for it.
    """
    return Measurement(lasso_error(trial), 20.0)


lasso_fails = Claim(
    name="random_supports.lasso_fails",
    summary="Without anchors the Lasso loses nearly all of a signal on two columns of one cluster.",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \ge 20\, \sigma^2 \text{ for the Lasso without anchors, if }"
    r" S \text{ has two columns of one cluster}",
    source=Source.measured("the plain Lasso on supports that hit a cluster twice"),
    verdict=Attains(0.95),
    evaluate=_plain_lasso,
    # It is not quite as bad as predicting zero, whose error is the energy of the signal, 100 times the variance.
    near_miss=100 / 20,
    sweep=Sweep(
        axis="largest distance within a cluster",
        values=_TAUS,
        draw=_draw_collision,
        trials=60,
        quick_trials=60,
        quick_values=_QUICK_TAUS,
        log="xy",
        measured_label="Lasso without anchors, error over noise variance",
        y_label="error over noise variance",
        bound_label="claimed: 20",
    ),
)


@dataclass(frozen=True, eq=False)
class _Batch:
    """Responses of one kind, whose median error is compared along a sweep: single errors spread over decades."""

    trials: tuple[Trial, ...]
    tau: float

    @cached_property
    def error(self) -> float:
        return float(np.median(anchored_errors(self.trials, "foba")))


def _draw_batch(rng: np.random.Generator, tau: float) -> _Batch:
    return _Batch(tuple(_draw(rng, tau) for _ in range(15)), tau)


def _over_the_logarithm(batch: _Batch) -> Measurement:
    """Claim that errors grow like the logarithm of the condition number."""
    return Measurement(batch.error / float(np.log10(1 / batch.tau)), 1.0)


flat_error = Claim(
    name="random_supports.flat_error",
    summary="The error from anchors does not change as columns of a cluster come closer.",
    statement=r"\operatorname{median} \tfrac1N \|X(\hat w - w^*)\|^2 \propto \tau^0 \text{ up to } \pm 0.05"
    r" \text{ from anchors, for } \tau \le 10^{-2}",
    source=Source.measured("slope in the distance within clusters"),
    verdict=ScalesAs(0.0, 0.05),
    evaluate=lambda batch: Measurement(batch.error, 1.0),
    near_miss=_over_the_logarithm,
    sweep=Sweep(
        axis="largest distance within a cluster",
        values=(1e-2, 1e-4, 1e-5, 1e-6, 1e-8),
        draw=_draw_batch,
        trials=40,
        quick_trials=20,
        quick_values=(1e-2, 1e-5, 1e-8),
        log="xy",
        measured_label="forward-backward from anchors, median error over noise variance",
        y_label="median error over noise variance",
        bound_label="the noise variance",
    ),
)
