"""Products with a sparse weight equal dense ones, and write nothing beside their results."""

from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sparsetheory.numba_kernels.sparse_autoencoder import batches, gradients, products

_RTOL = {np.float32: 1e-5, np.float64: 1e-13}
_GUARD = 64


@dataclass
class Case:
    """A weight of any shape and density, and activations on both of its sides."""

    W: np.ndarray
    x: np.ndarray
    d: np.ndarray

    @property
    def places(self):
        rows, columns = np.nonzero(self.W)
        starts = np.searchsorted(rows, np.arange(len(self.W) + 1)).astype(np.int64)
        return starts, columns.astype(np.int32)

    @property
    def values(self):
        return self.W[np.nonzero(self.W)]


@st.composite
def cases(draw):
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    dtype = draw(st.sampled_from([np.float32, np.float64]))
    n_out, n_in = draw(st.integers(1, 7)), draw(st.integers(1, 7))
    # 128 bytes and multiples, so that every length of a pass occurs.
    n = draw(st.integers(1, 11)) * 128 // dtype().itemsize
    W = rng.standard_normal((n_out, n_in)) * (rng.random((n_out, n_in)) < draw(st.sampled_from([0.0, 0.3, 1.0])))
    parts = W, rng.standard_normal((n_in, n)), rng.standard_normal((n_out, n))
    return Case(*(part.astype(dtype) for part in parts))


def _guarded(start):
    """Return a place for a result between numbers that must stay, and what is around it."""
    around = np.full(start.size + 2 * _GUARD, 7.5, dtype=start.dtype)
    out = around[_GUARD : _GUARD + start.size]
    out[:] = start.ravel()
    return around, out


def _agree(around, out, expected, scale):
    assert (around[:_GUARD] == 7.5).all()
    assert (around[-_GUARD:] == 7.5).all()
    np.testing.assert_allclose(out.reshape(expected.shape), expected, rtol=0, atol=_RTOL[out.dtype.type] * scale)


@settings(max_examples=60)
@given(cases())
def test_product(case):
    bias = case.d[:, 0].copy()
    around, out = _guarded(np.zeros_like(case.d))
    products.multiply(*case.places, case.values, bias, case.x.ravel(), case.x.shape[1], out)
    expected = case.W.astype(np.float64) @ case.x + bias[:, None]
    _agree(around, out, expected, 30)


@settings(max_examples=60)
@given(cases())
def test_transposed_product_is_added(case):
    around, out = _guarded(case.x)
    products.multiply_transposed(*case.places, case.values, case.d.ravel(), case.x.shape[1], out)
    _agree(around, out, case.x + case.W.T.astype(np.float64) @ case.d, 30)


@settings(max_examples=60)
@given(cases())
def test_products_at_connections_are_added(case):
    around, out = _guarded(case.values)
    gradients.add_sampled_products(*case.places, case.d.ravel(), case.x.ravel(), case.x.shape[1], out)
    dense = case.d.astype(np.float64) @ case.x.T
    _agree(around, out, case.values + dense[np.nonzero(case.W)], 30 * case.x.shape[1] ** 0.5)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_momentum_step(dtype):
    """Three steps by hand: the decay acts on the old weight and has no rate."""
    w, v = np.array([1.0, -2.0], dtype), np.zeros(2, dtype)
    expected, velocity = w.astype(np.float64), np.zeros(2)
    for step in range(3):
        g = np.array([0.5 + step, -1.0], dtype)
        velocity = 0.9 * velocity - 0.01 * g
        expected = expected + velocity - 1e-2 * expected
        gradients.momentum_step(w, v, g, dtype(0.01), dtype(0.9), dtype(1e-2))
        assert not g.any()
    assert w.dtype == dtype
    np.testing.assert_allclose(w, expected, rtol=_RTOL[dtype])
    np.testing.assert_allclose(v, velocity, rtol=_RTOL[dtype])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_features", [1, 16, 37])
def test_rows_become_columns(dtype, n_features):
    X = np.arange(5.0 * n_features).reshape(5, n_features).astype(dtype)
    rows = np.array([3, 0, 3])
    around, out = _guarded(np.full((n_features, 8), np.nan, dtype))
    batches.gather_columns(X.ravel(), n_features, rows, 8, out)
    expected = np.zeros((n_features, 8))
    expected[:, :3] = X[rows].T
    _agree(around, out, expected, 0)


@pytest.mark.parametrize("itemsize", [4, 8])
def test_width_of_blocks(itemsize):
    unit = 128 // itemsize
    for n_samples in (1, 31, 100, 129, 1000):
        for n_neurons in (0, 10, 1000, 20_000):
            width = products.block_width(n_samples, n_neurons, itemsize)
            assert width % unit == 0
            assert unit <= width <= 512 // itemsize
            assert width == unit or width * n_neurons * itemsize <= 2**19
            # No narrower than the number of blocks asks for: what is filled up is less than a unit for each.
            blocks = -(-n_samples // width)
            assert blocks * width - n_samples < blocks * unit


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_warmup_compiles_both_precisions(dtype):
    for module in (products, gradients, batches):
        module.warmup()
    kernels = products.multiply, products.multiply_transposed, gradients.add_sampled_products
    kernels += gradients.momentum_step, batches.gather_columns
    before = [len(kernel.signatures) for kernel in kernels]
    indptr, indices, one, block = np.array([0, 1]), np.zeros(1, np.int32), np.ones(1, dtype), np.ones(32, dtype)
    products.multiply(indptr, indices, one, one, block, 32, block)
    products.multiply_transposed(indptr, indices, one, block, 32, block)
    gradients.add_sampled_products(indptr, indices, block, block, 32, one)
    gradients.momentum_step(one, one, one, dtype(1), dtype(1), dtype(1))
    batches.gather_columns(one, 1, np.zeros(1, np.int64), 1, one)
    assert [len(kernel.signatures) for kernel in kernels] == before
