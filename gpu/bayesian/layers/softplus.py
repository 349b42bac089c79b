"""Standard deviations as softplus of a free parameter, and back without loss."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["SMALLEST", "inverse_softplus", "positive"]

SMALLEST = 1e-12
"""The least standard deviation, so that logarithms and quotients of it stay finite."""

# Above, the softplus differs from its argument by less than half a unit in the last place of double precision.
_LINEAR = 40.0


def positive(rho: Tensor) -> Tensor:
    """Return ``log(1 + exp(rho))``, at least 1e-12; below that its gradient is 0.

    In float32 the softplus itself is subnormal below rho = -87 and 0 below -104.
    """
    return functional.softplus(rho, threshold=_LINEAR).clamp_min(SMALLEST)


def inverse_softplus(sigma: Tensor) -> Tensor:
    """Return the parameter whose softplus is sigma, which is positive.

    It is ``sigma + log(1 - exp(-sigma))``. The plain ``log(exp(sigma) - 1)`` overflows above 88 in float32, and is
    minus infinity below 6e-8, where 1 swallows sigma.

    Examples
    --------
    >>> import torch
    >>> inverse_softplus(torch.tensor([1e-30, 1.0, 1e4]))
    tensor([-6.9078e+01,  5.4132e-01,  1.0000e+04])
    """
    return sigma + torch.log(-torch.expm1(-sigma))
