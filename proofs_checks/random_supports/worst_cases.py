"""Claims about designs on which an adversary chooses the support: there methods fail, as they must."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.random_supports.instances import classic, ours
from sparsetheory.proofs_checks.random_supports.trials import Trial, anchored_error, draw_trial
from sparsetheory.proofs_checks.verdicts import Attains
from sparsetheory.regression import Anchors, RandomSupportRegressor, lasso_path, make_design, select_anchors

_Array = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class _Blocks:
    """A support of two nearly cancelling columns, with coefficients 1/2 and noise of level one."""

    X: _Array
    signal: _Array
    y: _Array

    def error(self, prediction: _Array) -> float:
        return float(np.mean((prediction - self.signal) ** 2))

    @property
    def slow_rate(self) -> float:
        return 0.6 / float(np.sqrt(self.y.size))


def _draw_blocks(rng: np.random.Generator, n: float) -> _Blocks:
    X = make_design("zwj_blocks", int(n), int(n))
    signal = X[:, :2] @ np.array([0.5, 0.5])
    return _Blocks(X, signal, signal + rng.standard_normal(int(n)))


def _best_lasso(instance: _Blocks) -> Measurement:
    """Measure the Lasso at the level that is best in hindsight, against two thirds of the slow rate.

    The two columns of the support nearly cancel: to use them the l1 norm must pay twice, and zero is as good.
    """
    path = lasso_path(instance.X, instance.y, n_lams=40, min_ratio=1e-2)
    errors = [instance.error(prediction) for prediction in (instance.X @ path.coefs).T]
    return Measurement(min(errors), instance.slow_rate)


def _random_support_method(instance: _Blocks) -> Measurement:
    """Measure forward-backward selection from certified anchors, against two thirds of the slow rate.

    Random pairs of columns are orthogonal, so no anchors are needed; neither column of the adversary's pair alone
    explains more than noise does.
    """
    model = RandomSupportRegressor(2, sigma=1.0, fit_intercept=False, random_state=0).fit(instance.X, instance.y)
    return Measurement(instance.error(model.predict(instance.X)), instance.slow_rate)


def _right_pair(instance: _Blocks) -> Measurement:
    """Fit the true pair of columns: the fast rate, which contradicts the claim."""
    pair = instance.X[:, :2]
    fit = pair @ np.linalg.lstsq(pair, instance.y, rcond=None)[0]
    return Measurement(instance.error(fit), instance.slow_rate)


def _blocks() -> st.SearchStrategy[_Blocks]:
    return st.builds(
        lambda seed, n: _draw_blocks(np.random.default_rng(seed), n),
        st.integers(0, 2**32 - 1),
        st.sampled_from([64, 256]),
    )


def _blocks_sweep(label: str) -> Sweep:
    return Sweep(
        axis="n",
        values=(64.0, 256.0, 1024.0),
        draw=_draw_blocks,
        trials=30,
        quick_trials=10,
        log="xy",
        measured_label=label,
        bound_label="0.6 over root n",
    )


slow_lasso = Claim(
    name="random_supports.slow_lasso",
    statement=r"\min_\lambda \tfrac1n \|X(\hat w_\lambda - w^*)\|^2 \ge 0.6\, n^{-1/2}"
    r" \text{ on blocks of nearly cancelling pairs}",
    source=classic(
        "Zhang, Wainwright, Jordan, EJS 11 (2017) 752-799, mechanism; constants and angle measured here", "slow rate"
    ),
    verdict=Attains(0.9),
    instances=_blocks,
    evaluate=_best_lasso,
    near_miss=_right_pair,
    sweep=_blocks_sweep("Lasso at its best level"),
)

slow_anchors = Claim(
    name="random_supports.slow_anchors",
    statement=r"\tfrac1n \|X(\hat w - w^*)\|^2 \ge 0.6\, n^{-1/2} \text{ for anchors, on one of those pairs}",
    source=ours("negative control: supports must be random"),
    verdict=Attains(0.9),
    instances=_blocks,
    evaluate=_random_support_method,
    near_miss=_right_pair,
    sweep=_blocks_sweep("forward-backward from anchors"),
)


@cache
def _paired(tau: float) -> tuple[_Array, Anchors]:
    X = make_design("pairs", 200, 400, tau=tau, random_state=0)
    return X, select_anchors(X, 6, delta=0.15, random_state=0)


def _draw_pair(rng: np.random.Generator, tau: float) -> Trial:
    X, anchors = _paired(tau)
    unused = np.setdiff1d(np.arange(0, 400, 2), anchors.indices // 2 * 2)
    first = rng.choice(unused)
    others = rng.choice(np.setdiff1d(unused, first), 4, replace=False)
    return draw_trial(rng, X, anchors, 0.1, np.concatenate([[first, first + 1], others]))


def _adversary(trial: Trial) -> Measurement:
    """Measure the error where the adversary puts a near-duplicate pair into the support: no theorem applies."""
    return Measurement(anchored_error(trial, "foba"), 10.0)


def _random_instead(trial: Trial) -> Measurement:
    rng = np.random.default_rng(int(abs(trial.y[0]) * 1e6))
    return _adversary(draw_trial(rng, trial.X, trial.anchors, trial.sigma))


adversarial_support = Claim(
    name="random_supports.adversarial_support",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \ge 10\, \sigma^2 \text{ if } S \text{ contains a near-duplicate pair}",
    source=ours("negative control: supports must be random"),
    verdict=Attains(0.5),
    instances=lambda: st.builds(lambda seed: _draw_pair(np.random.default_rng(seed), 1e-3), st.integers(0, 2**32 - 1)),
    evaluate=_adversary,
    near_miss=_random_instead,
    sweep=Sweep(
        axis="distance within a pair",
        values=(1e-2, 1e-3, 1e-4),
        draw=_draw_pair,
        trials=30,
        quick_trials=10,
        log="xy",
        measured_label="error over noise variance",
        bound_label="10",
    ),
)
