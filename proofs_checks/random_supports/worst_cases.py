"""Claims about designs on which an adversary chooses the support: there methods fail, as they must."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from hypothesis import strategies as st

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.random_supports.trials import Trial, anchored_error, draw_trial
from sparsetheory.proofs_checks.verdicts import Attains
from sparsetheory.regression import Anchors, RandomSupportRegressor, lasso_path, make_design, select_anchors
from sparsetheory.typing import Float64Array


@dataclass(frozen=True, eq=False)
class _Blocks:
    """A support of two nearly cancelling columns, with coefficients 1/2 and noise of standard deviation one."""

    X: Float64Array
    signal: Float64Array
    y: Float64Array

    def error(self, prediction: Float64Array) -> float:
        return float(np.mean((prediction - self.signal) ** 2))

    @property
    def energy(self) -> float:
        """Mean square of the signal, the error of predicting zero: one over root n."""
        return float(np.mean(self.signal**2))


def _draw_blocks(rng: np.random.Generator, n: float) -> _Blocks:
    X = make_design("zwj_blocks", int(n), int(n))
    signal = X[:, :2] @ np.array([0.5, 0.5])
    return _Blocks(X, signal, signal + rng.standard_normal(int(n)))


def _best_lasso(instance: _Blocks) -> Measurement:
    """Measure the Lasso at the strength that is best in hindsight, against 0.7 of the slow rate.

    The two columns of the support nearly cancel: to use them the l1 norm must pay twice, and zero is as good.
    """
    path = lasso_path(instance.X, instance.y, n_alphas=40, min_ratio=1e-2)
    errors = [instance.error(prediction) for prediction in (instance.X @ path.coefs).T]
    return Measurement(min(errors), 0.7 * instance.energy)


def _random_support_method(instance: _Blocks) -> Measurement:
    """Measure forward-backward selection from certified anchors, against predicting zero.

    Random pairs of columns are orthogonal, so no anchors are needed; neither column of the adversary's pair alone
    explains more than noise does.
    """
    model = RandomSupportRegressor(2, noise_std=1.0, fit_intercept=False, random_state=0).fit(instance.X, instance.y)
    return Measurement(instance.error(model.predict(instance.X)), 0.95 * instance.energy)


def _blocks() -> st.SearchStrategy[_Blocks]:
    return st.builds(
        lambda seed, n: _draw_blocks(np.random.default_rng(seed), n),
        st.integers(0, 2**32 - 1),
        st.sampled_from([64, 256]),
    )


def _blocks_sweep(label: str, factor: float, quick_values: tuple[float, ...]) -> Sweep:
    return Sweep(
        axis="n",
        values=(64.0, 256.0, 1024.0),
        draw=_draw_blocks,
        trials=60,
        quick_trials=50,
        quick_values=quick_values,
        log="xy",
        measured_label=label,
        y_label="prediction error",
        bound_label=f"claimed: {factor:g} over root n",
    )


slow_lasso = Claim(
    name="random_supports.slow_lasso",
    summary="On nearly cancelling pairs even the best Lasso is not much better than predicting zero.",
    statement=r"\min_\lambda \tfrac1n \|X(\hat w_\lambda - w^*)\|^2 \ge 0.7\, n^{-1/2}"
    r" \text{ on blocks of nearly cancelling pairs}",
    source=Source.measured("the slow rate of the Lasso; mechanism of Zhang, Wainwright, Jordan, EJS 11 (2017) 752-799"),
    verdict=Attains(0.9),
    instances=_blocks,
    evaluate=_best_lasso,
    # The best strength is never worse than the largest, at which the Lasso predicts zero with error 1 / root n.
    near_miss=1.05 / 0.7,
    sweep=_blocks_sweep("Lasso at its best strength", 0.7, (64.0, 256.0)),
)

slow_anchors = Claim(
    name="random_supports.slow_anchors",
    summary="On a pair chosen by an adversary, anchors help no more than predicting zero.",
    statement=r"\tfrac1n \|X(\hat w - w^*)\|^2 \ge 0.95\, n^{-1/2} \text{ for anchors, on one of those pairs}",
    source=Source.measured("negative control: supports must be random"),
    verdict=Attains(0.9),
    instances=_blocks,
    evaluate=_random_support_method,
    # It mostly predicts zero, and so is seldom worse than that.
    near_miss=1.05 / 0.95,
    sweep=_blocks_sweep("forward-backward from anchors", 0.95, (64.0, 256.0, 1024.0)),
)


@cache
def _paired(tau: float) -> tuple[Float64Array, Anchors]:
    X = make_design("pairs", 200, 400, perturbation=tau, random_state=0)
    return X, select_anchors(X, n_nonzero=6, delta=0.15, random_state=0)


def _draw_pair(rng: np.random.Generator, tau: float) -> Trial:
    X, anchors = _paired(tau)
    unused = np.setdiff1d(np.arange(0, 400, 2), anchors.indices // 2 * 2)
    first = rng.choice(unused)
    others = rng.choice(np.setdiff1d(unused, first), 4, replace=False)
    return draw_trial(rng, X, anchors, 0.1, np.concatenate([[first, first + 1], others]))


def _adversary(trial: Trial) -> Measurement:
    """Measure the error where the adversary puts a near-duplicate pair into the support: no theorem applies."""
    return Measurement(anchored_error(trial, "foba"), 30.0)


adversarial_support = Claim(
    name="random_supports.adversarial_support",
    summary="A support that an adversary makes contain a near-duplicate pair defeats random anchors.",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \ge 30\, \sigma^2 \text{ if } S \text{ contains a near-duplicate pair}",
    source=Source.measured("negative control: supports must be random"),
    verdict=Attains(0.9),
    evaluate=_adversary,
    # One of the two columns is found: at most about half of the energy of the signal, 100 variances, is lost.
    near_miss=50 / 30,
    sweep=Sweep(
        axis="distance within a pair",
        values=(1e-2, 1e-3, 1e-4),
        draw=_draw_pair,
        trials=100,
        quick_trials=90,
        log="xy",
        measured_label="error over noise variance",
        bound_label="claimed: 30",
    ),
)
