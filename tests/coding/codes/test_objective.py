"""Values, gradients and states of both forms of the loss."""

import numpy as np
import pytest
from coding.coding_references import draw_problem, objective, penalties
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.codes.objective import SquaredResidual, objective_rows
from sparsetheory.penalties import CEL0, L1
from sparsetheory.penalties.per_feature import PenaltyRows


@given(st.integers(0, 10**6), st.integers(0, 9))
def test_objectives_and_gradients(seed, family):
    X, A, alpha = draw_problem(seed, n_samples=5)
    C = np.random.default_rng(seed).standard_normal((5, A.shape[1]))
    C[C < 0] = 0.0
    penalty, loss = penalties(alpha, A)[family], SquaredResidual(X, A)
    assert loss.by_gram == (A.shape[1] < 2 * A.shape[0])
    expected = [objective(x, A, c, penalty) for x, c in zip(X, C, strict=True)]
    assert objective_rows(X, A, C, penalty) == pytest.approx(expected, rel=1e-12)
    state, rows = loss.state(C), PenaltyRows(penalty, A.shape[1], C.dtype)
    # In terms of correlations, the loss is a difference of numbers as large as the energies of signal and fit.
    scale = np.sum(X**2, axis=1) + np.sum((C @ A.T) ** 2, axis=1)
    assert (np.abs(loss.values(state, C) + rows.values(C) - expected) <= 1e-13 * (scale + expected)).all()
    np.testing.assert_allclose(loss.descent(state), (X - C @ A.T) @ A, atol=1e-10)
    # States are affine in the codes.
    far = state + 0.7 * (state - loss.state(0 * C))
    np.testing.assert_allclose(far, loss.state(C + 0.7 * C), atol=1e-10)


def test_some_rows():
    for n in (5, 30):
        X, A, _ = draw_problem(1, m=10, n=n, n_samples=6)
        loss, C = SquaredResidual(X, A), np.random.default_rng(0).standard_normal((6, n))
        state, some = loss.state(C), np.array([4, 1])
        np.testing.assert_allclose(loss.state(C[some], some), state[some])
        np.testing.assert_allclose(loss.values(state[some], C[some], some), loss.values(state, C)[some])
        loss.keep(np.arange(6) > 2)
        np.testing.assert_allclose(loss.state(C[3:]), state[3:])
        assert loss.values(state[3:], C[3:]).shape == (3,)


def test_thresholds_are_applied_in_place():
    rows, points = PenaltyRows(L1(0.5), 3, np.dtype(np.float32)), np.float32([[1.0, -2.0, 0.2]])
    assert rows.threshold(points, 1.0) is points
    assert points.tolist() == [[0.5, -1.5, 0.0]]
    assert rows.alpha.dtype == np.float32


def test_penalties_that_do_not_fit():
    with pytest.raises(TypeError, match=r"penalty must be a Penalty; got 0\.5"):
        PenaltyRows(0.5, 3, np.dtype(float))
    with pytest.raises(ValueError, match="penalty must have one number per atom, 3; it has 2"):
        PenaltyRows(CEL0(1.0, [1.0, 2.0]), 3, np.dtype(float))


def test_no_rows():
    assert objective_rows(np.ones((0, 2)), np.eye(2), np.ones((0, 2)), L1(1.0)).shape == (0,)
