"""E-optimal designs: two proven bounds, which meet."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.bandits.design.e_optimal import e_optimal_design


def _smallest(A, design):
    values = np.linalg.eigvalsh((A[design.support].T * design.weights) @ A[design.support])
    return values[len(values) - design.rank]


@settings(max_examples=30)
@given(
    st.integers(1, 5),
    st.integers(1, 25),
    st.sampled_from(["interior_point", "multiplicative"]),
    st.booleans(),
    st.integers(0, 2**32 - 1),
)
def test_bounds_hold_and_meet(d, n, method, low, seed):
    rng = np.random.default_rng(seed)
    mixing = rng.standard_normal((d, 2)) @ rng.standard_normal((2, d)) if low else np.eye(d)
    A = rng.standard_normal((n, d)) @ mixing
    design = e_optimal_design(A, method, 1e-3)
    assert design.weights.sum() == pytest.approx(1.0)
    assert design.cmin_lower <= _smallest(A, design) * (1 + 1e-9)
    assert design.cmin_lower == pytest.approx(_smallest(A, design), rel=1e-5)
    assert design.cmin_upper >= design.cmin_lower * (1 - 1e-9)
    assert design.converged == (design.cmin_upper <= design.cmin_lower * (1 + 1e-3))
    # No other design is above the upper bound.
    for _ in range(5):
        weights = rng.dirichlet(np.full(n, 0.5))
        values = np.linalg.eigvalsh((A.T * weights) @ A)
        assert values[len(values) - design.rank] <= design.cmin_upper * (1 + 1e-9) + 1e-12
    if method == "interior_point" and np.linalg.cond(A) < 1e3:
        assert design.converged


def test_orthogonal_rows_have_a_known_optimum():
    """Weights are inverse to squared lengths, and the optimum is the inverse of the sum of those inverses."""
    lengths = np.array([0.5, 1.0, 2.0, 3.0])
    optimum = 1 / np.sum(lengths**-2.0)
    for method in ("interior_point", "multiplicative"):
        design = e_optimal_design(np.diag(lengths), method, 1e-6)
        assert design.converged
        assert design.cmin_lower == pytest.approx(optimum, rel=2e-6)
        np.testing.assert_allclose(design.weights, optimum / lengths**2, rtol=1e-4)


def test_a_reference_solver_agrees():
    cvxpy = pytest.importorskip("cvxpy")
    A = np.random.default_rng(0).standard_normal((40, 4))
    p = cvxpy.Variable(40, nonneg=True)
    smallest = cvxpy.lambda_min(A.T @ cvxpy.diag(p) @ A)
    value = cvxpy.Problem(cvxpy.Maximize(smallest), [cvxpy.sum(p) == 1]).solve("CLARABEL")
    design = e_optimal_design(A, tol=1e-5)
    assert design.cmin_lower <= value * (1 + 1e-5)
    assert value <= design.cmin_upper * (1 + 1e-5)
    assert design.converged


def test_many_rows_and_a_file_on_disk(tmp_path):
    A = np.random.default_rng(1).standard_normal((5000, 8)).astype(np.float32)
    file = np.memmap(tmp_path / "rows", dtype=np.float32, mode="w+", shape=A.shape)
    file[:] = A
    first, second = e_optimal_design(A), e_optimal_design(file)
    assert first.converged
    assert first.cmin_lower == second.cmin_lower
    assert first.cmin_lower == pytest.approx(_smallest(A.astype(float), first), rel=1e-9)


@pytest.mark.parametrize("method", ["interior_point", "multiplicative"])
@pytest.mark.parametrize("units", [[1e-3, 1.0, 1e3], [1e-9, 1.0, 1.0]])
def test_units_of_columns_matter_and_are_mastered(method, units):
    A = np.random.default_rng(2).standard_normal((30, 3)) * units
    design = e_optimal_design(A, method)
    assert design.rank == 3
    assert design.converged
    smallest = np.linalg.svd(np.sqrt(design.weights)[:, None] * A[design.support], compute_uv=False)[-1] ** 2
    assert design.cmin_lower == pytest.approx(smallest, rel=1e-3)


def test_one_step_is_too_few_and_is_reported():
    A = np.random.default_rng(3).standard_normal((30, 4))
    design = e_optimal_design(A, tol=1e-6, max_iter=1)
    assert not design.converged
    assert 0 < design.cmin_lower < design.cmin_upper


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"A": np.zeros((2, 2))}, "A must have a row that is not zero"),
        ({"A": np.array([[np.nan]])}, "A must be finite; got NaN or infinity in row 0"),
        ({"tol": 0.0}, "tol must be a finite positive number"),
        ({"method": "best"}, "method must be one of 'auto'"),
    ],
)
def test_what_has_no_such_design(options, message):
    with pytest.raises(ValueError, match=message):
        e_optimal_design(**{"A": np.eye(2)} | options)
