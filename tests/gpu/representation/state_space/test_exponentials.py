"""Exponentials of low rank and held inputs, against scipy and by hand."""

import numpy as np
import pytest
import torch
from scipy.linalg import expm

from sparsetheory.gpu.representation import lowrank_expm, lowrank_zero_order_hold, zero_order_hold


def _factors(n=6, r=2, batch=(), dtype=torch.float64, seed=0):
    return torch.randn(2, *batch, n, r, generator=torch.Generator().manual_seed(seed), dtype=dtype).unbind()


@pytest.mark.parametrize("shift", [0.0, 3.0, -1.0])
@pytest.mark.parametrize("rank", [1, 3, 6])
def test_the_exponential_is_that_of_scipy(rank, shift, device):
    U, V = _factors(r=rank)
    found = lowrank_expm(U.to(device), V.to(device), 0.3, shift)
    exact = expm(0.3 * (U @ V.mT - shift * torch.eye(6)).numpy())
    assert np.abs(found.cpu().numpy() - exact).max() < 1e-13 * max(1, np.linalg.norm(exact)) * 10


def test_factors_without_a_core_divide_by_nothing():
    """Columns of V that are orthogonal to U make M zero, where a formula with an inverse is 0 / 0."""
    U, V = torch.eye(4, dtype=torch.float64)[:, :2], torch.eye(4, dtype=torch.float64)[:, 2:]
    exact = torch.eye(4, dtype=torch.float64) + 0.5 * U @ V.mT
    assert torch.allclose(lowrank_expm(U, V, 0.5), exact, rtol=0, atol=1e-15)
    zero = torch.zeros(4, 2, dtype=torch.float64)
    assert torch.equal(lowrank_expm(zero, zero, 0.5), torch.eye(4, dtype=torch.float64))
    B = torch.ones(4, 1, dtype=torch.float64)
    assert torch.allclose(lowrank_zero_order_hold(zero, zero, B, 0.5), 0.5 * B, rtol=0, atol=1e-15)


def test_modes_that_decay_have_an_absolute_error():
    U = 4 * torch.linalg.qr(_factors(r=6)[0]).Q
    found = lowrank_expm(U, -U, 3.0)
    assert found.abs().max() < 1e-14


def test_a_large_shift_does_not_overflow():
    """``exp(step U V')`` alone would; the shift belongs into the table."""
    U = 30 * torch.eye(3, dtype=torch.float64)[:, :1]
    found = lowrank_expm(U, U, 1.0, 901.0)
    assert found.isfinite().all()
    assert float(found[0, 0]) == pytest.approx(np.exp(-1.0), rel=1e-9)


def test_batches_broadcast_against_steps_and_shifts():
    U, V = _factors(batch=(3,))
    step, shift = torch.tensor([0.1, 0.2, 0.3]), torch.tensor([[1.0], [2.0]])
    found = lowrank_expm(U, V, step.double(), shift.double())
    assert found.shape == (2, 3, 6, 6)
    one = lowrank_expm(U[1], V[1], float(step[1].double()), 2.0)
    assert torch.allclose(found[1, 1], one, rtol=0, atol=1e-14)


def test_gradients_are_those_of_differences():
    U, V = (factor.requires_grad_() for factor in _factors(n=4))
    B = torch.randn(4, 2, generator=torch.Generator().manual_seed(1), dtype=torch.float64, requires_grad=True)
    step, shift = (torch.tensor(value, dtype=torch.float64, requires_grad=True) for value in (0.3, 0.0))
    assert torch.autograd.gradcheck(lowrank_expm, (U, V, step, shift))
    assert torch.autograd.gradcheck(lowrank_zero_order_hold, (U, V, B, step, shift))


@pytest.mark.parametrize(("dtype", "tol"), [(torch.float32, 1e-5), (torch.bfloat16, 0.1)])
def test_the_dtype_stays(dtype, tol):
    U, V = _factors(dtype=torch.float32)
    exact = lowrank_expm(U.double(), V.double(), 0.1, 1.0)
    found = lowrank_expm(U.to(dtype), V.to(dtype), 0.1, 1.0)
    assert found.dtype == dtype
    assert (found.double() - exact).abs().max() < tol


@pytest.mark.parametrize("shift", [0.0, 1.5])
def test_held_inputs_are_those_of_the_dense_matrix(shift):
    """Without a shift the matrix has rank 2 of 6: an inverse of it does not exist."""
    U, V = _factors()
    B = torch.randn(6, 3, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
    A = U @ V.mT - shift * torch.eye(6, dtype=torch.float64)
    block = np.zeros((9, 9))
    block[:6, :6], block[:6, 6:] = A.numpy(), B.numpy()
    exact = expm(0.4 * block)[:6]
    transition, dense = zero_order_hold(A, B, 0.4)
    for found, wanted in ((transition, exact[:, :6]), (dense, exact[:, 6:])):
        assert np.abs(found.numpy() - wanted).max() < 1e-12
    assert np.abs(lowrank_zero_order_hold(U, V, B, 0.4, shift).numpy() - exact[:, 6:]).max() < 1e-12


@pytest.mark.parametrize("step", [0.0, -0.1, float("nan"), torch.tensor([0.1, 0.0])])
def test_steps_must_be_positive(step):
    U, V = _factors()
    for call in (
        lambda: lowrank_expm(U, V, step),
        lambda: zero_order_hold(U @ V.mT, U, step),
        lambda: lowrank_zero_order_hold(U, V, U, step),
    ):
        with pytest.raises(ValueError, match="step must be a finite positive number"):
            call()


def test_bad_factors_are_named():
    U, V = _factors()
    with pytest.raises(ValueError, match="U and V must have equally many"):
        lowrank_expm(U, V[:5], 0.1)
    with pytest.raises(ValueError, match="V must be finite"):
        lowrank_expm(U, V * float("nan"), 0.1)
    with pytest.raises(TypeError, match="U must be a tensor of real"):
        lowrank_expm(U.long(), V, 0.1)
    with pytest.raises(ValueError, match="shift must be a finite number"):
        lowrank_expm(U, V, 0.1, float("inf"))
    with pytest.raises(ValueError, match=r"U and V must have one dtype; got torch\.float64 and torch\.float32"):
        lowrank_expm(U, V.float(), 0.1)
    with pytest.raises(ValueError, match=r"B must have the dtype of U and V, torch\.float64; got torch\.float32"):
        lowrank_zero_order_hold(U, V, U.float(), 0.1)
    with pytest.raises(ValueError, match="B must have one row"):
        lowrank_zero_order_hold(U, V, U[:3], 0.1)
    with pytest.raises(ValueError, match="A must be square"):
        zero_order_hold(U, U, 0.1)
