"""The sparse product equals the dense one, for every shape, and touches nothing but its output."""

import os
import subprocess
import sys
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import sparse

from sparsetheory.numba_kernels.sparse_conv.products import multiply, strip_length, work_size

_GUARD = 96
_RTOL = {np.float32: 1e-5, np.float64: 1e-13}


@dataclass
class Case:
    """Weights with the support of whole blocks in the first rows, images, a bias, and how the kernel goes over them."""

    W: np.ndarray
    images: np.ndarray
    bias: np.ndarray
    n_blocks: int
    strip: int
    offset: int = 0

    def arrays(self):
        """Return indptr, indices and values, packed entry by entry."""
        indptr, indices, values = [0], [], []
        for q in range(self.n_blocks):
            block = self.W[4 * q : 4 * q + 4]
            columns = np.flatnonzero(block.any(0))
            indices += list(columns)
            values += list(block[:, columns].T.ravel())
            indptr.append(len(indices))
        for row in self.W[4 * self.n_blocks :]:
            columns = np.flatnonzero(row)
            indices += list(columns)
            values += list(row[columns])
            indptr.append(len(indices))
        return np.array(indptr, np.int32), np.array(indices, np.int32), np.array(values, self.W.dtype)

    def run(self, lower=-np.inf, upper=np.inf):
        """Return the product, after a look at what surrounds it."""
        count, channels, n = self.images.shape
        kind = self.W.dtype.type
        given = np.full(self.images.size + self.offset + _GUARD, np.nan, dtype=kind)
        x = given[self.offset : self.offset + self.images.size]
        x[:] = self.images.ravel()
        size = count * len(self.W) * n
        around = np.full(size + 2 * _GUARD, 7.5, dtype=kind)
        out = around[_GUARD : _GUARD + size]
        needed = work_size(channels, n, self.strip, x.itemsize)
        work = np.full(needed + _GUARD, 7.5, dtype=kind)
        arguments = (*self.arrays(), self.n_blocks, x.ctypes.data, count, channels, n, self.bias)
        multiply(*arguments, kind(lower), kind(upper), out.ctypes.data, self.strip, work[:needed])
        assert (np.r_[around[:_GUARD], around[_GUARD + size :], work[needed:]] == 7.5).all()
        return out.reshape(count, len(self.W), n)

    def assert_equals_dense(self, lower=-np.inf, upper=np.inf):
        """Compare every entry with the dense product."""
        W, X, bias = (a.astype(float) for a in (self.W, self.images, self.bias))
        self.assert_close(self.run(lower, upper), np.clip(W @ X + bias[:, None], lower, upper))

    def assert_close(self, result, expected):
        """Compare every entry, by what its terms could round to."""
        W, X, bias = (np.abs(a.astype(float)) for a in (self.W, self.images, self.bias))
        assert (np.abs(result - expected) <= _RTOL[self.W.dtype.type] * (W @ X + bias[:, None])).all()


def _case(m, channels, n, *, n_blocks=0, density=0.3, count=1, strip=64, dtype=np.float32, seed=0, offset=0):
    rng = np.random.default_rng(seed)
    W = rng.standard_normal((m, channels))
    W[4 * n_blocks :] *= rng.random((m - 4 * n_blocks, channels)) < density
    W[: 4 * n_blocks] *= np.repeat(rng.random((n_blocks, channels)) < density, 4, axis=0)
    images, bias = rng.standard_normal((count, channels, n)), rng.standard_normal(m)
    return Case(W.astype(dtype), images.astype(dtype), bias.astype(dtype), n_blocks, strip, offset)


@st.composite
def _cases(draw):
    n_blocks = draw(st.integers(0, 3))
    return _case(
        4 * n_blocks + draw(st.integers(0, 5)) or 1,
        draw(st.integers(1, 40)),
        draw(st.integers(1, 200)),
        n_blocks=n_blocks,
        density=draw(st.sampled_from([0.0, 0.1, 0.5, 1.0])),
        count=draw(st.integers(1, 3)),
        strip=draw(st.sampled_from([1, 7, 16, 48, 64, 100, 1024])),
        dtype=draw(st.sampled_from([np.float32, np.float64])),
        seed=draw(st.integers(0, 2**32 - 1)),
        offset=draw(st.integers(0, 3)),
    )


@settings(max_examples=200, deadline=None)
@given(case=_cases())
@example(case=_case(8, 40, 80, n_blocks=2, density=1.0))  # a strip and its last line in one pass
@example(case=_case(5, 3, 1, n_blocks=1))
@example(case=_case(40, 3, 256, n_blocks=5, density=1.0))  # so many uses that channels are copied
@example(case=_case(40, 3, 256, n_blocks=5, density=1.0, offset=1))
def test_product_is_the_dense_one(case):
    case.assert_equals_dense()
    case.assert_equals_dense(0.0, 0.5)


@pytest.mark.parametrize("n", [49, 64, 80, 96, 112, 128, 144, 196])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_every_number_of_lines(n, dtype):
    _case(6, 9, n, n_blocks=1, density=0.5, dtype=dtype).assert_equals_dense()
    _case(6, 9, n, n_blocks=1, density=0.5, dtype=dtype, strip=1024).assert_equals_dense()


def test_channels_a_page_apart_are_copied_and_nothing_changes():
    apart = _case(40, 6, 1024, n_blocks=4, density=1.0, strip=256)
    apart.assert_equals_dense()
    assert 1024 * apart.images.itemsize % 4096 == 0


def test_rows_and_blocks_without_weights_give_the_bias():
    case = _case(7, 5, 50, n_blocks=1)
    case.W[:] = 0
    result = case.run()
    np.testing.assert_array_equal(result, np.broadcast_to(case.bias[:, None], result[0].shape)[None])


@settings(max_examples=50, deadline=None)
@given(case=_cases())
def test_blocks_and_single_rows_agree(case):
    case.assert_close(case.run(), Case(case.W, case.images, case.bias, 0, case.strip).run())


def test_length_of_strips_changes_nothing():
    cases = [_case(6, 20, 150, n_blocks=1, strip=strip) for strip in (1, 16, 33, 64, 128, 1024)]
    for case in cases[1:]:
        case.assert_close(case.run(), cases[0].run())


def test_nan_and_infinity_of_one_position_stay_there():
    case = _case(5, 8, 49, n_blocks=1, density=1.0)
    case.images[0, 3, 10], case.images[0, 2, 20] = np.nan, np.inf
    result = case.run(0.0, 6.0)
    assert np.isnan(result[0, :, 10]).all()
    assert np.isin(result[0, :, 20], [0.0, 6.0]).all()
    others = np.delete(result[0], [10, 20], axis=1)
    assert np.isfinite(others).all()


def test_rows_agree_with_scipy():
    case = _case(9, 17, 33)
    indptr, indices, values = case.arrays()
    reference = sparse.csr_matrix(case.W)
    np.testing.assert_array_equal(indptr, reference.indptr)
    np.testing.assert_array_equal(indices, reference.indices)
    np.testing.assert_array_equal(values, reference.data)


@pytest.mark.parametrize(
    ("n_channels", "itemsize", "length"),
    [(16, 4, 512), (128, 4, 64), (960, 4, 64), (1, 4, 1024), (0, 4, 1024), (16, 8, 256)],
)
def test_strips_fill_the_first_level_cache_within_bounds(n_channels, itemsize, length):
    assert strip_length(n_channels, itemsize) == length


@pytest.mark.slow
def test_processors_without_wide_registers_compute_the_same():
    # A plain processor of this kind: no vectors beyond the oldest ones, nothing fused.
    plain = {**os.environ, "NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "lines or bias", "-p", "no:cacheprovider", __file__]
    run = subprocess.run(command, capture_output=True, text=True, env=plain, timeout=300)
    assert run.returncode == 0, run.stdout
    assert "." * 17 in run.stdout
