"""Penalties of rows against one sum after another."""

import numpy as np
import pytest
from kernels.penalty_cases import each_kind, shapes_of

from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.numba_kernels.penalties.rows import penalty_rows
from sparsetheory.numba_kernels.penalties.thresholding import value_sum


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [0, tags.POSITIVE], ids=["free", "positive"])
@each_kind
def test_every_row_by_itself(kind, sign, dtype, rng):
    codes = (rng.standard_normal((6, 5)) * (rng.random((6, 5)) < 0.6)).astype(dtype)
    codes[3] = 0.0
    alpha = np.array([0.0, 0.3, 0.3, 1.0, 1.0], dtype)
    shape = shapes_of(kind, [0.5, 0.5, 0.7, 0.7, 0.2]).astype(dtype)
    kind, out = kind + sign, np.empty(6)
    codes = np.abs(codes) if sign else codes
    penalty_rows(kind, codes, alpha, shape, out)
    assert out == pytest.approx([value_sum(kind, row[None], alpha, shape) for row in codes], rel=1e-14)
    assert out[3] == 0.0


def test_no_rows():
    penalty_rows(0, np.empty((0, 2)), np.ones(2), np.ones(2), np.empty(0))
