"""Claims with bound plots: what does not depend on conditioning, rates, and designs on which failure is certain."""

from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray
from scipy import stats

from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.random_supports.instances import classic, ours
from sparsetheory.proofs_checks.verdicts import Always, Attains, ScalesAs, WithProbability
from sparsetheory.regression import (
    Anchors,
    RandomSupportRegressor,
    WorkingSetLasso,
    adversarial_coefficients,
    lasso_path,
    make_design,
    sample_support,
    select_anchors,
    theory,
)
from sparsetheory.regression.phase_two import universal_level

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Trial:
    """One response on a design, with what it was made of."""

    X: _Array
    signal: _Array
    y: _Array
    sigma: float
    anchors: Anchors


def _error(trial: _Trial, prediction: _Array) -> float:
    return float(np.mean((prediction - trial.signal) ** 2)) / trial.sigma**2


def _draw(rng: np.random.Generator, X: _Array, k: int, sigma: float, anchors: Anchors) -> _Trial:
    S = sample_support(X, k, random_state=rng)
    signal = X[:, S] @ adversarial_coefficients(X, S)
    return _Trial(X, signal, signal + sigma * rng.standard_normal(X.shape[0]), sigma, anchors)


def _anchored_error(trial: _Trial, solver: str, k: int) -> float:
    model = RandomSupportRegressor(k, solver=solver, anchors=trial.anchors, sigma=trial.sigma, fit_intercept=False)
    return _error(trial, model.fit(trial.X, trial.y).predict(trial.X))


def _lasso_error(trial: _Trial) -> float:
    lam = universal_level(trial.sigma, *trial.X.shape)
    model = WorkingSetLasso(lam=lam, fit_intercept=False).fit(trial.X, trial.y)
    return _error(trial, model.predict(trial.X))


_K = 6


@cache
def _clustered(tau: float) -> tuple[_Array, Anchors]:
    X = make_design("clusters", 300, 600, G=15, lo=tau / 10, hi=tau, random_state=0)
    return X, select_anchors(X, _K, random_state=0)


def _draw_clustered(rng: np.random.Generator, tau: float) -> _Trial:
    X, anchors = _clustered(tau)
    return _draw(rng, X, _K, 0.1, anchors)


def _conditioning(trial: _Trial) -> Measurement:
    """Measure the error of forward-backward selection from the anchors; the bound does not depend on tau."""
    extras = {"anchored Lasso": _anchored_error(trial, "lasso", _K), "Lasso without anchors": _lasso_error(trial)}
    return Measurement(_anchored_error(trial, "foba", _K), 0.2, extras=extras)


condition_free = Claim(
    name="random_supports.condition_free",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \le 0.2\, \sigma^2 \text{ however close the columns of a cluster}",
    source=ours("measured: errors do not grow with the condition number"),
    verdict=WithProbability(0.9),
    instances=lambda: st.builds(
        lambda seed, tau: _draw_clustered(np.random.default_rng(seed), tau),
        st.integers(0, 2**32 - 1),
        st.sampled_from([1e-1, 1e-3]),
    ),
    evaluate=_conditioning,
    near_miss=lambda trial: Measurement(_lasso_error(trial), 0.2),
    sweep=Sweep(
        axis="largest distance within a cluster",
        values=(1e-1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6),
        draw=_draw_clustered,
        trials=40,
        quick_trials=8,
        log="xy",
        measured_label="forward-backward from anchors, error over noise variance",
        bound_label="0.2",
    ),
)


@cache
def _tall(n: int) -> tuple[_Array, Anchors]:
    X = make_design("clusters", n, 400, G=10, lo=1e-5, hi=1e-1, random_state=0)
    return X, select_anchors(X, 4, m_max=n // 5, random_state=0)


def _draw_tall(rng: np.random.Generator, n: float) -> _Trial:
    X, anchors = _tall(int(n))
    return _draw(rng, X, 4, 1.0, anchors)


samples = Claim(
    name="random_supports.samples",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \propto N^{-1} \text{ for the anchored Lasso, up to } \pm 0.55",
    source=ours("measured: rate in the number of samples"),
    verdict=ScalesAs(-1.0, 0.55),
    instances=lambda: st.builds(lambda s: _draw_tall(np.random.default_rng(s), 150), st.integers(0, 2**32 - 1)),
    evaluate=lambda trial: Measurement(_anchored_error(trial, "lasso", 4), 1.0),
    near_miss=lambda trial: Measurement(_lasso_error(trial), 1.0),
    sweep=Sweep(
        axis="N",
        values=(150.0, 400.0, 1200.0),
        draw=_draw_tall,
        trials=60,
        quick_trials=25,
        log="xy",
        measured_label="anchored Lasso, error over noise variance",
        bound_label="the zero estimator",
    ),
)


@dataclass(frozen=True)
class _Collisions:
    """How often a random support hits a cluster twice that no random anchor hits."""

    k: int
    m: int
    groups: int
    failures: int
    trials: int


def _draw_collisions(rng: np.random.Generator, m: float, k: int = 5, trials: int = 8000) -> _Collisions:
    groups = int(m)
    support = rng.integers(groups, size=(trials, k))
    anchored = np.zeros((trials, groups), dtype=bool)
    anchored[np.arange(trials)[:, None], rng.integers(groups, size=(trials, int(m)))] = True
    support.sort(axis=1)
    twice = support[:, 1:] == support[:, :-1]
    open_ = ~np.take_along_axis(anchored, support[:, 1:], axis=1)
    return _Collisions(k, int(m), groups, int((twice & open_).any(axis=1).sum()), trials)


def _union_bound(instance: _Collisions) -> Measurement:
    """Compare the observed share of failures, at its lower confidence limit, with the sum over pairs of the support.

    Each of the ``k (k-1) / 2`` pairs meets in one cluster with probability 1/G, and all anchors miss that cluster with
    probability ``(1 - 1/G)^m``.
    """
    interval = stats.binomtest(instance.failures, instance.trials).proportion_ci(1 - 1e-6)
    bound = theory.cluster_failure(instance.k, instance.m, instance.groups)
    rate = instance.failures / instance.trials
    return Measurement(float(interval.low), bound, extras={"observed share": rate, "upper limit": float(interval.high)})


def _twice_the_anchors(instance: _Collisions) -> Measurement:
    measured = _union_bound(instance)
    return Measurement(measured.measured, theory.cluster_failure(instance.k, 2 * instance.m, instance.groups))


collisions = Claim(
    name="random_supports.collisions",
    statement=r"P(\alpha \gg 1) \le \tfrac{k(k-1)}{2G} (1 - 1/G)^m \text{ on } G \text{ near-duplicate clusters}",
    source=ours("random anchors on clusters, upper bound"),
    verdict=Always(0.0),
    instances=lambda: st.builds(
        lambda seed, m: _draw_collisions(np.random.default_rng(seed), m),
        st.integers(0, 2**32 - 1),
        st.integers(12, 300),
    ),
    evaluate=_union_bound,
    near_miss=_twice_the_anchors,
    sweep=Sweep(
        axis="m = G",
        values=(16.0, 32.0, 64.0, 128.0, 256.0),
        draw=_draw_collisions,
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label="lower confidence limit of the share of failures",
        bound_label="union bound",
    ),
)

tight_anchors = Claim(
    name="random_supports.tight_anchors",
    statement=r"P(\text{failure}) \propto k^2 / m \text{ on } m \text{ clusters, as the bound for random anchors}",
    source=ours("random anchors on clusters, rate"),
    verdict=ScalesAs(-1.0, 0.25),
    instances=lambda: st.builds(
        lambda seed, m: _draw_collisions(np.random.default_rng(seed), m),
        st.integers(0, 2**32 - 1),
        st.integers(16, 256),
    ),
    evaluate=lambda c: Measurement(max(c.failures, 1) / c.trials, theory.anchor_failure_bound(c.k, c.m)),
    near_miss=lambda c: Measurement((max(c.failures, 1) / c.trials) ** 2, 1.0),
    sweep=Sweep(
        axis="m = G",
        values=(16.0, 32.0, 64.0, 128.0, 256.0),
        draw=_draw_collisions,
        trials=20,
        quick_trials=6,
        log="xy",
        measured_label="share of failures",
        bound_label="Theorem A",
    ),
)


@dataclass(frozen=True)
class _Refits:
    """Out-of-sample errors of least squares on anchors after a fixed error elsewhere, over repeated designs."""

    m: int
    errors: _Array
    s2: float
    sigma: float
    n: int


def _draw_refits(rng: np.random.Generator, m: float) -> _Refits:
    n, p, sigma, repetitions = 100, int(m) + 5, 0.5, 300
    mixing = rng.standard_normal((p, p)) * 10 ** rng.uniform(-1.5, 0, p)[:, None]
    T, rest = np.arange(int(m)), np.arange(int(m), p)
    cov = mixing.T @ mixing
    schur = cov[np.ix_(rest, rest)] - cov[np.ix_(rest, T)] @ np.linalg.solve(cov[np.ix_(T, T)], cov[np.ix_(T, rest)])
    delta = rng.standard_normal(rest.size)
    delta *= np.sqrt(1.0 / (delta @ schur @ delta))
    errors = np.empty(repetitions)
    for i in range(repetitions):
        X = rng.standard_normal((n, p)) @ mixing
        noise = sigma * rng.standard_normal(n)
        change = np.zeros(p)
        change[rest] = delta
        change[T] = np.linalg.lstsq(X[:, T], noise - X[:, rest] @ delta, rcond=None)[0]
        errors[i] = change @ cov @ change
    return _Refits(int(m), errors, 1.0, sigma, n)


def _excess(instance: _Refits, expected: float | None = None) -> Measurement:
    """Compare the mean excess risk with its exact expectation, in standard errors.

    What the anchors leave of Gaussian rows is an independent regression with the Schur complement as covariance, and
    the refit on the anchors sees it as noise of variance ``sigma^2 + s^2``; the inverse Wishart mean gives the factor.
    """
    if expected is None:
        expected = theory.gaussian_excess(instance.s2, instance.sigma, instance.m, instance.n)
    deviation = abs(float(instance.errors.mean()) - expected)
    return Measurement(deviation, 4.0 * float(instance.errors.std(ddof=1)) / np.sqrt(instance.errors.size))


gaussian_excess = Claim(
    name="random_supports.gaussian_excess",
    statement=r"E\,(\hat w - w^*)^\top \Sigma (\hat w - w^*) = s^2 + (\sigma^2 + s^2) \tfrac{m}{N - m - 1}",
    source=ours("excess risk on Gaussian rows"),
    verdict=WithProbability(0.99),
    instances=lambda: st.builds(
        lambda seed, m: _draw_refits(np.random.default_rng(seed), m), st.integers(0, 2**32 - 1), st.integers(3, 40)
    ),
    evaluate=_excess,
    near_miss=lambda r: _excess(r, r.s2 + r.sigma**2 * r.m / (r.n - r.m - 1)),
    sweep=Sweep(
        axis="m",
        values=(5.0, 10.0, 20.0, 40.0),
        draw=_draw_refits,
        trials=25,
        quick_trials=8,
        log="y",
        measured_label="deviation of the mean",
        bound_label="four standard errors",
    ),
)


@dataclass(frozen=True)
class _WorstCase:
    X: _Array
    signal: _Array
    y: _Array
    extras: Any = None


def _draw_blocks(rng: np.random.Generator, n: float) -> _WorstCase:
    X = make_design("zwj_blocks", int(n), int(n))
    signal = X[:, :2] @ np.array([0.5, 0.5])
    return _WorstCase(X, signal, signal + rng.standard_normal(int(n)))


def _best_lasso(instance: _WorstCase) -> Measurement:
    """Measure the Lasso at the level that is best in hindsight, against two thirds of the slow rate.

    The two columns of the support nearly cancel: to use them the l1 norm must pay twice, and zero is as good.
    """
    n = instance.y.size
    path = lasso_path(instance.X, instance.y, n_lams=40, min_ratio=1e-2)
    errors = np.mean((instance.X @ path.coefs - instance.signal[:, None]) ** 2, axis=0)
    return Measurement(float(errors.min()), 0.6 / np.sqrt(n))


def _right_pair(instance: _WorstCase) -> Measurement:
    """Fit the true pair of columns: the fast rate, which contradicts the claim."""
    fit = instance.X[:, :2] @ np.linalg.lstsq(instance.X[:, :2], instance.y, rcond=None)[0]
    return Measurement(float(np.mean((fit - instance.signal) ** 2)), 0.6 / np.sqrt(instance.y.size))


slow_lasso = Claim(
    name="random_supports.slow_lasso",
    statement=r"\min_\lambda \tfrac1n \|X(\hat w_\lambda - w^*)\|^2 \ge 0.6\, n^{-1/2}"
    r" \text{ on blocks of nearly cancelling pairs}",
    source=classic(
        "Zhang, Wainwright, Jordan, EJS 11 (2017) 752-799, mechanism; constants and angle measured here", "slow rate"
    ),
    verdict=Attains(0.9),
    instances=lambda: st.builds(
        lambda seed, n: _draw_blocks(np.random.default_rng(seed), n),
        st.integers(0, 2**32 - 1),
        st.sampled_from([64, 256]),
    ),
    evaluate=_best_lasso,
    near_miss=_right_pair,
    sweep=Sweep(
        axis="n",
        values=(64.0, 256.0, 1024.0),
        draw=_draw_blocks,
        trials=30,
        quick_trials=10,
        log="xy",
        measured_label="Lasso at its best level",
        bound_label="0.6 over root n",
    ),
)


@cache
def _paired(tau: float) -> tuple[_Array, Anchors]:
    X = make_design("pairs", 200, 400, tau=tau, random_state=0)
    return X, select_anchors(X, _K, delta=0.15, random_state=0)


def _draw_pair(rng: np.random.Generator, tau: float, *, worst: bool = True) -> _Trial:
    X, anchors = _paired(tau)
    if not worst:
        return _draw(rng, X, _K, 0.1, anchors)
    unused = np.setdiff1d(np.arange(0, 400, 2), anchors.indices // 2 * 2)
    first = rng.choice(unused)
    S = np.concatenate([[first, first + 1], rng.choice(np.setdiff1d(unused, first), _K - 2, replace=False)])
    signal = X[:, S] @ adversarial_coefficients(X, S)
    return _Trial(X, signal, signal + 0.1 * rng.standard_normal(200), 0.1, anchors)


def _adversary(trial: _Trial) -> Measurement:
    """Measure the error where the adversary puts a near-duplicate pair into the support: no theorem applies."""
    return Measurement(_anchored_error(trial, "foba", _K), 10.0)


def _random_instead(trial: _Trial) -> Measurement:
    rng = np.random.default_rng(int(abs(trial.y[0]) * 1e6))
    return _adversary(_draw(rng, trial.X, _K, trial.sigma, trial.anchors))


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
