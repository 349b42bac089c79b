"""Solves with changing sets of members, against fresh factorisations."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.regression.lasso.cholesky_update import UpdatedCholesky


@given(st.integers(0, 2**32 - 1), st.integers(2, 120))
def test_any_sequence_of_sets(seed, size):
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((3 * size, size))
    gram = A.T @ A
    factor, active = UpdatedCholesky(), rng.random(size) < 0.5
    for _ in range(8):
        active ^= rng.random(size) < 0.1
        members = np.flatnonzero(active)
        if members.size == 0:
            continue
        rhs = rng.standard_normal(members.size)
        expected = np.linalg.solve(gram[np.ix_(members, members)], rhs)
        np.testing.assert_allclose(factor.solve(gram, members, rhs), expected, rtol=1e-7, atol=1e-10)


def test_small_changes_do_not_factor_again(rng):
    A = rng.standard_normal((300, 100))
    factor, gram = UpdatedCholesky(), A.T @ A
    factor.solve(gram, np.arange(90), np.ones(90))
    first = factor.lower[:90, :90].copy()
    factor.solve(gram, np.arange(5, 95), np.ones(90))
    np.testing.assert_array_equal(factor.lower[:90, :90], first)
    assert factor.members.size == 95
    factor.solve(gram, np.arange(50, 95), np.ones(45))
    assert factor.members.size == 45


def test_dependent_members_are_refused(rng):
    A = rng.standard_normal((30, 5))
    A[:, 4] = A[:, 0]
    factor = UpdatedCholesky()
    assert factor.solve(A.T @ A, np.arange(5), np.ones(5)) is None
    assert factor.solve(A.T @ A, np.arange(4), np.ones(4)) is not None
