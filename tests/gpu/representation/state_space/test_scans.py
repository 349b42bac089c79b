"""Recurrences over whole sequences, against loops."""

import pytest
import torch

from sparsetheory.gpu.representation.state_space.scans import delayed, matrix_scan, scalar_scan, with_first


def _loop(values, matrix):
    z, found = torch.zeros_like(values[..., 0, :]), []
    for t in range(values.shape[-2]):
        z = z @ matrix.mT + values[..., t, :]
        found.append(z)
    return torch.stack(found, -2)


@pytest.mark.parametrize("length", [1, 2, 3, 7, 8, 9, 33])
def test_scans_are_loops(length, device):
    source = torch.Generator().manual_seed(length)
    values = torch.randn(2, 3, length, 4, generator=source, dtype=torch.float64).to(device)
    matrix = (torch.randn(4, 4, generator=source, dtype=torch.float64) / 3).to(device)
    assert torch.allclose(matrix_scan(values, matrix), _loop(values, matrix), rtol=0, atol=1e-12)
    factor = torch.tensor(-0.9, dtype=torch.float64, device=device)
    eye = factor * torch.eye(4, dtype=torch.float64, device=device)
    assert torch.allclose(scalar_scan(values, factor), _loop(values, eye), rtol=0, atol=1e-12)


def test_batches_of_matrices_have_their_own_recurrences():
    source = torch.Generator().manual_seed(0)
    values = torch.randn(3, 6, 2, generator=source, dtype=torch.float64)
    matrices = torch.randn(3, 2, 2, generator=source, dtype=torch.float64) / 2
    for index in range(3):
        one = _loop(values[index], matrices[index])
        assert torch.allclose(matrix_scan(values, matrices)[index], one, rtol=0, atol=1e-12)


def test_gradients_are_those_of_the_loop():
    source = torch.Generator().manual_seed(0)
    values = torch.randn(2, 11, 3, generator=source, dtype=torch.float64, requires_grad=True)
    matrix = (torch.randn(3, 3, generator=source, dtype=torch.float64) / 2).requires_grad_()
    grads = [
        torch.autograd.grad(scan(values, matrix).square().sum(), (values, matrix)) for scan in (matrix_scan, _loop)
    ]
    for one, other in zip(*grads, strict=True):
        assert torch.allclose(one, other, rtol=1e-10, atol=1e-10)


def test_nothing_is_made_of_nothing():
    empty = torch.zeros(2, 0, 3)
    assert matrix_scan(empty, torch.eye(3)).shape == empty.shape
    assert with_first(empty, torch.ones(2, 3)).shape == empty.shape
    assert delayed(torch.ones(3, 1), 2).flatten().tolist() == [0.0, 1.0]
    assert with_first(torch.ones(3, 1), torch.ones(1)).flatten().tolist() == [2.0, 1.0, 1.0]
