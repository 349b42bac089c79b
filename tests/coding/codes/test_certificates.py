"""Certificates of codes against bounds, brute force and spoiled solutions."""

import numpy as np
import pytest
from coding.coding_references import (
    BAD_ARRAYS,
    BAD_CODES,
    BAD_LAM,
    draw_problem,
    good_arguments,
    objective,
    penalties,
    refuses,
    seeds,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.coding.codes.certificates import CodeCertificate, criticality, duality_gap
from sparsetheory.coding.proximal_gradient.forward_backward import forward_backward
from sparsetheory.penalties import CEL0, L0, L1, MCP, Lq


def _gap(x, A, c, alpha):
    """Maximise the dual objective over multiples of the residual, on a grid and at its ends."""
    r = x - A @ c
    most = alpha / max(np.abs(A.T @ r).max(), 1e-300)
    scales = np.unique(np.clip(np.append(np.linspace(-3, 3, 20_001), most), -most, most))
    duals = 0.5 * x @ x - 0.5 * np.sum((x - scales[:, None] * r) ** 2, axis=1)
    return objective(x, A, c, L1(alpha)) - duals.max()


@given(seeds, st.floats(0, 1))
def test_gap_is_the_best_of_its_kind(seed, fill):
    X, A, alpha = draw_problem(seed)
    rng = np.random.default_rng(seed)
    C = rng.standard_normal((4, A.shape[1])) * (rng.random((4, A.shape[1])) < fill)
    gaps = duality_gap(X, A.T, C, alpha=alpha)
    assert (gaps >= 0).all()
    for x, c, gap in zip(X, C, gaps, strict=True):
        # The grid misses the best scale by at most 1.5e-4, which the quadratic sees squared.
        r = x - A @ c
        assert gap == pytest.approx(_gap(x, A, c, alpha), abs=1e-7 * (r @ r) + 1e-12 * (x @ x + r @ r))


@given(seeds)
def test_gap_bounds_what_is_left(seed):
    X, A, alpha = draw_problem(seed)
    found = forward_backward(X, A.T, L1(alpha), accelerated=True, tol=1e-3, max_iter=10_000)
    C = found.codes
    optimum = forward_backward(X, A.T, L1(alpha), accelerated=True, tol=1e-8, max_iter=200_000, init=C)
    best = optimum.codes
    gaps = duality_gap(X, A.T, C, alpha=alpha)
    assert (found.objective - optimum.objective <= gaps + 1e-14).all()
    # The gap is of first order in the distance from the best code, which falls with the tolerance.
    assert duality_gap(X, A.T, best, alpha=alpha).max() <= 1e-2 * gaps.max() + 1e-9


def test_small_gaps_are_resolved():
    # The code is off by 1e-9: its objective by 5e-19, far below the rounding of the objective itself.
    gap = duality_gap([[3.0, 2.0]], np.eye(2), [[2.0 + 1e-9, 1.0]], alpha=1.0)
    assert 0 < gap[0] < 1e-8
    assert duality_gap([[3.0, 2.0]], np.eye(2), [[2.0, 1.0]], alpha=1.0) == [0.0]


def test_gaps_of_special_codes():
    X, A = np.array([[3.0, 0.5], [0.0, 0.0], [1.0, 1.0]]), np.eye(2)
    # A zero code of a zero signal, and an exact code: the residual is zero, and the l1 norm is all that is left.
    assert duality_gap(X, A.T, np.zeros((3, 2)), alpha=3.0).tolist() == [0.0, 0.0, 0.0]
    assert duality_gap(X, A.T, X, alpha=0.25).tolist() == [0.875, 0.0, 0.5]
    assert duality_gap(X, A.T, np.zeros((3, 2)), alpha=0.0) == pytest.approx(0.5 * np.sum(X**2, axis=1))
    assert duality_gap(np.ones((0, 2)), A.T, np.ones((0, 2)), alpha=1.0).shape == (0,)


@given(seeds, st.integers(0, 9), st.floats(0.01, 1.0))
def test_criticality_is_the_move_of_one_step(seed, family, step):
    X, A, alpha = draw_problem(seed)
    penalty = penalties(alpha, A)[family]
    C = np.random.default_rng(seed).standard_normal((4, A.shape[1]))
    moved = penalty.prox(C + step * (X - C @ A.T) @ A, step)
    assert criticality(X, A.T, C, penalty, step=step) == pytest.approx(np.abs(moved - C).max(axis=1) / step, rel=1e-9)


def _best_entry(x, A, c, penalty, i):
    """Return the best value of one entry, the others being fixed."""
    a = np.linalg.norm(A[:, i])
    # The other numbers of a penalty with one number per atom belong to the other entries.
    u = np.zeros(c.size)
    u[i] = c[i] + A[:, i] @ (x - A @ c) / a**2
    return penalty.prox(u, 1 / a**2)[i]


@given(seeds, st.integers(0, 9))
def test_without_a_step_every_entry_has_its_own(seed, family):
    X, A, alpha = draw_problem(seed, n=(3, 8), n_samples=2)
    penalty = penalties(alpha, A)[family]
    C = np.random.default_rng(seed).standard_normal((2, A.shape[1]))
    for x, c, distance in zip(X, C, criticality(X, A.T, C, penalty), strict=True):
        moves = [abs(_best_entry(x, A, c, penalty, i) - c[i]) for i in range(c.size)]
        assert distance == pytest.approx(np.max(moves * np.sum(A**2, axis=0)), rel=1e-9)


@settings(max_examples=30)
@given(seeds, st.integers(0, 9))
def test_where_it_is_zero_no_single_entry_can_improve(seed, family):
    X, A, alpha = draw_problem(seed, n=(3, 8), n_samples=1)
    penalty, c = penalties(alpha, A)[family], np.zeros(A.shape[1])
    for _ in range(400):
        before = c.copy()
        for i in range(c.size):
            c[i] = _best_entry(X[0], A, c, penalty, i)
        if np.array_equal(c, before):
            break
    if criticality(X, A.T, c[None], penalty)[0] < 1e-10:
        now = objective(X[0], A, c, penalty)
        reach = 2 * np.linalg.norm(X[0]) / np.linalg.norm(A, axis=0)
        for i in range(c.size):
            for value in np.concatenate([[0.0], np.linspace(-1, 1, 201) * (reach[i] + abs(c[i]))]):
                trial = c.copy()
                trial[i] = value
                assert objective(X[0], A, trial, penalty) >= now - 1e-12 * (1 + now)


def test_smaller_steps_have_more_fixed_points():
    X, C = [[0.5, 3.0]], [[0.5, 3.0]]
    found = [float(criticality(X, np.eye(2), C, L0(0.5), step=step)[0]) for step in (0.1, 0.2, 0.3, 1.0)]
    assert found[:2] == [0.0, 0.0]
    assert found[2:] == [0.5 / 0.3, 0.5]
    assert criticality(X, np.eye(2), C, L0(0.5)).tolist() == [0.5]


def test_single_precision_is_judged_in_double():
    X, A, _ = draw_problem(3, m=20, n=40, n_samples=5, plain=True)
    X, A = X.astype(np.float32), A.astype(np.float32)
    C = forward_backward(X, A.T, L1(0.2), accelerated=True, max_iter=20_000).codes
    gaps = duality_gap(X, A.T, C, alpha=0.2)
    assert C.dtype == np.float32
    assert gaps.dtype == np.float64
    assert gaps.tolist() == duality_gap(*(a.astype(float) for a in (X, A.T, C)), alpha=0.2).tolist()
    assert criticality(X, A.T, C, L1(0.2)).max() < 1e-4


@pytest.mark.parametrize("penalty", [L1(0.2), MCP(0.2), Lq(0.2, 0.5), CEL0(0.2)], ids=repr)
def test_certificate(penalty):
    X, A, _ = draw_problem(8, m=10, n=20, n_samples=6, plain=True)
    found = forward_backward(X, A.T, penalty, tol=1e-9, max_iter=100_000)
    C = found.codes
    step = None if isinstance(penalty, L1) else found.step
    certificate = CodeCertificate.of(X, A.T, C, penalty, step=step)
    assert certificate.valid
    assert certificate.measured <= certificate.bound
    assert certificate.measured == certificate.distances.max()
    scale = 0.5 * np.sum(X**2, axis=1).max() if step is None else np.abs(X @ A).max()
    assert certificate.bound == pytest.approx(1e-6 * scale, rel=1e-14)
    assert CodeCertificate.of(X, A.T, C, penalty, tol=0.5, step=step).bound == pytest.approx(0.5 * scale, rel=1e-14)
    assert certificate.check(X, A.T).distances.tolist() == certificate.distances.tolist()
    assert type(penalty).__name__ in certificate.statement
    # Other data, and a spoiled code.
    assert not certificate.check(X[::-1], A.T).valid
    spoiled = C.copy()
    spoiled[0, 0] += 0.1
    broken = CodeCertificate.of(X, A.T, spoiled, penalty, step=step)
    assert not broken.valid
    assert np.argmax(broken.distances) == 0


def test_certificate_of_no_codes():
    assert CodeCertificate.of(np.ones((0, 2)), np.eye(2), np.ones((0, 2)), L0(1.0)).valid


@refuses([*BAD_ARRAYS, *BAD_CODES, *BAD_LAM])
def test_bad_arguments_of_the_gap(arguments, error, message):
    with pytest.raises(error, match=message):
        duality_gap(**(good_arguments(C=np.zeros((2, 5)), alpha=0.1) | arguments))


@refuses(
    [
        *BAD_ARRAYS,
        *BAD_CODES,
        ({"penalty": "l1"}, TypeError, "penalty 'l1' needs alpha, its strength"),
        ({"penalty": CEL0(1.0, [1.0, 2.0])}, ValueError, "penalty must have one number per atom, 5; it has 2"),
        ({"step": 0.0}, ValueError, "step must be a finite positive number; got 0.0"),
    ]
)
@pytest.mark.parametrize("function", [criticality, CodeCertificate.of])
def test_bad_arguments_of_criticality(function, arguments, error, message):
    with pytest.raises(error, match=message):
        function(**(good_arguments(C=np.zeros((2, 5)), penalty=L0(0.1)) | arguments))
