"""The nearest pair of different classes, against all differences."""

import numpy as np
import pytest

from sparsetheory.numba_kernels.nearest_pair import nearest_pair, warmup


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("p", [1, 16, 37])
def test_kernel_finds_the_nearest_pair(dtype, p):
    rng = np.random.default_rng(p)
    X, y = rng.standard_normal((40, p)).astype(dtype), rng.integers(0, 3, 40)
    squares = ((X[10:25, None].astype(float) - X[None, 20:40]) ** 2).sum(2) * 0.25
    squares[y[10:25, None] == y[20:40]] = np.inf
    i, j = np.unravel_index(squares.argmin(), squares.shape)
    least, row, column = nearest_pair(X, y, 10, 25, 20, 40, 0.5, np.inf)
    assert least == pytest.approx(squares.min(), rel=1e-13)
    assert (row, column) == (i + 10, j + 20)
    # Only nearer pairs than a given one count.
    assert nearest_pair(X, y, 10, 25, 20, 40, 0.5, least) == (least, -1, -1)
    assert nearest_pair(X, y * 0, 10, 25, 20, 40, 0.5, np.inf) == (np.inf, -1, -1)


def test_warmup_compiles():
    warmup()
