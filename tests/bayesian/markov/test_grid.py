"""Grids against enumeration: sum-product, and rows that see each other in the mean."""

import numpy as np
import pytest
from bayesian.turbo_references import grid_log_weights, marginals
from hypothesis import given
from hypothesis import strategies as st
from sklearn.exceptions import ConvergenceWarning

from sparsetheory.bayesian.markov.chain import chain_messages, transition_table
from sparsetheory.bayesian.markov.grid import bethe_log_z, grid_belief_propagation, grid_lines
from sparsetheory.bayesian.markov.grid_mean_field import grid_mean_field

seeds = st.integers(0, 2**32 - 1)


def _grid(seed, shape, spread=2.0):
    rng = np.random.default_rng(seed)
    tables = [transition_table(*rng.uniform(0.05, 0.6, 2)) for _ in range(2)]
    return rng.normal(0, spread, shape), *tables


@given(seeds, st.integers(2, 9), st.booleans())
def test_a_single_line_is_exact(seed, n, vertical):
    ell, row_table, col_table = _grid(seed, (1, n))
    table = col_table if vertical else row_table
    found = grid_belief_propagation(ell.T if vertical else ell, row_table, col_table)
    expected = chain_messages(ell[0], activation=table[0, 1], deactivation=table[1, 0], initial=0.5)
    np.testing.assert_allclose(found.extrinsic.ravel(), expected.extrinsic, atol=1e-12)
    np.testing.assert_allclose(found.probability.ravel(), expected.probability, atol=1e-12)
    assert found.converged
    assert found.n_iter <= 2


@given(seeds)
def test_a_tree_is_exact(seed):
    # Two by two without one edge: an edge whose table is constant says nothing.
    ell, row_table, _ = _grid(seed, (1, 4))
    rows = np.stack([ell[0, :2], ell[0, 2:]])
    found = grid_belief_propagation(rows, row_table, np.ones((2, 2)))
    expected, _ = marginals(*grid_log_weights(row_table, np.ones((2, 2)), (2, 2)), rows)
    np.testing.assert_allclose(found.probability, expected, atol=1e-12)


def test_loops_are_approximate_but_close():
    errors, gaps = [], []
    for seed in range(40):
        ell, row_table, col_table = _grid(seed, (3, 4))
        expected, log_z = marginals(*grid_log_weights(row_table, col_table, (3, 4)), ell)
        errors.append(
            np.abs(
                grid_belief_propagation(ell, row_table, col_table, tol=1e-10, max_iter=500).probability - expected
            ).max()
        )
        rows, cols, _, _ = grid_lines(ell, row_table, col_table, 0.5, 500, 1e-10)
        gaps.append(abs(bethe_log_z(ell, rows, cols, row_table, col_table) - log_z))
    assert np.median(errors) < 0.01
    assert np.quantile(errors, 0.95) < 0.1
    assert np.median(gaps) < 0.02


@given(seeds, st.integers(1, 8))
def test_bethe_is_exact_on_a_line(seed, n):
    ell, row_table, col_table = _grid(seed, (1, n))
    rows, cols, _, _ = grid_lines(ell, row_table, col_table, 0.5, 10, 1e-10)
    _, log_z = marginals(*grid_log_weights(row_table, col_table, (1, n)), ell)
    assert bethe_log_z(ell, rows, cols, row_table, col_table) == pytest.approx(log_z, abs=1e-10)


def test_states_and_directions_are_not_mixed_up():
    # From the left, off is followed by on; from above, the same state follows.
    switch, keep = np.array([[1e-9, 1.0], [1.0, 1e-9]]), np.array([[1.0, 1e-9], [1e-9, 1.0]])
    post = grid_belief_propagation([[-9.0, 0.0], [0.0, 0.0]], switch, keep).probability
    np.testing.assert_allclose(post, [[0, 1], [0, 1]], atol=1e-3)
    follow = np.array([[1.0, 1.0], [1e-9, 1.0]])
    assert grid_belief_propagation([[9.0, 0.0]], follow, keep).probability[0, 1] > 0.99
    assert grid_belief_propagation([[0.0, 9.0]], follow, keep).probability[0, 0] == pytest.approx(0.5, abs=1e-3)


@given(seeds, st.integers(1, 3), st.integers(1, 4))
def test_rows_give_a_growing_lower_bound(seed, n_rows, n_cols):
    ell, row_table, col_table = _grid(seed, (n_rows, n_cols))
    found = grid_mean_field(ell, row_table, col_table, max_iter=500)
    _, log_z = marginals(*grid_log_weights(row_table, col_table, ell.shape), ell)
    assert found.bounds[-1] <= log_z + 1e-10
    assert np.all(np.diff(found.bounds) >= -1e-10)
    if n_rows == 1:
        assert found.bounds[-1] == pytest.approx(log_z, abs=1e-10)


def test_rows_start_where_they_are_told(rng):
    alike = [[0.95, 0.05], [0.05, 0.95]]
    low, high = (
        grid_mean_field(np.zeros((4, 4)), alike, alike, initial=np.full((4, 4), p)).probability.mean()
        for p in (0.05, 0.95)
    )
    assert low < 0.1
    assert high > 0.9


def test_messages_that_still_move_are_reported():
    ell, row_table, col_table = _grid(0, (6, 6))
    with pytest.warns(ConvergenceWarning, match="max_iter=2"):
        found = grid_belief_propagation(ell, row_table, col_table, max_iter=2, tol=1e-12)
    assert not found.converged
    assert found.n_iter == 2
    assert np.isfinite(found.probability).all()


def test_precision_is_kept():
    ell, row_table, col_table = _grid(0, (3, 4))
    for function in (grid_belief_propagation, grid_mean_field):
        found = function(np.asfortranarray(ell.astype(np.float32)), row_table, col_table)
        assert found.probability.dtype == found.extrinsic.dtype == np.float32
        np.testing.assert_allclose(found.probability, function(ell, row_table, col_table).probability, atol=1e-4)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"log_odds": [1.0, 2.0]}, "log_odds must hold finite"),
        ({"log_odds": [[np.nan]]}, "log_odds must hold finite"),
        ({"row_table": [[1.0, 0.0], [1.0, 1.0]]}, "row_table must be"),
        ({"column_table": np.ones((2, 3))}, "column_table must be"),
        ({"max_iter": 0}, "max_iter must be"),
    ],
)
def test_bad_input(change, message):
    good = {"log_odds": [[0.0]], "row_table": np.ones((2, 2)), "column_table": np.ones((2, 2))}
    for function in (grid_belief_propagation, grid_mean_field):
        with pytest.raises(ValueError, match=message):
            function(**(good | change))


def test_bad_damping_and_start():
    with pytest.raises(ValueError, match="damping must be"):
        grid_belief_propagation([[0.0]], np.ones((2, 2)), np.ones((2, 2)), damping=1.0)
    with pytest.raises(ValueError, match="initial must hold"):
        grid_mean_field([[0.0]], np.ones((2, 2)), np.ones((2, 2)), initial=[[2.0]])
