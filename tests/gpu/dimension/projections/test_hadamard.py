"""The transform of tensors against the matrix, on every axis, and its derivatives."""

import pytest
import torch
from scipy.linalg import hadamard

from sparsetheory.gpu.dimension import fwht
from sparsetheory.gpu.dimension.projections.hadamard import padded_size, transform_rows


def matrix(size, dtype=torch.float64):
    return torch.as_tensor(hadamard(size), dtype=dtype)


@pytest.mark.parametrize("size", [1, 2, 16, 128, 1024])
def test_it_is_the_matrix_and_its_own_inverse_but_for_the_size(size, device):
    x = torch.randn(3, size, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    kept, given = x.clone(), x.to(device)
    torch.testing.assert_close(fwht(given).cpu(), x @ matrix(size))
    torch.testing.assert_close(fwht(fwht(given)).cpu(), size * x)
    assert torch.equal(given.cpu(), kept)


@pytest.mark.parametrize("dim", [0, 1, 2, -1, -3])
def test_any_axis(dim, device):
    x = torch.randn(4, 8, 2, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    expected = torch.movedim(torch.movedim(x, dim, -1) @ matrix(x.shape[dim]), -1, dim)
    torch.testing.assert_close(fwht(x.to(device), dim).cpu(), expected)


def test_the_form_for_devices_is_the_kernel(monkeypatch):
    x = torch.randint(-9, 9, (3, 700), generator=torch.Generator().manual_seed(0)).float()
    compiled = transform_rows(x, 1024)
    monkeypatch.setattr("sparsetheory.gpu.dimension.projections.hadamard.in_kernel_type", lambda _: False)
    assert torch.equal(transform_rows(x, 1024), compiled)
    monkeypatch.undo()
    plain = x.double().requires_grad_()
    assert torch.equal(transform_rows(plain, 1024).float(), compiled)


def test_derivatives_of_first_and_second_order():
    x = torch.randn(2, 16, dtype=torch.float64, generator=torch.Generator().manual_seed(0), requires_grad=True)
    assert torch.autograd.gradcheck(fwht, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda z: fwht(z).square(), x)


def test_transforms_of_functions():
    x = torch.randn(3, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(torch.func.vmap(fwht, in_dims=1)(x.T.contiguous()), fwht(x))
    torch.testing.assert_close(torch.func.jacrev(fwht)(x[0]), matrix(8))
    torch.testing.assert_close(torch.func.jacfwd(fwht)(x[0]), matrix(8))
    torch.testing.assert_close(torch.func.hessian(lambda z: fwht(z).square().sum() / 16)(x[0]), torch.eye(8).double())


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_types_of_sixteen_bits_are_rounded_once(dtype, device):
    # Sums of integers are exact in single precision; in 16 bits each pass would round them.
    x = torch.randint(-30, 31, (2, 1024), generator=torch.Generator().manual_seed(0))
    found = fwht(x.to(dtype).to(device))
    assert found.dtype == dtype
    assert torch.equal(found.cpu(), (x.double() @ matrix(1024)).to(dtype))


@pytest.mark.parametrize(
    "x", [torch.ones(3), torch.ones(2, 0), torch.ones(4, dtype=torch.int64), torch.ones(()), [1.0]]
)
def test_what_cannot_be_transformed_is_an_error(x):
    with pytest.raises(ValueError, match="x must"):
        fwht(x)


def test_an_axis_that_is_not_there_is_an_error():
    with pytest.raises(IndexError):
        fwht(torch.ones(4), 1)


def test_no_rows():
    assert fwht(torch.ones(0, 4)).shape == (0, 4)


def test_powers_of_two_are_counted_in_integers():
    for exponent in range(60):
        assert padded_size(2**exponent) == 2**exponent
        assert padded_size(2**exponent + 1) == 2 ** (exponent + 1)
