"""The operator against a search, its ties, its gradients and its scales."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize

from sparsetheory.gpu.representation import group_soft_threshold


def _normal(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_it_is_what_a_search_finds(device):
    W = _normal(3, 5)
    found = group_soft_threshold(W.to(device), 0.7).cpu().numpy()
    for w, v in zip(W.numpy().T, found.T, strict=True):
        searched = minimize(
            lambda x, w=w: 0.5 * ((x - w) ** 2).sum() + 0.7 * np.linalg.norm(x),
            0.5 * w,
            method="Nelder-Mead",
            options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 5000},
        )
        assert np.abs(searched.x - v).max() < 1e-5


def test_ties_and_nothing_to_do():
    W = torch.tensor([[3.0, 0.0, 3.0], [4.0, 0.0, 4.0]])
    # 3, 4, 5 is exact: at the threshold a group is zero, one rounding below it is not.
    below = float(np.nextafter(np.float32(5), np.float32(0)))
    assert torch.equal(group_soft_threshold(W, 5.0), torch.zeros(2, 3))
    assert group_soft_threshold(W, below)[:, 0].count_nonzero() == 2
    assert torch.equal(group_soft_threshold(W, 0.0), W)
    assert torch.equal(group_soft_threshold(torch.zeros(2, 2), 0.0), torch.zeros(2, 2))
    assert torch.equal(group_soft_threshold(torch.zeros(2, 2), 1.0), torch.zeros(2, 2))


@pytest.mark.parametrize("scale", [1e-320, 1e-200, 1e200, 1e308])
def test_scales_at_which_squares_fail(scale):
    W = torch.tensor([[0.75, 0.1], [1.0, 0.1]], dtype=torch.float64) * scale
    found = group_soft_threshold(W, 0.25 * scale)
    # The first group has the norm 1.25 of the scale, and loses a fifth; the second has 0.14 of it.
    assert torch.allclose(
        found[:, 0] / W[:, 0], torch.tensor(0.8, dtype=torch.float64), rtol=1e-3 if scale < 1e-300 else 1e-12
    )
    assert not found[:, 1].any()


def test_axes_and_thresholds_of_groups():
    W = _normal(2, 3, 4)
    thresholds = torch.tensor([0.1, 0.5, 1.0, 2.0], dtype=torch.float64)
    found = group_soft_threshold(W, thresholds, dim=(0, 1))
    for j, threshold in enumerate(thresholds):
        alone = group_soft_threshold(W[:, :, j].reshape(-1, 1), float(threshold))
        assert torch.allclose(found[:, :, j].reshape(-1, 1), alone)
    assert group_soft_threshold(W[:0], 0.5).shape == (0, 3, 4)
    rows = group_soft_threshold(W[0], 0.5, dim=-1)
    assert torch.allclose(rows, group_soft_threshold(W[0].T.contiguous(), 0.5).T)


def test_gradients():
    W = _normal(3, 4).requires_grad_()
    threshold = torch.tensor(0.6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(group_soft_threshold, (W, threshold))
    zeros = torch.zeros(3, 2, dtype=torch.float64, requires_grad=True)
    group_soft_threshold(zeros, 0.5).sum().backward()
    assert torch.equal(zeros.grad, torch.zeros(3, 2, dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_dtypes(dtype, device):
    W = _normal(4, 6)
    found = group_soft_threshold(W.to(device, dtype), 0.5)
    assert found.dtype == dtype
    assert found.device.type == device
    eps = torch.finfo(dtype).eps
    assert torch.allclose(found.cpu().double(), group_soft_threshold(W.to(dtype).double(), 0.5), rtol=4 * eps, atol=eps)


def test_bad_input():
    with pytest.raises(ValueError, match="threshold must be a finite non-negative number; got -1"):
        group_soft_threshold(torch.ones(2, 2), -1.0)
    with pytest.raises(ValueError, match="threshold must be finite and at least 0"):
        group_soft_threshold(torch.ones(2, 2), torch.tensor([0.1, -0.1]))
    with pytest.raises(ValueError, match="threshold must broadcast against the norms"):
        group_soft_threshold(torch.ones(2, 2), torch.ones(3))
    for dim in ([0, 0], [0, -2], 2, []):
        with pytest.raises(ValueError, match="dim must hold one or more of the 2 axes of W, each once"):
            group_soft_threshold(torch.ones(2, 2), 0.1, dim)
    with pytest.raises(ValueError, match="W must be finite"):
        group_soft_threshold(torch.tensor([[torch.nan]]), 1.0)
    with pytest.raises(TypeError, match="W must be a tensor of real floating-point numbers"):
        group_soft_threshold(torch.ones(2, 2, dtype=torch.int64), 1.0)
