"""Products with packed signs against the matrix."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.projections.signs import multiply, multiply_transposed, warmup


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("starts", [(0, 1), (0, 5), (0, 4096, 4099), (0, 2, 4098, 4100)])
def test_products_are_those_of_the_matrix(rng, dtype, starts):
    n_rows, n_columns = starts[-1], 7
    signs = rng.integers(-1, 2, (n_rows, n_columns))
    scales = rng.uniform(0.5, 2.0, len(starts) - 1)
    rows, columns = signs.nonzero()
    bands = np.searchsorted(starts, rows, side="right") - 1
    codes = rows - np.array(starts)[bands] + 4096 * (2 * columns + (signs[rows, columns] < 0))
    given = codes.astype(np.uint32), np.searchsorted(rows, starts[1:]), np.array(starts), scales
    matrix = np.repeat(scales, np.diff(starts))[:, None] * signs

    X = rng.standard_normal((3, n_columns)).astype(dtype)
    out = np.full((3, n_rows), np.nan, dtype)
    multiply(*given, np.stack((X, -X), axis=2).reshape(3, -1), out)
    np.testing.assert_allclose(out, X @ matrix.T, atol=1e-5 if dtype == np.float32 else 1e-14)

    G = rng.standard_normal((3, n_rows)).astype(dtype)
    sums = np.full((3, 2 * n_columns), np.nan, dtype)
    multiply_transposed(*given, G, sums)
    atol = 1e-3 if dtype == np.float32 else 1e-11
    np.testing.assert_allclose(sums[:, ::2] - sums[:, 1::2], G @ matrix, atol=atol)


def test_warmup_compiles():
    warmup()
