"""Two products on one support, against plain NumPy."""

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.numba_kernels.paired_products import multiply_pair, pair_derivatives, warmup


def _case(dtype, shape=(6, 9), n_blocks=2, width=5):
    rng = np.random.default_rng(0)
    first = sparse.random_array(shape, density=0.4, format="csr", rng=rng, dtype=float)
    second = first.copy()
    second.data = rng.random(first.nnz)
    x = rng.standard_normal((n_blocks, shape[1], width)).astype(dtype)
    support = first.indptr.astype(np.int32), first.indices.astype(np.int32)
    return support, first, second, first.data.astype(dtype), second.data.astype(dtype), x


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("both", [True, False])
def test_products_and_derivatives(dtype, both):
    support, first, second, a, b, x = _case(dtype)
    b = b if both else b[:0]
    outputs = np.full((2, 2, 6, 5), np.nan, dtype=dtype)
    multiply_pair(*support, a, b, x, outputs[0], outputs[1] if both else outputs[1][:0])
    rtol = 1e-4 if dtype is np.float32 else 1e-12
    np.testing.assert_allclose(outputs[0], [first @ part for part in x], rtol=rtol, atol=rtol)
    if both:
        np.testing.assert_allclose(outputs[1], [second @ part**2 for part in x], rtol=rtol, atol=rtol)
    g, h = np.random.default_rng(1).standard_normal((2, 2, 6, 5)).astype(dtype)
    h = h if both else h[:0]
    d_a, d_b, d_x = np.zeros_like(a), np.zeros_like(b), np.zeros_like(x)
    pair_derivatives(*support, a, b, x, g, h, d_a, d_b, d_x)
    kept = first.toarray() != 0
    np.testing.assert_allclose(d_a, sum(u @ part.T for u, part in zip(g, x, strict=True))[kept], rtol=rtol, atol=rtol)
    expected = np.array([first.T @ part for part in g])
    if both:
        squares = sum(u @ part.T**2 for u, part in zip(h, x, strict=True))
        np.testing.assert_allclose(d_b, squares[kept], rtol=rtol, atol=rtol)
        expected += 2 * x * np.array([second.T @ part for part in h])
    np.testing.assert_allclose(d_x, expected, rtol=rtol, atol=10 * rtol)
    without = np.zeros_like(a), np.zeros_like(b)
    pair_derivatives(*support, a, b, x, g, h, *without, x[:0])
    np.testing.assert_allclose(without[0], d_a, rtol=rtol, atol=rtol)
    np.testing.assert_allclose(without[1], d_b, rtol=rtol, atol=rtol)


def test_warmup_compiles():
    warmup()
    assert multiply_pair.signatures
