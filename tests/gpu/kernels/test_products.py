"""Sparse products on plain arrays."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sparsetheory.gpu.kernels import pack_rows, products, spmm_block4, spmm_chw
from sparsetheory.gpu.kernels.products import check_rows


def _drawn(m=10, k=6, n=20, density=0.4, dtype=np.float64, seed=0):
    rng = np.random.default_rng(seed)
    W = sparse.random_array((m, k), density=density, format="csr", dtype=np.float64, rng=rng).astype(dtype)
    return W, rng.standard_normal((k, n)).astype(dtype), rng.standard_normal(m).astype(dtype)


def _close(result, W, X, bias):
    scale = abs(W) @ np.abs(X) + np.abs(bias)[:, None]
    rtol = 1e-5 if result.dtype == np.float32 else 1e-13
    return (np.abs(result - (W @ X + bias[:, None])) <= rtol * scale).all()


def _blocks(W):
    rows = pack_rows(torch.from_numpy(W.toarray()), block=4)
    return rows.indptr.numpy(), rows.indices.numpy(), rows.values.numpy()


@settings(deadline=None)
@given(
    m=st.integers(1, 14),
    k=st.integers(1, 20),
    n=st.integers(1, 90),
    density=st.sampled_from([0.0, 0.3, 1.0]),
    dtype=st.sampled_from([np.float32, np.float64]),
    strip=st.sampled_from([None, 5, 64]),
    seed=st.integers(0, 2**32 - 1),
)
def test_products_equal_those_of_scipy(m, k, n, density, dtype, strip, seed):
    W, X, bias = _drawn(m, k, n, density, dtype, seed)
    for result in (
        spmm_chw(W.indptr, W.indices, W.data, X, bias, strip=strip),
        spmm_block4(*_blocks(W), X, bias, strip=strip),
    ):
        assert result.dtype == dtype
        assert _close(result, W, X, bias)


def test_permuting_columns_and_channels_changes_nothing():
    W, X, bias = _drawn(density=0.7)
    order = np.random.default_rng(1).permutation(X.shape[0])
    permuted = W[:, order].sorted_indices()
    assert _close(spmm_chw(permuted.indptr, permuted.indices, permuted.data, X[order], bias), W, X, bias)


def test_product_is_linear_in_the_weights():
    W, X, bias = _drawn()
    twice = spmm_chw(W.indptr, W.indices, 2 * W.data, X, 2 * bias)
    once = spmm_chw(W.indptr, W.indices, W.data, X, bias)
    # Powers of two round nothing.
    np.testing.assert_array_equal(twice, 2 * once)


def test_without_weights_there_is_the_clamped_bias():
    X, bias = np.ones((3, 5)), np.array([-1.0, 0.5, 9.0])
    result = spmm_chw(np.zeros(4, int), [], [], X, bias, lower=0.0, upper=6.0)
    np.testing.assert_array_equal(result, np.repeat([[0.0], [0.5], [6.0]], 5, axis=1))
    none = spmm_chw(np.zeros(4, int), [], [], np.ones((0, 5)), bias, lower=0.0, upper=6.0)
    np.testing.assert_array_equal(none, result)
    assert spmm_chw(np.zeros(4, int), [], [], np.ones((3, 0)), bias).shape == (3, 0)


def test_result_is_written_where_it_is_wanted():
    W, X, bias = _drawn()
    out = np.full((10, 20), np.nan)
    assert spmm_chw(W.indptr, W.indices, W.data, X, bias, out) is out
    assert _close(out, W, X, bias)


def test_any_layout_and_any_integers_are_read():
    W, X, bias = _drawn()
    expected = spmm_chw(W.indptr, W.indices, W.data, X, bias)
    indptr, indices = W.indptr.astype(np.uint64), W.indices.astype(np.int64)[::-1][::-1]
    np.testing.assert_array_equal(spmm_chw(indptr, indices, list(W.data), np.asfortranarray(X), bias), expected)


def test_threads_do_not_share_their_memory():
    cases = [_drawn(n=70 + i, seed=i) for i in range(8)]

    def many(case):
        W, X, bias = case
        return all(_close(spmm_chw(W.indptr, W.indices, W.data, X, bias), W, X, bias) for _ in range(50))

    with ThreadPoolExecutor(4) as pool:
        assert all(pool.map(many, cases))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"X": np.ones(6)}, "X must be a matrix"),
        ({"X": np.ones((6, 2), dtype=int)}, "X must be a matrix of float32 or float64"),
        ({"X": np.ones((6, 2), dtype=np.float16)}, "X must be a matrix of float32 or float64"),
        ({"X": np.ones((5, 20))}, "indices must be from 0 to 4"),
        ({"bias": np.ones(9)}, "indptr must begin with 0"),
        ({"indptr": np.r_[1, np.ones(10, int)]}, "indptr must begin with 0"),
        ({"indptr": np.r_[0, 3, 2, np.full(8, 24)]}, "never fall"),
        ({"indptr": np.zeros(11, int)}, "indices must have as many entries"),
        ({"indptr": np.zeros(11)}, "indptr must be a vector of integers"),
        ({"indices": np.full(24, 2**31)}, r"indices must be from 0 to 2\*\*31"),
        ({"indices": np.full(24, 6)}, "indices must be from 0 to 5"),
        ({"indices": np.full(24, -1)}, "indices must be from 0"),
        ({"indices": np.full(24, -(2**32))}, "indices must be from 0"),
        ({"bias": np.ones((5, 2))}, "bias must be a vector"),
        ({"lower": 1.0, "upper": 0.0}, "lower must be at most upper"),
        ({"lower": np.nan}, "lower must be at most upper"),
        ({"out": [[0.0] * 20] * 10}, "out must be"),
        ({"values": np.ones(3)}, "values must have shape"),
        ({"strip": 0}, "strip must be"),
        ({"out": np.ones((10, 20), dtype=np.float32)}, "out must be"),
        ({"out": np.ones((20, 10)).T}, "out must be"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(change, message):
    W, X, bias = _drawn()
    arguments = {"indptr": W.indptr, "indices": W.indices, "values": W.data, "X": X, "bias": bias} | change
    assert W.nnz == 24
    with pytest.raises(ValueError, match=message):
        spmm_chw(**arguments)


def test_memory_that_is_not_to_be_written_is_not_written():
    out = np.zeros((1, 2))
    out.flags.writeable = False
    with pytest.raises(ValueError, match="out must be writeable"):
        spmm_chw([0, 1], [0], [1.0], np.ones((1, 2)), [0.0], out=out)
    weights = np.ones(2)
    with pytest.raises(ValueError, match="apart from the inputs"):
        spmm_chw([0, 1], [0], weights[:1], np.ones((1, 2)), [0.0], out=weights[None])


@pytest.mark.parametrize(
    ("indptr", "n_rows", "n_blocks", "message"),
    [
        # Rows or blocks that would be written behind the output.
        ([0] * 8, 4, -1, "got -1 blocks"),
        ([0, 0], 7, 2, "got 2 blocks"),
        ([], 2, 1, "got 1 blocks"),
        # Differences of 32 bits that do not look like a fall.
        ([0, 2**31 - 1, -(2**31), -1, 0], 4, 0, "never fall"),
    ],
)
def test_damaged_rows_are_refused(indptr, n_rows, n_blocks, message):
    nothing = np.zeros(0, np.int32)
    with pytest.raises(ValueError, match=message):
        check_rows(np.array(indptr, np.int32), nothing, nothing, (n_rows, 3), n_blocks)


def test_memory_of_an_unusual_strip_is_given_back():
    X = np.ones((3, 2**20))
    spmm_chw([0, 1], [0], [1.0], X, [0.0], strip=2**53)
    assert getattr(products._memory, "d", np.empty(0)).nbytes <= 2**23


def test_output_over_the_input_is_refused():
    X = np.ones((3, 4))
    with pytest.raises(ValueError, match="apart from the inputs"):
        spmm_chw([0, 1, 1, 1], [0], [1.0], X, np.zeros(3), out=X)


def test_arrays_of_rows_are_not_taken_for_blocks():
    W, X, bias = _drawn()
    with pytest.raises(ValueError, match=r"indptr must .* have 5 entries"):
        spmm_block4(W.indptr, W.indices, W.data, X, bias)
