"""Mean and variance of the absolute values of normal variables, for tensors."""

from dataclasses import dataclass

from torch import Tensor

from sparsetheory.bayesian.subspace.elementwise import common_shape
from sparsetheory.bayesian.subspace.folded_formulas import capped, folded_excess, folded_spread, signal_to_noise
from sparsetheory.gpu.bayesian.subspace.torch_functions import TORCH
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["FoldedMoments", "folded_normal_moments", "normal_tensors"]


@dataclass(frozen=True, eq=False)
class FoldedMoments:
    """Moments of |theta| for normal theta."""

    mean: Tensor
    """E|theta|, in the unit of theta."""
    variance: Tensor
    """Var|theta|, in the squared unit of theta."""


def folded_normal_moments(mu: Tensor, sigma: Tensor) -> FoldedMoments:
    r"""Return mean and variance of :math:`|\theta|` for :math:`\theta \sim N(\mu, \sigma^2)`.

    The twin of :func:`sparsetheory.bayesian.folded_normal_moments`, which has the formulas, on any device.

    Parameters
    ----------
    mu : Tensor
        Means.
    sigma : Tensor, broadcastable against `mu`
        Standard deviations, at least zero. Zero stands for the constant mu.

    Returns
    -------
    FoldedMoments
        In float64 if an argument has it, else in float32; without gradients.

    Raises
    ------
    TypeError
        If an argument is not a tensor of floating-point numbers.
    ValueError
        If an entry is not finite, a deviation is negative, shapes do not fit, or devices differ.

    Examples
    --------
    >>> import torch
    >>> folded_normal_moments(torch.tensor([0.0, 3.0]), torch.tensor([1.0, 0.0])).mean
    tensor([0.7979, 3.0000])
    """
    means, deviations = normal_tensors(mu, sigma)
    size = means.abs()
    r = capped(TORCH, signal_to_noise(TORCH, size, deviations))
    mean = size + deviations * folded_excess(TORCH, r)
    # The square of sigma is formed last: it may leave the range where the variance does not.
    return FoldedMoments(mean, deviations * (deviations * folded_spread(TORCH, r)))


def normal_tensors(mu: Tensor, sigma: Tensor) -> tuple[Tensor, Tensor]:
    """Return means and deviations in one precision and of one shape, checked.

    Raises
    ------
    TypeError, ValueError
        As :func:`folded_normal_moments`.
    """
    means, deviations = finite_tensor("mu", mu), finite_tensor("sigma", sigma)
    together(mu=means, sigma=deviations)
    if bool((deviations < 0).any()):
        raise ValueError(f"sigma must not be negative; got {float(deviations.min()):g}")
    shape, dtype = common_shape(mu=means.shape, sigma=deviations.shape), working_dtype(means, deviations)
    return means.to(dtype).expand(shape), deviations.to(dtype).expand(shape)
