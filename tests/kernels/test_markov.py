"""Forward-backward recursions against matrix products in long precision and enumeration."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.numba_kernels.markov import best_lines, line_messages, sample_lines, warmup


def _run(unary, start, table):
    forward, backward, log_z = np.empty_like(unary), np.empty_like(unary), np.empty(unary.shape[0])
    line_messages(unary, start, table, forward, backward, log_z)
    return forward, backward, log_z


def _by_matrices(unary, start, table):
    """Weights of both states at each node with everything to its left and right, in extended precision."""
    weights = np.stack([np.ones(unary.size), np.exp(unary)], axis=1).astype(np.longdouble)
    left = [np.array([1.0, np.exp(start)], dtype=np.longdouble)]
    for w in weights[:-1]:
        left.append((left[-1] * w) @ table)
    right = [np.ones(2, dtype=np.longdouble)]
    for w in weights[:0:-1]:
        right.append(table @ (right[-1] * w))
    right = right[::-1]
    return np.array(left), np.array(right), np.log((left[-1] * weights[-1]).sum())


@given(st.integers(0, 2**32 - 1), st.integers(1, 3), st.integers(1, 30))
def test_messages_of_any_positive_table(seed, rows, n):
    rng = np.random.default_rng(seed)
    table, start = 10.0 ** rng.uniform(-3, 3, (2, 2)), float(rng.normal(0, 3))
    unary = rng.normal(0, 5, (rows, n))
    forward, backward, log_z = _run(unary, start, table)
    for r in range(rows):
        left, right, expected = _by_matrices(unary[r], start, table)
        # One rounding per node, of numbers whose logarithms are below 100 per node.
        np.testing.assert_allclose(forward[r], np.log(left[:, 1] / left[:, 0]).astype(float), atol=1e-12, rtol=1e-12)
        np.testing.assert_allclose(backward[r], np.log(right[:, 1] / right[:, 0]).astype(float), atol=1e-12, rtol=1e-12)
        assert log_z[r] == pytest.approx(float(expected), rel=1e-12, abs=1e-12)


@pytest.mark.parametrize("size", [1e4, 1e300])
def test_overwhelming_evidence_does_not_overflow(size):
    unary = size * np.array([[1.0, -1.0, 1.0, 1.0, -1.0]])
    table = np.array([[0.9, 0.1], [0.2, 0.8]])
    forward, backward, log_z = _run(unary, 0.0, table)
    assert np.isfinite(forward).all()
    assert np.isfinite(backward).all()
    # The states are certain, so messages are single entries of the table.
    expected = np.log([1.0, 0.8 / 0.2, 0.1 / 0.9, 0.8 / 0.2, 0.8 / 0.2])
    np.testing.assert_allclose(forward[0], expected, atol=1e-12)
    assert log_z[0] == pytest.approx(3 * size + np.log(0.2 * 0.1 * 0.8 * 0.2), rel=1e-14)


def test_paths_follow_the_chain(rng):
    states = np.empty((400, 1000), dtype=bool)
    sample_lines(rng.random(states.shape), 0.9, 0.05, 0.2, states)
    # Five standard errors of shares, of 400 first nodes and some 3e5 or 8e4 switches.
    assert states[:, 0].mean() == pytest.approx(0.9, abs=5 * np.sqrt(0.09 / 400))
    before, after = states[:, :-1], states[:, 1:]
    assert after[~before].mean() == pytest.approx(0.05, abs=5 * np.sqrt(0.05 * 0.95 / (~before).sum()))
    assert (~after[before]).mean() == pytest.approx(0.2, abs=5 * np.sqrt(0.16 / before.sum()))


def test_warmup_compiles():
    warmup()
    assert len(line_messages.signatures) == 1
    assert len(best_lines.signatures) == 1
    assert len(sample_lines.signatures) == 1
