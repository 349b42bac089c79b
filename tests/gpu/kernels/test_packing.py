"""Sparse weights in rows and blocks, and the choice between both."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import sparse

from sparsetheory.gpu.core import RowBlock
from sparsetheory.gpu.kernels import choose_block, pack_rows


@st.composite
def _weights(draw):
    m, k = draw(st.integers(0, 13)), draw(st.integers(1, 9))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    kept = rng.random((m, k)) < draw(st.sampled_from([0.0, 0.2, 1.0]))
    return torch.from_numpy(rng.standard_normal((m, k))), torch.from_numpy(kept)


@settings(deadline=None)
@given(_weights())
def test_single_rows_are_those_of_scipy(drawn):
    weight, mask = drawn
    rows, reference = pack_rows(weight, mask), sparse.csr_matrix((weight * mask).numpy())
    np.testing.assert_array_equal(rows.indptr, reference.indptr)
    np.testing.assert_array_equal(rows.indices, reference.indices)
    np.testing.assert_array_equal(rows.values, reference.data)
    assert rows.indptr.dtype == rows.indices.dtype == torch.int32


@settings(deadline=None)
@given(drawn=_weights(), block=st.sampled_from([1, 4]))
def test_packing_keeps_the_matrix(drawn, block):
    weight, mask = drawn
    rows = pack_rows(weight, mask, block)
    assert torch.equal(rows.to_dense(), weight * mask)
    assert rows.n_blocks == (len(weight) // 4 if block == 4 else 0)


def test_packing_works_on_the_device(device):
    weight = torch.tensor([[1.0, 0.0], [0.0, 0.0], [0.0, 2.0], [0.0, 0.0], [3.0, 0.0]], device=device)
    rows = pack_rows(weight, block=4)
    assert rows.values.device == weight.device
    assert rows.values.tolist() == [1.0, 0.0, 0.0, 0.0, 0.0, 0.0, 2.0, 0.0, 3.0]
    assert rows.indptr.tolist() == [0, 2, 3]
    assert torch.equal(rows.to_dense(), weight)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_packing_keeps_the_type(dtype):
    assert pack_rows(torch.eye(5, dtype=dtype)).values.dtype == dtype


def test_packing_checks_its_arguments():
    weight = torch.ones(4, 3)
    with pytest.raises(ValueError, match="block must be"):
        pack_rows(weight, block=2)
    with pytest.raises(ValueError, match="weight must be a matrix"):
        pack_rows(torch.ones(3))
    with pytest.raises(ValueError, match="mask must be of bool"):
        pack_rows(weight, torch.ones(3, 4, dtype=torch.bool))
    with pytest.raises(ValueError, match="mask must be of bool"):
        pack_rows(weight, torch.ones(4, 3))


def test_blocks_of_a_pattern_are_chosen_and_single_weights_are_not():
    score = torch.from_numpy(np.random.default_rng(0).random((32, 20)))
    assert choose_block(RowBlock(4, 0.2).mask(score)) == 4
    assert choose_block(score < 0.1) == 1


def test_fill_counts_complete_blocks_alone():
    mask = torch.zeros(9, 10, dtype=torch.bool)
    mask[:4, :9] = True
    mask[0, 0] = mask[3, 5] = False
    # 34 of 36; a tenth weight that is alone makes it 35 of 40.
    assert choose_block(mask, fill=34 / 36) == 4
    assert choose_block(mask, fill=35 / 36) == 1
    mask[8] = True
    assert choose_block(mask) == 4
    mask[5, 9] = True
    assert choose_block(mask) == 1
    assert choose_block(mask, fill=35 / 40) == 4


@pytest.mark.parametrize("mask", [torch.zeros(8, 3, dtype=torch.bool), torch.ones(3, 3, dtype=torch.bool)])
def test_without_a_complete_block_rows_are_single(mask):
    assert choose_block(mask) == 1


def test_choice_checks_its_arguments():
    with pytest.raises(ValueError, match="fill must be"):
        choose_block(torch.ones(4, 4, dtype=torch.bool), fill=0.0)
    with pytest.raises(ValueError, match="mask must be"):
        choose_block(torch.ones(4, 4))
