"""Claims about the prediction error of the two phases on a fixed design."""

import warnings
from dataclasses import dataclass
from functools import cache

import numpy as np

from sparsetheory.proofs_checks.claim import Claim, Measurement, Source, Sweep
from sparsetheory.proofs_checks.random_supports.instances import (
    ROUNDING,
    Problem,
    inspired,
    problems,
)
from sparsetheory.proofs_checks.verdicts import Always, WithProbability
from sparsetheory.regression import (
    Anchors,
    RandomSupportRegressor,
    adversarial_coefficients,
    make_design,
    sample_support,
    select_anchors,
    theory,
)
from sparsetheory.regression.columns import Columns
from sparsetheory.regression.lasso.working_set import solve_lasso
from sparsetheory.regression.orthonormal import orthonormal_basis
from sparsetheory.typing import Float64Array, IndexArray


@dataclass(frozen=True)
class _Fit:
    """The anchored Lasso of a problem, at the least strength that the realised noise allows."""

    prediction: Float64Array
    off_anchors: Float64Array
    alpha: float
    gap: float


def _fit(problem: Problem, factor: float = 1.0) -> _Fit:
    """Fit with ``alpha = factor * max |v_j' xi| / N``, which the theorem allows for factors of at least one."""
    columns, weights = problem.columns, problem.distances
    alive = weights > 0
    noise = np.abs(columns.correlate(problem.noise)[alive]) / (problem.n * weights[alive])
    alpha = factor * max(float(noise.max(initial=0.0)), 1e-12)
    residual = columns.project(problem.y)
    solution = solve_lasso(columns, residual, alpha * weights, squares=problem.n * weights**2, tol=1e-10)
    off = columns.apply(solution.indices, solution.values)
    return _Fit(problem.y - residual + off, off, alpha, solution.gap)


def _pythagoras(problem: Problem, expected: bool = False) -> Measurement:
    """Compare the error of fitted coefficients with two parts computed apart: noise inside, and the rest outside.

    The span of the anchors is fitted by least squares, whatever the other coefficients are. So the prediction has the
    response's part inside it, and the error there is the noise's; errors inside and outside are orthogonal.
    """
    model = RandomSupportRegressor(
        problem.S.size, solver="lasso", anchors=problem.T, noise_std=1.0, alpha=0.1, fit_intercept=False
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        coef = model.fit(problem.X, problem.y).coef_.copy()
    basis = np.linalg.qr(problem.X[:, problem.T])[0] if problem.T.size else np.zeros((problem.n, 0))
    total = problem.rms(problem.X @ coef - problem.signal) ** 2
    inside = problem.rms(basis.T @ problem.noise) ** 2
    if expected:
        inside = problem.rms(problem.noise) ** 2 * problem.T.size / problem.n
    coef[problem.S] -= problem.w
    outside = problem.X @ coef
    outside -= basis @ (basis.T @ outside)
    # Terms of the predictions, which may cancel.
    scale = problem.rms(np.abs(problem.X) @ np.abs(coef)) + problem.rms(problem.y)
    return Measurement(abs(total - inside - problem.rms(outside) ** 2), 0.0, scale**2)


pythagoras = Claim(
    name="random_supports.pythagoras",
    summary="The error is the noise in the span of the anchors plus the error outside it.",
    statement=r"\|X(\hat w - w^*)\|_N^2 = \|Q^\top \xi\|_N^2 + \|(I - QQ^\top) X(\hat w - w^*)\|_N^2",
    source=Source.ours("orthogonal parts of the error"),
    # Sums over up to 150 columns and 60 rows, and least squares on anchors up to 1e4 times closer than their norm.
    verdict=Always(1e-11),
    instances=problems,
    evaluate=_pythagoras,
    # The noise in the span of m anchors has m / N of the energy of the noise only on average.
    near_miss=lambda problem: _pythagoras(problem, expected=True),
)


def _l1_part(problem: Problem, factor: float = 1.0) -> Measurement:
    r"""Compare the error off the anchors' span with twice the strength times the l1 norm of the truth.

    The objective is strongly convex in the prediction, so at its minimiser
    :math:`\tfrac1{2N}\|V(\hat z - z)\|^2 + F(\hat z) \le F(z)`; insert the truth, and let the strength pay for the
    noise. A solver that stops at gap g is within :math:`\sqrt{2g}` of the minimiser.
    """
    fit = _fit(problem, factor)
    outside = problem.rms(fit.off_anchors - problem.columns.project(problem.signal))
    norm = float(problem.distances[problem.S] @ np.abs(problem.w))
    alpha = fit.alpha / factor
    return Measurement(outside, np.sqrt(2 * alpha * norm) + np.sqrt(2 * fit.gap), max(problem.rms(problem.y), 1e-3))


l1_part = Claim(
    name="random_supports.l1_part",
    summary="Outside the span of the anchors the error is at most twice the strength times the l1 norm of the truth.",
    statement=r"\|V(\hat z - z^*)\|_N^2 \le 2 \lambda \|z^*\|_1 \text{ for } \lambda \ge \|V^\top \xi\|_\infty / N",
    source=Source.ours("error of the l1 part"),
    verdict=Always(ROUNDING),
    instances=problems,
    evaluate=_l1_part,
    near_miss=0.7,
)


def _transformed(problem: Problem, X: Float64Array, y: Float64Array, T: IndexArray, alpha: float) -> Float64Array:
    columns = Columns(np.asfortranarray(X), orthonormal_basis(X[:, T])[0])
    squares = columns.squares()
    squares[squares < 1e-20 * columns.raw_squares()] = 0.0
    residual = columns.project(y)
    strengths = alpha * np.sqrt(squares / problem.n)
    solution = solve_lasso(columns, residual, strengths, squares=squares, tol=1e-13)
    return np.asarray(y - residual + columns.apply(solution.indices, solution.values))


def _invariances(problem: Problem, shear_along: IndexArray | None = None) -> Measurement:
    """Compare predictions after rescaling, permuting, rotating and shearing along anchors.

    Weights are distances to the anchors' span, which none of the four changes up to the same rescaling.
    """
    rng, T, (n, d) = problem.rng(), problem.T, problem.X.shape
    alpha = 0.3 * float(np.max(np.abs(problem.columns.correlate(problem.y)) / np.maximum(problem.distances, 1e-3))) / n
    plain = _transformed(problem, problem.X, problem.y, T, alpha)
    scaled = _transformed(problem, problem.X * 10 ** rng.uniform(-2, 2, d), problem.y, T, alpha)
    order = rng.permutation(d)
    permuted = _transformed(problem, problem.X[:, order], problem.y, np.argsort(order)[T], alpha)
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    rotated = turn.T @ _transformed(problem, turn @ problem.X, turn @ problem.y, T, alpha)
    along = T if shear_along is None else shear_along
    shift = rng.standard_normal((along.size, d))
    shift[:, T] = 0.0
    sheared = _transformed(problem, problem.X + problem.X[:, along] @ shift, problem.y, T, alpha)
    distances = [problem.rms(other - plain) for other in (scaled, permuted, rotated, sheared)]
    return Measurement.worst(distances, 0.0, problem.rms(problem.y))


def _sheared_along_another_column(problem: Problem) -> Measurement:
    others = np.setdiff1d(np.arange(problem.X.shape[1]), problem.T)[:1]
    return _invariances(problem, others)


invariances = Claim(
    name="random_supports.invariances",
    summary="Rotations, the units and order of columns, and shifts along anchors change no prediction.",
    statement=r"\hat f(X C) = \hat f(X \Pi) = O^\top \hat f(OX, Oy) = \hat f(X + X_T A) = \hat f(X)",
    source=Source.ours("invariances of the anchored Lasso"),
    # A relative gap of 1e-13 puts each of two predictions within 3.2e-7 of the same one; rotated columns with distances
    # of 1e-4 lose four digits of sixteen.
    verdict=Always(1e-6),
    instances=problems,
    evaluate=_invariances,
    near_miss=_sheared_along_another_column,
)

_N, _D, _K, _SIGMA = 200, 400, 5, 0.1
# Chances that the certified anchors fail a support, and that their certificate is wrong.
_DELTA, _BETA = 0.02, 0.01


@dataclass(frozen=True)
class _Trial:
    """A response on a support drawn at random, of a given ratio of signal to noise."""

    X: Float64Array
    signal: Float64Array
    y: Float64Array
    ratio: float


@cache
def _low_rank() -> tuple[Float64Array, Anchors]:
    X = make_design("lowrank", _N, _D, random_state=0)
    return X, select_anchors(
        X, n_nonzero=_K, delta=_DELTA, confidence=1.0 - _BETA, max_compatibility=_K, random_state=0
    )


def _draw_trial(rng: np.random.Generator, ratio: float) -> _Trial:
    X = _low_rank()[0]
    S = sample_support(X, n_nonzero=_K, random_state=rng)
    signal = X[:, S] @ adversarial_coefficients(X, S, signal_size=ratio * _SIGMA)
    return _Trial(X, signal, signal + _SIGMA * rng.standard_normal(_N), ratio)


def _fitted_error(trial: _Trial) -> tuple[float, RandomSupportRegressor]:
    model = RandomSupportRegressor(_K, solver="lasso", anchors=_low_rank()[1], noise_std=_SIGMA, fit_intercept=False)
    model.fit(trial.X, trial.y)
    return float(np.mean((model.predict(trial.X) - trial.signal) ** 2)) / _SIGMA**2, model


def _prediction(trial: _Trial) -> Measurement:
    """Measure the error of the anchored Lasso against the bound that its certificate states.

    The two parts of the error, each bounded; the noise inside the anchors' span by the tail of a chi-square variable.
    """
    error, model = _fitted_error(trial)
    return Measurement(error, model.error_bound(signal_size=trial.ratio * _SIGMA) / _SIGMA**2)


def _fast_rate(trial: _Trial) -> Measurement:
    """Claim k squared strengths, the rate of well-conditioned columns, for twice the strength times the l1 norm."""
    error, _ = _fitted_error(trial)
    noise = theory.prediction_bound(
        n_samples=_N,
        n_features=_D,
        n_anchors=_low_rank()[1].Q.shape[1],
        max_compatibility=0.0,
        signal_size=0.0,
        noise_std=_SIGMA,
        delta=0.1,
        deviation=3.0,
    )
    return Measurement(error, (noise + _K * theory.universal_alpha(_SIGMA, _N, _D, 0.1) ** 2) / _SIGMA**2)


prediction_error = Claim(
    name="random_supports.prediction_error",
    summary="The error of the anchored Lasso stays below its bound, which knows no condition number.",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \le \tfrac{\sigma^2}{N}(m + 2\sqrt{mt} + 2t) + 2 \lambda \alpha B",
    source=inspired("Theorem B, prediction error"),
    # Besides the anchors' chances, 0.1 for the strength and exp(-3) for the noise in their span.
    verdict=WithProbability(1 - _DELTA - _BETA - 0.1 - float(np.exp(-3))),
    evaluate=_prediction,
    near_miss=_fast_rate,
    sweep=Sweep(
        axis="signal over noise",
        values=(0.3, 1.0, 10.0, 100.0, 1000.0),
        draw=_draw_trial,
        trials=50,
        quick_trials=24,
        quick_values=(0.3, 1.0, 10.0, 1000.0),
        log="xy",
        measured_label="anchored Lasso, error over noise variance",
        y_label="error over noise variance",
        bound_label="bound",
    ),
)
