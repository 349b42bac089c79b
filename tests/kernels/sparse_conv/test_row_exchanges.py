"""The best exchange of a row with one of another block, against all of them."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.sparse_conv.row_exchanges import best_partner


def _above(energy, size, cut):
    return np.maximum(_sums(energy, size) - cut, 0.0).sum()


def _sums(energy, size):
    return np.array([energy[start : start + size].sum(0) for start in range(0, len(energy), size)])


@pytest.mark.parametrize("rows", [8, 7, 5])
@pytest.mark.parametrize("seed", range(3))
def test_the_partner_of_the_largest_gain_is_found(rows, seed):
    energy, size, cut = np.random.default_rng(seed).random((rows, 11)), 3, 1.4
    for row in range(rows):
        gains = np.full(rows, -np.inf)
        for other in range(rows):
            if other // size != row // size:
                exchanged = energy.copy()
                exchanged[[row, other]] = exchanged[[other, row]]
                gains[other] = _above(exchanged, size, cut) - _above(energy, size, cut)
        found = np.empty(1)
        assert best_partner(energy, _sums(energy, size), size, cut, row, found) == gains.argmax()
        assert found[0] == pytest.approx(gains.max(), rel=1e-9, abs=1e-12)


def test_the_first_partner_wins_ties_and_a_single_block_has_none():
    energy, found = np.ones((6, 4)), np.empty(1)
    assert best_partner(energy, _sums(energy, 2), 2, 0.5, 3, found) == 0
    assert found[0] == 0.0
    assert best_partner(energy, _sums(energy, 6), 6, 0.5, 3, found) == 3
    assert found[0] == -np.inf
