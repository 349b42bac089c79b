"""Forward-backward splitting against loops over its definition, and the theorems about it."""

import numpy as np
import pytest
from coding.coding_references import draw_problem, objective, penalties, seeds
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning
from sklearn.linear_model import Lasso

from sparsetheory.coding.codes.certificates import criticality
from sparsetheory.coding.codes.objective import SquaredResidual
from sparsetheory.coding.proximal_gradient.batch import GuardedBatch
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.coding.proximal_gradient.step_sizes import squared_spectral_norm, step_limit
from sparsetheory.penalties import CEL0, L0, L1, Lq
from sparsetheory.penalties.per_feature import PenaltyRows

families = st.integers(0, 9)
EPS = np.finfo(float).eps
ignore_unconverged = pytest.mark.filterwarnings("ignore::sklearn.exceptions.ConvergenceWarning")


def _plain(x, A, penalty, step, n_steps, c=None):
    """Return all iterates of one signal."""
    path = [np.zeros(A.shape[1]) if c is None else c]
    for _ in range(n_steps):
        path.append(penalty.prox(path[-1] + step * A.T @ (x - A @ path[-1]), step))
    return np.array(path)


def _fista(x, A, penalty, step, n_steps, restart):
    old = new = y = np.zeros(A.shape[1])
    t, path = 1.0, []
    for _ in range(n_steps):
        old, new = new, penalty.prox(y + step * A.T @ (x - A @ y), step)
        if restart and (y - new) @ (new - old) > 0:
            t = 1.0
        later = (1 + np.sqrt(1 + 4 * t * t)) / 2
        y = new + (t - 1) / later * (new - old)
        t = later
        path.append(new)
    return np.array(path)


@ignore_unconverged
@given(seeds, families, st.booleans())
def test_plain_steps(seed, family, warm):
    X, A, alpha = draw_problem(seed)
    penalty = penalties(alpha, A)[family]
    start = np.random.default_rng(seed).standard_normal((4, A.shape[1])) if warm else None
    found = forward_backward(X, A.T, penalty, tol=0, max_iter=3, init=start, keep_history=True)
    C = found.codes
    for i, x in enumerate(X):
        path = _plain(x, A, penalty, found.step, 3, start[i] if warm else None)
        # A step at 0.99 of its limit multiplies rounding by at most 1 / (1 - step rho) <= 100, except across a jump,
        # which would show as a wrong support.
        np.testing.assert_array_equal(C[i] != 0, path[-1] != 0)
        np.testing.assert_allclose(C[i], path[-1], atol=1e-9 * (1 + np.abs(path).max()))
        values = [objective(x, A, c, penalty) for c in path]
        steps = np.argmax(np.append((found.history.change[:, i] == 0), True))
        np.testing.assert_allclose(found.history.objective[: steps + 1, i], values[: steps + 1], rtol=1e-9, atol=1e-12)
        moves = np.linalg.norm(np.diff(path, axis=0), axis=1)
        np.testing.assert_allclose(found.history.change[:steps, i], moves[:steps], atol=1e-9 * (1 + moves.max()))
        flips = np.count_nonzero(np.diff(path != 0, axis=0), axis=1)
        assert found.history.flips[:steps, i].tolist() == flips[:steps].tolist()
    assert found.objective == pytest.approx([objective(x, A, c, penalty) for x, c in zip(X, C, strict=True)])


@ignore_unconverged
@given(seeds, st.booleans())
def test_fista(seed, restart):
    X, A, alpha = draw_problem(seed)
    found = forward_backward(X, A.T, L1(alpha), accelerated=True, restart=restart, tol=0, max_iter=30)
    C = found.codes
    assert found.step == 1 / squared_spectral_norm(A)
    for x, c in zip(X, C, strict=True):
        path = _fista(x, A, L1(alpha), found.step, 30, restart)
        np.testing.assert_allclose(c, path[-1], atol=1e-9)


@ignore_unconverged
@given(seeds, families, st.booleans(), st.floats(0.02, 0.999))
def test_sufficient_decrease(seed, family, accel, share):
    X, A, alpha = draw_problem(seed)
    penalty = penalties(alpha, A)[family]
    L, rho = squared_spectral_norm(A), penalty.weak_convexity()
    if accel and family == 0:
        return
    step = share * step_limit(L, penalty)
    found = forward_backward(X, A.T, penalty, step=step, accelerated=accel, max_iter=60, keep_history=True)
    least = 1e-4 / step if accel else 0.5 * ((1 / step - L) + max(1 / step - rho, 0))
    # Extrapolated points need less; a refused one makes way for a plain step.
    least = min(least, 0.5 * ((1 / step - L) + max(1 / step - rho, 0)))
    fall = -np.diff(found.history.objective, axis=0)
    slack = 1e-12 * (1 + found.history.objective[0])
    assert (fall >= least * found.history.change**2 - slack).all()
    if not accel:
        # The smallest of k + 1 moves.
        k = np.arange(1, found.history.change.shape[0] + 1)[:, None]
        smallest = np.minimum.accumulate(found.history.change**2, axis=0)
        assert (smallest * k * least <= found.history.objective[0] + slack).all()


@ignore_unconverged
@given(seeds, families, st.floats(0.05, 0.99), st.integers(1, 20))
def test_distance_from_criticality_is_at_most_the_last_move_over_the_step(seed, family, share, n_steps):
    X, A, alpha = draw_problem(seed)
    penalty = penalties(alpha, A)[family]
    step = share * step_limit(squared_spectral_norm(A), penalty)
    found = forward_backward(X, A.T, penalty, step=step, tol=0, max_iter=n_steps, keep_history=True)
    C = found.codes
    distance = np.linalg.norm(penalty.subgrad_dist(C, (C @ A.T - X) @ A), axis=1)
    # What is left of the gradient is (1 / step - D'D) times the move.
    factor = max(1 / step, squared_spectral_norm(A) - 1 / step)
    rounding = 1e-12 * factor * (np.linalg.norm(C, axis=1) + np.linalg.norm(X @ A, axis=1) * step)
    assert (distance <= factor * found.history.change[-1] + rounding).all()


@ignore_unconverged
@given(seeds, families)
def test_nonzero_entries_are_at_least_the_jump(seed, family):
    X, A, alpha = draw_problem(seed)
    penalty = penalties(alpha, A)[family]
    found = forward_backward(X, A.T, penalty, max_iter=50)
    C = found.codes
    least = penalty.jump(found.step) + 0 * C
    assert (np.abs(C) >= least * (1 - 1e-12))[C != 0].all()


@ignore_unconverged
@given(seeds, st.sampled_from([L0, lambda alpha: Lq(alpha, 0.5)]))
def test_support_changes_have_a_budget(seed, family):
    X, A, alpha = draw_problem(seed)
    penalty = family(alpha)
    found = forward_backward(X, A.T, penalty, max_iter=300, keep_history=True)
    room = (1 / found.step - squared_spectral_norm(A)) * penalty.jump(found.step) ** 2
    budget = 2 * found.history.objective[0] / room
    assert (found.history.flips.sum(axis=0) <= budget).all()


@pytest.mark.parametrize("family", range(10))
@pytest.mark.parametrize("n", [6, 40])
def test_converged_codes_are_fixed_points(family, n):
    X, A, _ = draw_problem(3, m=10, n=n, n_samples=30, plain=True)
    penalty = penalties(0.3, A)[family]
    found = forward_backward(X, A.T, penalty, tol=1e-7, max_iter=100_000)
    plain = found.codes
    accelerated = forward_backward(X, A.T, penalty, accelerated=True, tol=1e-7, max_iter=100_000)
    fast = accelerated.codes
    for C, run in ((plain, found), (fast, accelerated)):
        assert run.converged.all()
        assert run.n_iter.max() < 100_000
        after = penalty.prox(C + run.step * (X - C @ A.T) @ A, run.step)
        # One more step, from a code that moved by 1e-7: at most its own Lipschitz constant longer.
        assert np.abs(after - C).max() <= 1e-6 * np.abs(C).max()
    if family == 0:
        assert found.objective == pytest.approx(accelerated.objective, rel=1e-6)
    assert accelerated.n_iter.mean() < found.n_iter.mean()


def test_a_move_is_counted_from_the_last_code_where_the_extrapolated_point_was_refused():
    X, A, _ = draw_problem(3, m=8, n=12, n_samples=5, plain=True)
    rows = PenaltyRows(CEL0(0.3), 12, X.dtype)
    batch = GuardedBatch(SquaredResidual(X, A), rows, np.zeros((5, 12)), 0.9 / np.linalg.norm(A, 2) ** 2, restart=True)
    batch.advance()
    old = batch.codes
    batch.points = batch.points + 100.0
    batch.point_state = batch.loss.state(batch.points)
    moved = batch.advance()
    assert moved == pytest.approx(np.abs(batch.codes - old).max(axis=1) / np.abs(batch.codes).max(axis=1))


@pytest.mark.parametrize("share", [0.9, 0.01])
def test_short_steps_stop_no_sooner(share):
    X, A, _ = draw_problem(3, m=8, n=12, n_samples=20, plain=True)
    L, tol = np.linalg.norm(A, 2) ** 2, 1e-4
    for penalty in (L1(0.3), CEL0(0.3)):
        C = forward_backward(X, A.T, penalty, step=share / L, tol=tol, max_iter=100_000).codes
        # A step of 1/L would move no entry by more than about `tol` times the largest one.
        assert (criticality(X, A.T, C, penalty, step=share / L) <= 1.1 * tol * L * np.abs(C).max(axis=1)).all()


@ignore_unconverged
def test_residual_vanishes_and_paths_have_finite_length():
    X, A, _ = draw_problem(5, m=8, n=20, n_samples=10, plain=True)
    for penalty in penalties(0.3, A):
        found = forward_backward(X, A.T, penalty, tol=0, max_iter=4000, keep_history=True)
        C = found.codes
        half = found.history.change.shape[0] // 2
        late, early = found.history.change[half:].sum(axis=0), found.history.change[:half].sum(axis=0)
        assert (late <= 0.5 * early).all()
        gradient = (C @ A.T - X) @ A
        assert penalty.subgrad_dist(C, gradient).max() < 1e-8


def test_settled_supports_converge_linearly_to_least_squares():
    X, A, _ = draw_problem(11, m=10, n=15, n_samples=12, plain=True)
    found = forward_backward(X, A.T, L0(0.05), tol=1e-12, max_iter=100_000)
    C = found.codes
    for x, c in zip(X, C, strict=True):
        S = np.flatnonzero(c)
        path = _plain(x, A, L0(0.05), found.step, 400)
        settled = np.flatnonzero((path != 0) != (c != 0)) // A.shape[1]
        start = int(settled.max(initial=-1)) + 1
        best = np.linalg.lstsq(A[:, S], x)[0]
        error = np.linalg.norm(path[start:, S] - best, axis=1)
        rate = 1 - found.step * np.linalg.svd(A[:, S], compute_uv=False)[-1] ** 2
        assert (error[1:] <= rate * error[:-1] + 1e-13).all()
        np.testing.assert_allclose(c[S], best, atol=1e-7)


@ignore_unconverged
@given(seeds)
def test_rates_of_ista_and_fista(seed):
    X, A, alpha = draw_problem(seed, n=(3, 12), n_samples=2, plain=True)
    optimum = forward_backward(X, A.T, L1(alpha), accelerated=True, tol=1e-13, max_iter=50_000)
    best = optimum.codes
    square = np.sum(best**2, axis=1)
    for accel in (False, True):
        L = squared_spectral_norm(A)
        found = forward_backward(
            X, A.T, L1(alpha), step=1 / L, accelerated=accel, restart=False, tol=0, max_iter=100, keep_history=True
        )
        k = np.arange(1, found.history.change.shape[0] + 1)[:, None]
        bound = 2 * L * square / (k + 1) ** 2 if accel else L * square / (2 * k)
        assert (found.history.objective[1:] - optimum.objective <= bound + 1e-12).all()


def test_the_lasso_of_scikit_learn():
    X, A, _ = draw_problem(6, m=20, n=35, n_samples=8, plain=True)
    found = forward_backward(X, A.T, L1(0.1), accelerated=True, tol=1e-10, max_iter=100_000)
    C = found.codes
    model = Lasso(alpha=0.1 / 20, fit_intercept=False, tol=1e-12, max_iter=100_000)
    for x, c, value in zip(X, C, found.objective, strict=True):
        other = model.fit(A, x).coef_
        assert value == pytest.approx(objective(x, A, other, L1(0.1)), rel=1e-10)
        np.testing.assert_allclose(c, other, atol=1e-5)


def test_restart_saves_steps():
    X, A, _ = draw_problem(2, m=20, n=60, n_samples=40, plain=True)
    with_restart, without = (
        forward_backward(X, A.T, L1(0.05), accelerated=True, restart=restart, tol=1e-8, max_iter=100_000)
        for restart in (True, False)
    )
    assert with_restart.n_iter.mean() < 0.7 * without.n_iter.mean()


def _paper(X, A, penalty, step, most):
    """Follow the published rule, with singular values."""
    old = np.zeros((X.shape[0], A.shape[1]))
    for t in range(most):
        new = penalty.prox(old + step * (X - old @ A.T) @ A, step)
        stop = np.linalg.norm(new - old, 2) / (1e-2 + np.linalg.norm(old, 2)) < 1e-2
        old = new
        if stop:
            return penalty.prox(old + step * (X - old @ A.T) @ A, step), t + 2
    return None


@pytest.mark.parametrize("family", range(9))
def test_published_rule(family):
    X, A, _ = draw_problem(4, m=12, n=30, n_samples=25, plain=True)
    penalty = penalties(0.02, A)[family]
    found = forward_backward(X, A.T, penalty, step=0.02, stop_rule="published", max_iter=5000)
    C = found.codes
    expected, steps = _paper(X, A, penalty, 0.02, 5000)
    np.testing.assert_allclose(C, expected, atol=1e-12)
    assert found.n_iter.tolist() == [steps] * 25
    assert found.converged.all()


def test_published_rule_stops_before_convergence():
    X, A, _ = draw_problem(4, m=12, n=30, n_samples=25, plain=True)
    early = forward_backward(X, A.T, L1(0.02), step=0.01, stop_rule="published", max_iter=5000)
    paper = early.codes
    late = forward_backward(X, A.T, L1(0.02), accelerated=True, tol=1e-8, max_iter=50_000)
    full = late.codes
    assert early.objective.mean() > 1.05 * late.objective.mean()
    assert np.count_nonzero(paper) > 1.3 * np.count_nonzero(full)
    # The first hard threshold, sqrt(2 alpha step), is above all inner products times the step: nothing moves.
    found = forward_backward(X, A.T, L0(1.0), step=1e-4, stop_rule="published")
    nothing = found.codes
    assert not nothing.any()
    assert found.n_iter.tolist() == [2] * 25


def test_published_rule_that_does_not_stop():
    X, A, _ = draw_problem(4, m=12, n=30, n_samples=25, plain=True)
    with pytest.warns(ConvergenceWarning, match="25 of 25 codes .* max_iter=3"):
        found = forward_backward(X, A.T, L1(0.02), step=0.02, stop_rule="published", max_iter=3, keep_history=True)
    assert not found.converged.any()
    assert found.history.change.shape == (3, 25)


def test_published_rule_survives_a_step_that_diverges(rng):
    A = 30 * rng.standard_normal((6, 12))
    with pytest.warns(RuntimeWarning, match="step"), pytest.warns(ConvergenceWarning):
        found = forward_backward(rng.standard_normal((3, 6)), A.T, L1(0.1), step=1.0, stop_rule="published")
    C = found.codes
    assert not found.converged.any()
    assert np.isfinite(C).all()
