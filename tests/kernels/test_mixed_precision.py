"""Single-precision matrices times double-precision vectors, without a loss of digits."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.mixed_precision import row_correlations


@pytest.mark.parametrize("shape", [(1, 1), (2, 3), (3, 1024), (7, 1025), (8, 2100), (0, 4), (4, 0)])
def test_products_are_in_double_precision(rng, shape):
    matrix = rng.standard_normal(shape).astype(np.float32)
    vector, out = rng.standard_normal(shape[0]), np.full(shape[1], np.nan)
    row_correlations(matrix, vector, out)
    assert out == pytest.approx(vector @ matrix.astype(np.float64), rel=1e-13, abs=1e-13)
