"""Bytes of formats against the arrays that hold them."""

import pytest
import torch
from scipy.sparse import csr_array

from sparsetheory.gpu.core.report.storage import break_even, group_patterns, storage, total_storage


def _mask(shape, density, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
@pytest.mark.parametrize("shape", [(1, 1), (7, 13), (32, 64), (4, 0)])
@pytest.mark.parametrize("density", [0.0, 0.1, 0.5, 1.0])
def test_bytes_are_those_of_arrays(dtype, shape, density):
    mask = _mask(shape, density)
    found = storage(mask, dtype.itemsize)
    weight = mask.to(dtype)
    csr = csr_array(mask.numpy())
    arrays = csr.indices.astype("int32").nbytes + csr.indptr.astype("int32").nbytes + csr.nnz * dtype.itemsize
    assert found.dense == weight.nbytes
    assert found.csr == arrays
    assert found.bitmap == int(mask.sum()) * dtype.itemsize + (mask.numel() + 7) // 8


def test_two_of_four_in_half_precision_takes_nine_sixteenths():
    mask = torch.tensor([True, False, True, False]).repeat(16, 8)
    found = storage(mask, 2)
    assert group_patterns(mask) == ((1, 2), (2, 4), (4, 8), (8, 16), (16, 32))
    assert storage(mask[:, :4], 2).nm == 16 * (2 * 2 + 0.25)  # as 1:2, one bit a value
    shifted = mask.clone()
    shifted[0, :4] = torch.tensor([True, True, False, False])
    assert group_patterns(shifted[:, :4]) == ((2, 4),)
    assert storage(shifted[:, :4], 2).nm / storage(shifted[:, :4], 2).dense == 9 / 16
    assert found.nm == 16 * 32 / 2 * (2 + 1 / 8)


def test_a_mask_without_groups_stays_dense():
    mask = torch.ones(4, 6, dtype=torch.bool)
    assert group_patterns(mask) == ()
    assert storage(mask, 4).nm == storage(mask, 4).dense
    assert group_patterns(_mask((3, 5), 0.1)) == ()
    assert group_patterns(torch.zeros(0, 4, dtype=torch.bool)) == ()


def test_groups_run_along_the_inputs_of_a_convolution():
    mask = torch.zeros(2, 4, 3, 3, dtype=torch.bool)
    mask[:, :1] = True
    assert group_patterns(mask) == ((1, 2), (1, 4))
    mask[0, :, 0, 0] = True
    assert group_patterns(mask) == ()


@pytest.mark.parametrize("value_bytes", [2, 4, 8])
def test_each_format_saves_exactly_below_its_break_even(value_bytes):
    rows, columns = 8, 64
    limits = break_even(rows, rows * columns, value_bytes)
    for nonzero in range(rows * columns + 1):
        mask = torch.arange(rows * columns).reshape(rows, columns) < nonzero
        found, density = storage(mask, value_bytes), nonzero / (rows * columns)
        assert (found.csr < found.dense) == (density < limits.csr - 1e-12)
        assert (found.bitmap < found.dense) == (density < limits.bitmap - 1e-12)


def test_break_even_in_single_precision():
    limits = break_even(1, 10**6 * 8, 4)
    assert limits.bitmap == 31 / 32
    assert limits.csr == 0.5 - 2 * 4 / (8 * 8e6)
    assert limits.nm == 4 / 4.25
    assert break_even(1, 0, 4).csr == 0.0


def test_totals_add_up():
    masks = [_mask((4, 8), 0.5, 1), _mask((3, 5), 0.2, 2)]
    parts = [storage(mask, 4) for mask in masks]
    total = total_storage(parts)
    assert total.csr == parts[0].csr + parts[1].csr
    assert total.dense == 4 * (32 + 15)
    assert total_storage([]).bitmap == 0
