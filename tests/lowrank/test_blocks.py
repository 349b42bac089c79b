"""Blocks are checked once, converted one at a time, and never changed."""

import numpy as np
import pytest
from scipy import sparse

from sparsetheory.lowrank.blocks import Blocks, as_matrix


@pytest.mark.parametrize("dtype", [bool, np.int8, np.uint16, np.int64, np.float32, ">f8"])
def test_real_input_is_worked_on_in_double_precision(dtype):
    block = np.array([[1, 0], [1, 1]]).astype(dtype)
    converted = as_matrix(block)
    assert converted.dtype == np.float64
    assert np.array_equal(converted, block)
    assert Blocks([block]).dtype == (np.float32 if dtype is np.float32 else np.float64)


@pytest.mark.parametrize("dtype", [np.complex64, np.complex128, ">c16", ">c8"])
def test_imaginary_parts_survive(dtype, rng):
    block = (rng.standard_normal((4, 2)) + 1j * rng.standard_normal((4, 2))).astype(dtype)
    blocks = Blocks([block])
    assert np.array_equal(blocks[0], block)
    assert blocks.dtype == (np.complex64 if dtype is np.complex64 else np.complex128)


def test_imaginary_parts_survive_beside_real_blocks():
    blocks = Blocks([np.eye(2), 1j * np.eye(2, dtype=np.complex64)])
    assert blocks[1][0, 0] == 1j
    assert blocks[0].dtype == np.complex128


def test_a_foreign_dtype_attribute_does_not_decide(rng):
    # Tensors of other libraries have a dtype of their own and become arrays on request.
    block = rng.standard_normal((3, 2)) * 1j

    class Tensor:
        dtype = "complex128 of another library"

        def __array__(self, dtype=None, copy=None):
            return block

    assert np.array_equal(Blocks([Tensor()])[0], block)


def test_double_precision_arrays_are_not_copied(rng):
    block = rng.standard_normal((3, 2))
    assert np.shares_memory(Blocks([block])[0], block)


def test_one_object_may_stand_in_several_places(rng):
    block = rng.standard_normal((3, 2))
    blocks = Blocks([block, 2 * block, block])
    assert np.array_equal(blocks.concatenate([2, 1, 0]), np.hstack([block, 2 * block, block]))
    assert blocks.energies[0] == blocks.energies[2] == pytest.approx(np.sum(block**2))
    assert blocks.n_columns == 6


def test_sparse_generator_and_stack_are_read_alike(rng):
    stack = rng.standard_normal((3, 4, 2))
    for source in (stack, (b for b in stack), [sparse.coo_matrix(b) for b in stack]):
        assert np.array_equal(Blocks(source).concatenate(range(3)), np.hstack(list(stack)))


@pytest.mark.parametrize("scale", [1e-300, 1e-200, 1e-71, 1e71, 1e200, 1e300])
def test_far_scales_are_divided_by_a_power_of_two(scale, rng):
    block = rng.standard_normal((4, 3))
    blocks = Blocks([scale * block, 0 * block])
    assert np.log2(blocks.unit) == int(np.log2(blocks.unit)) != 0
    assert np.array_equal(blocks[0] * blocks.unit, scale * block)
    assert 1 <= np.abs(blocks[0]).max() < 2
    assert blocks.energies[0] == pytest.approx(np.sum(blocks[0] ** 2))


def test_usual_scales_are_left_alone(rng):
    assert Blocks([1e-60 * rng.standard_normal((4, 3))]).unit == Blocks([np.zeros((2, 2))]).unit == 1.0


def test_selection_keeps_unit_and_dtype(rng):
    blocks = Blocks([1e200 * rng.standard_normal((4, n)).astype(complex) for n in (1, 2, 3)])
    part = blocks.select(np.array([2, 0]))
    assert (part.unit, part.dtype, len(part)) == (blocks.unit, blocks.dtype, 2)
    assert part.widths.tolist() == [3, 1]
    assert np.array_equal(part[0], blocks[2])


@pytest.mark.parametrize(
    ("blocks", "error", "message"),
    [
        ([], ValueError, "need at least one block"),
        ([np.eye(3), np.eye(3), np.eye(2), np.eye(1)], ValueError, "block 0 has 3 rows, block 2 has 2"),
        (np.eye(3), ValueError, r"block 0 must be two-dimensional; got shape \(3,\)"),
        ([np.eye(3), np.zeros((3, 2, 2))], ValueError, r"block 1 must be two-dimensional; got shape \(3, 2, 2\)$"),
        ([np.eye(3), np.zeros((3, 0))], ValueError, r"block 1 must have at least one row and one column.*\(3, 0\)"),
        ([np.eye(3), np.full((3, 1), np.nan)], ValueError, "block 1 contains NaN"),
        ([np.eye(3), np.array([[1], [-np.inf], [0]])], ValueError, "block 1 contains NaN or infinity"),
        ([np.eye(3), sparse.csr_array([[np.nan], [0], [0]])], ValueError, "block 1 contains NaN"),
        ([np.eye(3), np.full((3, 1), 1j * np.nan)], ValueError, "block 1 contains NaN"),
        ([np.array([["a"]])], TypeError, "block 0 must be real or complex"),
        ([np.array([[None]])], TypeError, "dtype object"),
        ([np.eye(2, dtype=np.longdouble)], TypeError, "at most double precision"),
    ],
    ids=[
        "empty", "rows", "matrix for a list", "3-D", "no column", "NaN", "infinity", "sparse NaN", "imaginary NaN",
        "string", "object", "long double",
    ],
)  # fmt: skip
def test_bad_blocks(blocks, error, message):
    with pytest.raises(error, match=message):
        Blocks(blocks)
