import numpy as np
import pytest

from sparsetheory.numba_kernels.layerwise.blocks import assemble, pick


@pytest.mark.parametrize("k", [0, 1, 11, 30])
def test_blocks_are_put_together_where_they_were_picked(k):
    rng = np.random.default_rng(0)
    A = rng.standard_normal((30, 30))
    A += A.T
    order = rng.permutation(30)
    kept, others = np.sort(order[:k]), np.sort(order[k:])
    blocks = [np.empty((len(rows), len(columns))) for rows, columns in ((kept, kept), (others, kept), (others, others))]
    pick(-A, kept, kept, blocks[0])
    pick(A, others, kept, blocks[1])
    pick(A, others, others, blocks[2])
    np.testing.assert_array_equal(blocks[1], A[np.ix_(others, kept)])
    out = np.full((30, 30), np.nan)
    assemble(kept, others, *blocks, out)
    np.testing.assert_array_equal(out, A)
