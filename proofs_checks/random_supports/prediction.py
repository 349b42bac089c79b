"""Claims about the prediction error of the two phases on a fixed design."""

from dataclasses import dataclass
from functools import cache

import numpy as np
from hypothesis import strategies as st
from numpy.typing import NDArray

from sparsetheory.proofs_checks.claim import Claim, Measurement, Sweep
from sparsetheory.proofs_checks.random_supports.instances import (
    ROUNDING,
    Problem,
    inspired,
    ours,
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
from sparsetheory.regression.distances import orthonormal_basis
from sparsetheory.regression.lasso_solver import solve_lasso

_Array = NDArray[np.float64]


@dataclass(frozen=True)
class _Fit:
    """The anchored Lasso of a problem, at the least level that the realised noise allows."""

    prediction: _Array
    off_anchors: _Array
    level: float
    gap: float


def _fit(problem: Problem, share: float = 1.0) -> _Fit:
    """Fit with ``lam = share * max |v_j' xi| / N``, which the theorem allows for shares of at least one."""
    columns, weights = problem.columns, problem.distances
    alive = weights > 0
    noise = np.abs(columns.correlate(problem.noise)[alive]) / (problem.n * weights[alive])
    level = share * max(float(noise.max(initial=0.0)), 1e-12)
    residual = columns.project(problem.y)
    solution = solve_lasso(columns, residual, level * weights, squares=problem.n * weights**2, tol=1e-10)
    off = columns.apply(solution.indices, solution.values)
    return _Fit(problem.y - residual + off, off, level, solution.gap)


def _pythagoras(problem: Problem) -> Measurement:
    """Compare the error with its two orthogonal parts: projected noise, and the error off the anchors' span."""
    fit = _fit(problem)
    total = problem.rms(fit.prediction - problem.signal) ** 2
    inside = problem.rms(problem.noise - problem.columns.project(problem.noise)) ** 2
    outside = problem.rms(fit.off_anchors - problem.columns.project(problem.signal)) ** 2
    return Measurement(abs(total - inside - outside), 0.0, max(total, problem.rms(problem.y) ** 2))


def _without_projected_noise(problem: Problem) -> Measurement:
    fit = _fit(problem)
    total = problem.rms(fit.prediction - problem.signal) ** 2
    outside = problem.rms(fit.off_anchors - problem.columns.project(problem.signal)) ** 2
    return Measurement(abs(total - outside), 0.0, max(total, problem.rms(problem.y) ** 2))


pythagoras = Claim(
    name="random_supports.pythagoras",
    statement=r"\|\hat f - Xw^*\|_N^2 = \|Q^\top \xi\|_N^2 + \|V(\hat z - z^*)\|_N^2",
    source=ours("orthogonal parts of the error"),
    # A projection is orthogonal to working precision, however ill-conditioned the columns.
    verdict=Always(1e-12),
    instances=problems,
    evaluate=_pythagoras,
    near_miss=_without_projected_noise,
)


def _l1_part(problem: Problem, share: float = 1.0) -> Measurement:
    r"""Compare the error off the anchors' span with twice the level times the l1 norm of the truth.

    The objective is strongly convex in the prediction, so at its minimiser
    :math:`\tfrac1{2N}\|V(\hat z - z)\|^2 + F(\hat z) \le F(z)`; insert the truth, and let the level pay for the noise.
    A solver that stops at gap g is within :math:`\sqrt{2g}` of the minimiser.
    """
    fit = _fit(problem, share)
    outside = problem.rms(fit.off_anchors - problem.columns.project(problem.signal))
    norm = float(problem.distances[problem.S] @ np.abs(problem.w))
    level = fit.level / share
    return Measurement(outside, np.sqrt(2 * level * norm) + np.sqrt(2 * fit.gap), max(problem.rms(problem.y), 1e-3))


l1_part = Claim(
    name="random_supports.l1_part",
    statement=r"\|V(\hat z - z^*)\|_N^2 \le 2 \lambda \|z^*\|_1 \text{ for } \lambda \ge \|V^\top \xi\|_\infty / N",
    source=ours("error of the l1 part"),
    verdict=Always(ROUNDING),
    instances=problems,
    evaluate=_l1_part,
    near_miss=0.5,
)


def _transformed(problem: Problem, X: _Array, y: _Array, T: NDArray[np.intp], level: float) -> _Array:
    columns = Columns(np.asfortranarray(X), orthonormal_basis(X[:, T])[0])
    squares = columns.squares()
    squares[squares < 1e-20 * columns.raw_squares()] = 0.0
    residual = columns.project(y)
    lam = level * np.sqrt(squares / problem.n)
    solution = solve_lasso(columns, residual, lam, squares=squares, tol=1e-13)
    return np.asarray(y - residual + columns.apply(solution.indices, solution.values))


def _invariances(problem: Problem, shear_along: NDArray[np.intp] | None = None) -> Measurement:
    """Compare predictions after rescaling, permuting, rotating and shearing along anchors.

    Weights are distances to the anchors' span, which none of the four changes up to the same rescaling.
    """
    rng, T, (n, d) = problem.rng(), problem.T, problem.X.shape
    level = 0.3 * float(np.max(np.abs(problem.columns.correlate(problem.y)) / np.maximum(problem.distances, 1e-3))) / n
    plain = _transformed(problem, problem.X, problem.y, T, level)
    scaled = _transformed(problem, problem.X * 10 ** rng.uniform(-2, 2, d), problem.y, T, level)
    order = rng.permutation(d)
    permuted = _transformed(problem, problem.X[:, order], problem.y, np.argsort(order)[T], level)
    turn = np.linalg.qr(rng.standard_normal((n, n)))[0]
    rotated = turn.T @ _transformed(problem, turn @ problem.X, turn @ problem.y, T, level)
    along = T if shear_along is None else shear_along
    shift = rng.standard_normal((along.size, d))
    shift[:, T] = 0.0
    sheared = _transformed(problem, problem.X + problem.X[:, along] @ shift, problem.y, T, level)
    distances = [problem.rms(other - plain) for other in (scaled, permuted, rotated, sheared)]
    return Measurement.worst(distances, 0.0, problem.rms(problem.y))


def _sheared_along_another_column(problem: Problem) -> Measurement:
    others = np.setdiff1d(np.arange(problem.X.shape[1]), problem.T)[:1]
    return _invariances(problem, others)


invariances = Claim(
    name="random_supports.invariances",
    statement=r"\hat f(X C) = \hat f(X \Pi) = O^\top \hat f(OX, Oy) = \hat f(X + X_T A) = \hat f(X)",
    source=ours("invariances of the anchored Lasso"),
    # A relative gap of 1e-13 puts each of two predictions within 3.2e-7 of the same one; rotated columns with distances
    # of 1e-4 lose four digits of sixteen.
    verdict=Always(1e-6),
    instances=problems,
    evaluate=_invariances,
    near_miss=_sheared_along_another_column,
)

_N, _D, _K, _SIGMA = 200, 400, 5, 0.1


@dataclass(frozen=True)
class _Trial:
    """A response on a support drawn at random, of a given ratio of signal to noise."""

    X: _Array
    signal: _Array
    y: _Array
    ratio: float


@cache
def _tree() -> _Array:
    return make_design("tree", _N, _D, random_state=0)


def _draw_trial(rng: np.random.Generator, ratio: float) -> _Trial:
    X = _tree()
    S = sample_support(X, _K, random_state=rng)
    signal = X[:, S] @ adversarial_coefficients(X, S, B=ratio * _SIGMA)
    return _Trial(X, signal, signal + _SIGMA * rng.standard_normal(_N), ratio)


@cache
def _anchors() -> Anchors:
    return select_anchors(_tree(), _K, random_state=0)


def _model(solver: str) -> RandomSupportRegressor:
    return RandomSupportRegressor(_K, solver=solver, anchors=_anchors(), sigma=_SIGMA, fit_intercept=False)


def _error(trial: _Trial, solver: str) -> tuple[float, RandomSupportRegressor]:
    model = _model(solver).fit(trial.X, trial.y)
    return float(np.mean((model.predict(trial.X) - trial.signal) ** 2)) / _SIGMA**2, model


def _prediction(trial: _Trial) -> Measurement:
    """Measure the error of the anchored Lasso against the bound that its certificate states.

    The two parts of the error, each bounded; the noise inside the anchors' span by the tail of a chi-square variable.
    """
    error, model = _error(trial, "lasso")
    greedy, _ = _error(trial, "foba")
    bound = model.error_bound(B=trial.ratio * _SIGMA) / _SIGMA**2
    return Measurement(error, bound, extras={"forward-backward (no theorem)": greedy})


def _anchor_noise_alone(trial: _Trial) -> Measurement:
    """Forget what the l1 norm costs, and that noise fluctuates."""
    error, _ = _error(trial, "lasso")
    rank = _anchors().Q.shape[1]
    noise = theory.prediction_bound(_N, _D, rank, 0.0, 0.0, _SIGMA, 0.1, 0.0) / _SIGMA**2
    return Measurement(error, noise)


prediction_error = Claim(
    name="random_supports.prediction_error",
    statement=r"\tfrac1N \|X(\hat w - w^*)\|^2 \le \tfrac{\sigma^2}{N}(m + 2\sqrt{mt} + 2t) + 2 \lambda \alpha B",
    source=inspired("Theorem B, prediction error"),
    # delta = beta = 0.05 for the anchors, 0.1 for the level, exp(-3) for the noise in their span.
    verdict=WithProbability(1 - 0.05 - 0.05 - 0.1 - float(np.exp(-3))),
    instances=lambda: st.builds(
        lambda seed, ratio: _draw_trial(np.random.default_rng(seed), ratio),
        st.integers(0, 2**32 - 1),
        st.floats(1.0, 1000.0),
    ),
    evaluate=_prediction,
    near_miss=_anchor_noise_alone,
    sweep=Sweep(
        axis="signal over noise",
        values=(1.0, 10.0, 100.0, 1000.0),
        draw=_draw_trial,
        trials=50,
        quick_trials=12,
        log="xy",
        measured_label="anchored Lasso, error over noise variance",
        bound_label="bound",
    ),
)
