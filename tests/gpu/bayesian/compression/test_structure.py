"""Counts of rows, columns, blocks, runs and bytes of masks, against loops and the packed arrays themselves."""

import pytest
import torch

from sparsetheory.gpu.bayesian import mask_structure, packed_bytes
from sparsetheory.gpu.kernels import pack_rows


def _mask(*shape, density=0.2, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed)) < density


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("block", [1, 4])
@pytest.mark.parametrize("shape", [(8, 5), (11, 7), (3, 4), (1, 1), (4, 0), (0, 3)])
def test_bytes_are_those_of_the_arrays(shape, block, dtype):
    for density in (0.0, 0.2, 1.0):
        mask = _mask(*shape, density=density)
        rows = pack_rows(torch.ones(shape, dtype=dtype), mask, block)
        held = rows.indptr.nbytes + rows.indices.nbytes + rows.values.nbytes
        assert packed_bytes(mask, block, value_bytes=dtype.itemsize) == held


def test_a_mask_by_hand():
    rows = ["0110100", "0000000", "0110000", "0000001", "1000000"]
    mask = torch.tensor([[mark == "1" for mark in row] for row in rows])
    (found,) = mask_structure({"w": mask})
    assert (found.n_weights, found.n_nonzero, found.density) == (35, 7, 0.2)
    assert (found.row_density, found.column_density) == (4 / 5, 5 / 7)
    # Of the seven blocks of the upper four rows four are touched, and hold six of sixteen weights.
    assert (found.block_density, found.block_fill) == (4 / 7, 6 / 16)
    assert (found.row_run, found.column_run) == (7 / 5, 1.0)
    assert (found.dense_bytes, found.row_bytes, found.block_bytes) == (140, 4 * (7 + 7 + 6), 4 * (16 + 1 + 4 + 1 + 3))


def test_convolutions_keep_the_places_of_a_kernel_together():
    mask = torch.zeros(4, 2, 3, 3, dtype=torch.bool)
    mask[:, 1] = True
    (found,) = mask_structure({"w": mask})
    assert (found.column_density, found.block_density, found.row_run, found.column_run) == (0.5, 0.5, 9.0, 4.0)


def test_inputs_of_convolutions_have_all_places_of_a_kernel():
    mask = torch.zeros(4, 3, 2, 2, dtype=torch.bool)
    mask[1, 2, 0, 1] = mask[3, 2, 1, 1] = True
    (found,) = mask_structure({"w": mask})
    assert (found.row_density, found.column_density, found.block_density) == (0.5, 1 / 3, 2 / 12)


def test_empty_masks():
    (found,) = mask_structure({"w": torch.zeros(4, 6, dtype=torch.bool)})
    assert (found.density, found.block_density, found.block_fill, found.row_run, found.column_run) == (0, 0, 0, 0, 0)
    (found,) = mask_structure({"w": torch.zeros(3, 0, dtype=torch.bool)})
    assert (found.density, found.block_density, found.row_density) == (0, 0, 0)


def test_bad_input():
    with pytest.raises(ValueError, match="masks must have two axes"):
        mask_structure({"w": torch.ones(3, dtype=torch.bool)})
    with pytest.raises(TypeError, match="masks must hold tensors of bool"):
        mask_structure({"w": torch.ones(3, 3)})
    with pytest.raises(ValueError, match="block must be one of"):
        packed_bytes(_mask(4, 4), 2)
    with pytest.raises(ValueError, match="value_bytes must be"):
        packed_bytes(_mask(4, 4), value_bytes=0)
    for mask in (torch.ones(3, 3), torch.ones(3, dtype=torch.bool), [[True]]):
        with pytest.raises(ValueError, match="mask must be a tensor of bool with two axes or more"):
            packed_bytes(mask)
