"""Standard deviations and the free parameter behind them, in the whole range of single precision."""

import pytest
import torch

from sparsetheory.gpu.bayesian.layers.softplus import SMALLEST, inverse_softplus, positive


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_a_deviation_comes_back(dtype, device):
    sigma = torch.logspace(-30, 4, 300, dtype=torch.float64).to(device, dtype)
    rho = inverse_softplus(sigma)
    assert rho.isfinite().all()
    back = positive(rho)
    above = sigma > SMALLEST
    # A rounding of rho of size 30 is one of the logarithm of sigma.
    torch.testing.assert_close(back[above], sigma[above], rtol=100 * torch.finfo(dtype).eps, atol=0.0)
    assert (back[~above] == SMALLEST).all()


def test_the_plain_inverse_is_infinite_where_this_is_not():
    sigma = torch.tensor([1e-9, 100.0])
    assert not (sigma.exp() - 1).log().isfinite().any()
    assert inverse_softplus(sigma).isfinite().all()


def test_softplus_is_exact_in_double_precision_where_torch_switches_to_its_argument():
    rho = torch.tensor([20.5, 30.0], dtype=torch.float64)
    assert (positive(rho) > rho).all()
    assert (torch.nn.functional.softplus(rho) == rho).all()


def test_the_derivative_is_the_logistic_function():
    rho = torch.linspace(-20, 20, 41, dtype=torch.float64, requires_grad=True)
    positive(rho).sum().backward()
    torch.testing.assert_close(rho.grad, rho.detach().sigmoid(), rtol=1e-12, atol=0.0)


def test_a_parameter_of_minus_infinity_has_a_finite_deviation_and_gradient():
    rho = torch.tensor([-float("inf"), -110.0], requires_grad=True)
    sigma = positive(rho)
    sigma.log().sum().backward()
    assert (sigma == SMALLEST).all()
    assert (rho.grad == 0).all()
