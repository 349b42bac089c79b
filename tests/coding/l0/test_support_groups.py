"""Groups of supports, and their factors against explicit inverses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sparsetheory.coding.l0.support_groups import factor_supports, support_groups


@given(st.integers(0, 10**6), st.integers(0, 30), st.integers(1, 20), st.integers(1, 9))
def test_every_row_is_in_one_group(seed, n_rows, n_atoms, most):
    rng = np.random.default_rng(seed)
    used = rng.random((n_rows, n_atoms)) < rng.random()
    seen = []
    for group in support_groups(used, most):
        assert 0 < group.rows.size <= most
        assert len({tuple(support) for support in group.supports}) == len(group.supports)
        assert set(group.owners) == set(range(len(group.supports)))
        for row, owner in zip(group.rows, group.owners, strict=True):
            assert group.supports[owner].tolist() == np.flatnonzero(used[row]).tolist()
        seen += group.rows.tolist()
    assert sorted(seen) == list(range(n_rows))


def test_equal_supports_are_listed_once():
    used = np.tile(np.eye(3, dtype=bool), (50, 1))
    groups = list(support_groups(used, 1000))
    assert [group.supports.shape for group in groups] == [(3, 1)]


@pytest.mark.parametrize("size", [0, 1, 3, 5])
def test_factors(rng, size):
    A = rng.standard_normal((5, 9))
    supports = np.array([rng.choice(9, size, replace=False) for _ in range(4)]).reshape(4, size).astype(np.intp)
    factors = factor_supports(A, supports, 1e-12)
    assert factors.independent.all()
    for u, S in enumerate(supports):
        Q, own = factors.directions[u], A[:, S]
        np.testing.assert_allclose(Q.T @ Q, np.eye(size), atol=1e-13)
        np.testing.assert_allclose(own @ factors.inverse[u], Q, atol=1e-12)
        np.testing.assert_allclose(factors.dual_squares[u], np.diagonal(np.linalg.inv(own.T @ own)), rtol=1e-9)


def test_dependent_atoms(rng):
    A = rng.standard_normal((4, 6))
    A[:, 5] = A[:, 0] + A[:, 1]
    factors = factor_supports(A, np.array([[0, 1, 2], [0, 1, 5], [2, 4, 5]]), 1e-12)
    assert factors.independent.tolist() == [True, False, True]
    assert np.isinf(factors.dual_squares[1]).all()
    assert not factors.inverse[1].any()
    assert not factor_supports(A, np.array([[0, 1, 2, 3, 4]]), 1e-12).independent.any()


def test_what_is_left_decides_whichever_atom_comes_first():
    # The last atom is nearly a combination of the two others: little is left of each outside the rest.
    A = np.array([[1.0, 0.0, 1.0], [0.0, 1.0, 1.0], [0.0, 0.0, 1e-3]])
    for order in ([0, 1, 2], [2, 1, 0], [1, 2, 0]):
        supports = np.array([order])
        share = 1 / (factor_supports(A, supports, 1e-12).dual_squares[0] * np.sum(A[:, order] ** 2, axis=0))
        assert share.min() == pytest.approx(5e-7, rel=1e-3)
        assert not factor_supports(A, supports, 1e-6).independent[0]
        assert factor_supports(A, supports, 1e-7).independent[0]
