"""The most probable path against enumeration."""

import numpy as np
import pytest
from bayesian.turbo_references import chain_log_weights
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.bayesian.markov.chain import chain_messages, sample_chain
from sparsetheory.bayesian.markov.most_probable import best_paths, most_probable_chain

probabilities = st.floats(1e-4, 1 - 1e-4)


@given(st.integers(0, 2**32 - 1), st.integers(1, 12), probabilities, probabilities, probabilities)
def test_no_path_of_all_is_more_probable(seed, n, p01, p10, p_init):
    ell = np.random.default_rng(seed).normal(0, 5, n)
    states, weights = chain_log_weights(p01, p10, p_init, n)
    found = most_probable_chain(ell, activation=p01, deactivation=p10, initial=p_init)
    assert found.log_weight == pytest.approx((weights + states @ ell).max(), abs=1e-11)
    best = (weights + states @ ell).argmax()
    np.testing.assert_array_equal(found.states, states[best].astype(bool))
    log_z = chain_messages(ell, activation=p01, deactivation=p10, initial=p_init).log_normaliser
    assert found.log_weight <= log_z + 1e-11


@given(st.integers(0, 2**32 - 1), st.integers(1, 8))
def test_any_table_of_log_weights(seed, n):
    rng = np.random.default_rng(seed)
    table, start, unary = rng.normal(0, 3, (2, 2)), float(rng.normal()), rng.normal(0, 3, (3, n))
    states = best_paths(unary, start, table)
    every = (np.arange(2**n)[:, None] >> np.arange(n)) & 1
    changes = table[every[:, :-1], every[:, 1:]].sum(1)
    for row, found in zip(unary, states, strict=True):
        weights = start * every[:, 0] + every @ row + changes
        np.testing.assert_array_equal(found, every[weights.argmax()].astype(bool))


@given(
    st.lists(st.integers(-2, 2), min_size=1, max_size=9),
    st.integers(-2, 2),
    st.lists(st.integers(-2, 2), min_size=4, max_size=4),
)
def test_ties_go_to_the_path_that_is_off_at_the_last_difference(ell, start, table):
    # Small integers, so that all sums are exact and many paths tie.
    n, log_table = len(ell), np.array(table, dtype=float).reshape(2, 2)
    every = (np.arange(2**n)[:, None] >> np.arange(n)) & 1  # the last node is the most significant bit
    weights = start * every[:, 0] + every @ np.array(ell) + log_table[every[:, :-1], every[:, 1:]].sum(1)
    first_of_the_best = np.flatnonzero(weights == weights.max())[0]
    found = best_paths(np.array([ell], dtype=float), float(start), log_table)[0]
    np.testing.assert_array_equal(found, every[first_of_the_best])


@pytest.mark.parametrize("size", [1e4, 1e16, 1e300])
def test_overwhelming_evidence_loses_no_digits(size):
    # Two certain nodes around four whose evidence is small; only differences that keep all digits see it.
    ell = np.array([size, 0.1, -2.0, 0.1, 0.1, size, -size, -0.3])
    found = most_probable_chain(ell, activation=0.1, deactivation=0.2)
    np.testing.assert_array_equal(found.states, [True, True, True, True, True, True, False, False])
    ell[1:5] = [-2.0, -2.0, -2.0, -2.0]
    found = most_probable_chain(ell, activation=0.1, deactivation=0.2)
    np.testing.assert_array_equal(found.states, [True, False, False, False, False, True, False, False])


def test_a_long_path_reaches_the_best_weight():
    # Whole numbers, so that a plain recursion over both states is exact.
    ell, table = np.random.default_rng(3).integers(-9, 10, 20000), np.array([[3, -4], [-2, 3]])
    best = np.array([0, ell[0]])
    for value in ell[1:]:
        best = (best[:, None] + table).max(0) + np.array([0, value])
    states = best_paths(ell[None].astype(float), 0.0, table.astype(float))[0].astype(int)
    assert table[states[:-1], states[1:]].sum() + states @ ell == best.max()


def test_fewer_isolated_nodes_than_by_marginals():
    truth = sample_chain(100, activation=0.05, deactivation=0.2, n_paths=200, random_state=1)
    ell = np.random.default_rng(0).normal(np.where(truth, 1.0, -1.0), np.sqrt(2.0))
    isolated = {"path": 0, "marginal": 0}
    for row in ell:
        path = most_probable_chain(row, activation=0.05, deactivation=0.2).states
        marginal = chain_messages(row, activation=0.05, deactivation=0.2).probability > 0.5
        for name, states in (("path", path), ("marginal", marginal)):
            padded = np.pad(states, 1)
            isolated[name] += int((padded[1:-1] & ~padded[:-2] & ~padded[2:]).sum())
    assert isolated["path"] < 0.7 * isolated["marginal"]


@pytest.mark.parametrize(
    ("ell", "p01", "p10", "p_init", "message"),
    [
        ([0.0], 0.0, 0.1, None, r"activation must be a number in \(0, 1\)"),
        ([0.0], 0.1, 0.1, 1.0, "initial must be"),
        ([[0.0]], 0.1, 0.1, None, "log_odds must hold finite"),
        ([np.inf], 0.1, 0.1, None, "log_odds must hold finite"),
    ],
)
def test_bad_input(ell, p01, p10, p_init, message):
    with pytest.raises(ValueError, match=message):
        most_probable_chain(ell, activation=p01, deactivation=p10, initial=p_init)
