"""Standard deviations as softplus of a free parameter, and back without loss."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["inverse_softplus", "positive"]

_SMALLEST = 1e-12


def positive(rho: Tensor) -> Tensor:
    """Return ``log(1 + exp(rho))``, at least 1e-12 so that logarithms and quotients of it stay finite."""
    return functional.softplus(rho).clamp_min(_SMALLEST)


def inverse_softplus(sigma: Tensor) -> Tensor:
    """Return the parameter whose softplus is sigma; stable for small and for large numbers."""
    return sigma + torch.log(-torch.expm1(-sigma))
