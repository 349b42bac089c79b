"""The greedy choice of columns equals one that fits all columns anew for every candidate."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sparsetheory.gpu.dynamic import column_subset_error, greedy_column_subset


def _residual(X, columns):
    """Return the error of least squares on some columns, by fits."""
    chosen = X[:, columns]
    return np.linalg.norm(X - chosen @ np.linalg.lstsq(chosen, X, rcond=1e-10)[0]) ** 2 / np.linalg.norm(X) ** 2


def _brute_force(X, count):
    chosen, errors = [], [1.0]
    for _ in range(count):
        open_ones = [j for j in range(X.shape[1]) if j not in chosen]
        found = [_residual(X, [*chosen, j]) for j in open_ones]
        chosen.append(open_ones[int(np.argmin(found))])
        errors.append(min(found))
    return chosen, errors


@st.composite
def matrices(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    n, m = draw(st.integers(2, 12)), draw(st.integers(2, 9))
    X = rng.standard_normal((n, m)) * np.exp(rng.standard_normal(m))
    return X + draw(st.sampled_from([0.0, 3.0])) * rng.standard_normal((n, 1))


@settings(max_examples=60)
@given(matrices())
def test_equals_brute_force_and_stays_above_its_bound(X):
    count = min(X.shape)
    found = greedy_column_subset(X, count)
    chosen, errors = _brute_force(X, count)
    np.testing.assert_allclose(found.errors, errors, atol=1e-9)
    # Whatever column is last explains all that is left where rows are few: these tie.
    assert found.indices[: count - 1].tolist() == chosen[: count - 1]
    squares = np.linalg.svd(X, compute_uv=False) ** 2
    np.testing.assert_allclose(found.bounds, [squares[k:].sum() / squares.sum() for k in range(count + 1)], atol=1e-12)
    assert (found.errors >= found.bounds - 1e-12).all()
    for k in range(1, count + 1):
        assert abs(column_subset_error(X, found.indices[:k]) - found.errors[k]) < 1e-9


@settings(max_examples=30)
@given(matrices(), st.sampled_from([1e-8, 1e8]))
def test_units_of_all_columns_together_do_not_matter(X, unit):
    ours, other = (greedy_column_subset(scale * X, min(X.shape)) for scale in (1.0, unit))
    np.testing.assert_allclose(ours.errors, other.errors, atol=1e-9)


@pytest.mark.parametrize("shape", [(30, 8), (6, 8)])
def test_sparse_matrices(shape):
    rng = np.random.default_rng(0)
    X = rng.standard_normal(shape) * (rng.random(shape) < 0.5)
    dense, other = greedy_column_subset(X, 4), greedy_column_subset(sparse.csr_array(X), 4)
    np.testing.assert_array_equal(dense.indices, other.indices)
    np.testing.assert_allclose(dense.errors, other.errors, atol=1e-12)
    np.testing.assert_allclose(dense.bounds, other.bounds, atol=1e-12)
    for form in (X, sparse.csr_array(X), sparse.csc_matrix(X)):
        assert abs(column_subset_error(form, dense.indices) - dense.errors[-1]) < 1e-12


def test_copies_and_zeros_are_taken_last():
    """Equal columns tie, so the first goes in; once nothing is left, the first open ones follow."""
    rng = np.random.default_rng(0)
    a, b = np.linalg.qr(rng.standard_normal((20, 2)))[0].T
    X = np.column_stack([np.zeros(20), 2 * a, 2 * a, b, -2 * a])
    found = greedy_column_subset(X, 5)
    assert found.indices.tolist() == [1, 3, 0, 2, 4]
    assert found.errors[1] == pytest.approx(1 / 13)
    assert found.errors[2:] == pytest.approx(0.0, abs=1e-14)
    assert column_subset_error(X, [1, 2, 4]) == pytest.approx(1 / 13)
    assert column_subset_error(X, [0]) == pytest.approx(1.0)


def test_a_matrix_of_zeros():
    found = greedy_column_subset(np.zeros((3, 4)), 2)
    assert found.indices.tolist() == [0, 1]
    assert not found.bounds.any()
    assert column_subset_error(np.zeros((3, 4)), [1]) == 0.0


def test_more_columns_than_rows_take_no_square_of_the_columns():
    import tracemalloc

    X = np.random.default_rng(0).standard_normal((10, 20_000))
    tracemalloc.start()
    greedy_column_subset(X, 3)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 10 * X.nbytes


def test_single_precision_is_judged_in_double():
    X = np.random.default_rng(0).standard_normal((5000, 6)).astype(np.float32)
    found = greedy_column_subset(X, 3)
    assert found.errors.dtype == np.float64
    assert abs(column_subset_error(X, found.indices) - found.errors[-1]) < 1e-12


def test_bad_arguments():
    X = np.eye(3)
    with pytest.raises(ValueError, match="n_columns must be an integer from 1 to 3; got 4"):
        greedy_column_subset(X, 4)
    with pytest.raises(ValueError, match="n_columns"):
        greedy_column_subset(X, 0)
    with pytest.raises(ValueError, match="NaN"):
        greedy_column_subset([[1.0, np.nan]], 1)
    for wrong in ([3], [-1], [0.5], [[0]], [True]):
        with pytest.raises(ValueError, match="indices must be integers from 0 to 2"):
            column_subset_error(X, wrong)
    assert column_subset_error(X, []) == 1.0


@pytest.mark.parametrize("scale", [1e100, 1e300, 1e-200])
def test_the_choice_does_not_see_the_scale(scale):
    """Squares of such entries overflow, or vanish."""
    X = np.random.default_rng(0).standard_normal((20, 5))
    plain = greedy_column_subset(X, 3)
    for scaled in (X * scale, sparse.csr_array(X * scale)):
        found = greedy_column_subset(scaled, 3)
        np.testing.assert_array_equal(found.indices, plain.indices)
        np.testing.assert_allclose(found.errors, plain.errors, rtol=1e-6)
        assert column_subset_error(scaled, [0, 2]) == pytest.approx(column_subset_error(X, [0, 2]), rel=1e-6)
