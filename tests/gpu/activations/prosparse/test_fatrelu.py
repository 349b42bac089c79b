"""FATReLU: values, borders, gradients, and what is not allowed."""

import pytest
import torch

from sparsetheory.gpu.activations import FATReLU, ReluThreshold


def test_it_keeps_what_is_at_least_the_threshold(device):
    x = torch.tensor([-1.0, -0.0, 0.0, 0.49, 0.5, 3.0], device=device)
    assert FATReLU(0.5)(x).tolist() == [0.0, 0.0, 0.0, 0.0, 0.5, 3.0]
    assert torch.equal(FATReLU()(x), torch.relu(x))
    assert torch.equal(FATReLU(0.5)(x) != 0, ReluThreshold(0.5)(x))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_its_gradient_is_its_mask(dtype):
    x = torch.tensor([-1.0, 0.0, 0.25, 0.5, 2.0], dtype=dtype, requires_grad=True)
    y = FATReLU(0.5)(x)
    y.sum().backward()
    assert y.dtype == dtype
    assert x.grad.tolist() == [0.0, 0.0, 0.0, 1.0, 1.0]
    x.grad = None
    FATReLU()(x).sum().backward()
    assert x.grad.tolist() == [0.0, 0.0, 1.0, 1.0, 1.0]


def test_it_says_its_threshold_and_hides_no_nan():
    assert repr(FATReLU(0.01)) == "FATReLU(threshold=0.01)"
    assert FATReLU(0.5)(torch.tensor([torch.nan])).isnan().all()


@pytest.mark.parametrize("threshold", [-0.1, float("nan"), float("inf"), "0.1", None])
def test_wrong_thresholds_are_named(threshold):
    with pytest.raises(ValueError, match="threshold must be a finite non-negative number"):
        FATReLU(threshold)
