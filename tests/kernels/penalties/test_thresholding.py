"""Array kernels against one coordinate after another."""

import numpy as np
import pytest
from kernels.penalty_cases import each_kind, shapes_of

from sparsetheory.numba_kernels.penalties import tags
from sparsetheory.numba_kernels.penalties.proximal import prox, subgradient_distance, value
from sparsetheory.numba_kernels.penalties.thresholding import prox_array, subgradient_distances, value_sum


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("sign", [0, tags.POSITIVE], ids=["free", "positive"])
@each_kind
def test_every_entry_by_itself(kind, sign, dtype, rng):
    u, g = rng.standard_normal((2, 7, 5)).astype(dtype)
    u[0] = 0.0
    alpha = np.array([0.0, 0.3, 0.3, 0.3, 1.0], dtype)
    shape = shapes_of(kind, [0.5, 0.5, 0.5, 0.7, 0.7]).astype(dtype)
    kind, step, out = kind + sign, dtype(0.7), np.empty_like(u)
    cells = [(i, j) for i in range(7) for j in range(5)]
    prox_array(kind, u, 0.7, alpha, shape, out)
    assert out.ravel().tolist() == [prox(kind, u[c], step, alpha[c[1]], shape[c[1]]) for c in cells]
    total = sum(float(value(kind, u[c], alpha[c[1]], shape[c[1]])) for c in cells)
    assert value_sum(kind, u, alpha, shape) == pytest.approx(total, rel=1e-14)
    distances = [subgradient_distance(kind, u[c], g[c], alpha[c[1]], shape[c[1]]) for c in cells]
    subgradient_distances(kind, u, g, alpha, shape, out)
    assert out.ravel().tolist() == distances


def test_output_may_be_the_input(rng):
    u = rng.standard_normal((4, 3))
    out, half = np.empty_like(u), np.full(3, 0.5)
    prox_array(tags.LQ, u, 1.0, half, half, out)
    prox_array(tags.LQ, u, 1.0, half, half, u)
    assert u.tolist() == out.tolist()
    assert (u == 0).any()
    assert (u != 0).any()
