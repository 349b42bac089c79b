import numpy as np
import pytest

from sparsetheory.numba_kernels.layerwise.blocks import assemble, pick
from sparsetheory.numba_kernels.layerwise.pivots import new_tableau


@pytest.mark.parametrize("k", [0, 1, 11, 30])
@pytest.mark.parametrize("m", [5, 30])
def test_blocks_are_put_together_where_they_were_picked(k, m):
    rng = np.random.default_rng(0)
    A, b = rng.standard_normal((30, 30)), rng.standard_normal((2, 30))
    A += A.T
    order = rng.permutation(30)
    kept, others = np.sort(order[:k]), np.sort(order[k:])
    blocks = [np.empty((len(rows), len(columns))) for rows, columns in ((kept, kept), (others, kept), (others, others))]
    pick(-A, kept, kept, blocks[0])
    pick(A, others, kept, blocks[1])
    pick(A, others, others, blocks[2])
    np.testing.assert_array_equal(blocks[1], A[np.ix_(others, kept)])
    tableau, coefficients = new_tableau(30, m, 2, 4), rng.standard_normal((2, k))
    assemble(kept, others, *blocks, coefficients, b, tableau)
    np.testing.assert_array_equal(tableau.matrix, A)
    np.testing.assert_array_equal(tableau.diagonal, A.diagonal())
    np.testing.assert_array_equal(tableau.border[:, kept], coefficients)
    np.testing.assert_allclose(tableau.border[:, others], b[:, others] - b[:, kept] @ A[np.ix_(kept, others)])
    for i in range(len(tableau.near)):
        np.testing.assert_array_equal(tableau.near[i], A[i, i // m * m : i // m * m + m])
