"""The denoising loss of a mixture of low-rank Gaussians."""

import torch
from torch import Tensor

from sparsetheory.constraints import FLAG, Instance
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.molrg.denoiser import MoLRGDenoiser
from sparsetheory.gpu.representation.molrg.subspaces import point_rows
from sparsetheory.gpu.solvers.arguments import working_dtype

__all__ = ["molrg_loss"]


def molrg_loss(
    denoiser: MoLRGDenoiser,
    X: Tensor,
    noise_std: float | Tensor,
    *,
    scale: float | Tensor = 1.0,
    expected: bool = False,
    generator: torch.Generator | int | None = None,
) -> Tensor:
    r"""Return how far denoised points are from clean ones: :math:`\frac1N \sum_i E\|D(s x_i + \gamma e) - x_i\|^2`.

    With one subspace, or with hard assignment of the clean points, the expectation over the noise is known. With
    :math:`a = s / (s^2 + \gamma^2)` it is

    .. math:: \frac1N \sum_i \|x_i\|^2 - a s (2 - a s) \|U_{k(i)}^T x_i\|^2 + a^2 \gamma^2 d_{k(i)},

    and 0 < a s < 1. So whatever the levels of noise and their weights, its minimisers are those of PCA, and with hard
    assignment those of K-subspaces.

    Parameters
    ----------
    denoiser : MoLRGDenoiser
        Gradients go to its bases. With hard assignment the clean points decide the subspaces.
    X : Tensor of shape (n_samples, n_features)
        Clean points.
    noise_std : float or Tensor of shape (n_samples,)
        Standard deviation of the noise, above 0.
    scale : float or Tensor of shape (n_samples,)
        What clean points are multiplied by before noise is added, above 0.
    expected : bool
        Whether the expectation is taken; otherwise noise is drawn once for each point.
    generator : torch.Generator, int or None
        Source of the noise, drawn on the CPU; by default the global one of torch. An integer draws the same noise in
        every call.

    Returns
    -------
    Tensor of shape ()

    Raises
    ------
    TypeError
        If `X` is no tensor of floating-point numbers.
    ValueError
        If points are not finite, an argument is out of range, or the expectation is not known.

    References
    ----------
    P. Wang, H. Zhang, Z. Zhang, S. Chen, Y. Ma, Q. Qu, "Diffusion models learn low-dimensional distributions via
    subspace clustering", arXiv:2409.02426.

    Examples
    --------
    >>> import torch
    >>> denoiser = MoLRGDenoiser([torch.eye(3)[:, :1]])
    >>> molrg_loss(denoiser, torch.tensor([[2.0, 0.0, 1.0]]), 1.0, expected=True).item()  # 5 - 3/4 * 4 + 1/4
    2.25
    """
    Instance(MoLRGDenoiser).check("denoiser", denoiser)
    FLAG.require(expected=expected)
    points = point_rows(X)
    noise, factor = denoiser.levels(points, noise_std, scale)
    hard = denoiser.assignment == "hard" or len(denoiser.widths) == 1
    if expected:
        if not hard:
            raise ValueError("expected must be False unless there is one subspace or the assignment is hard")
        return _expected(denoiser, points, noise.squeeze(-1), factor.squeeze(-1))
    labels = denoiser.assign(points).detach() if hard else None
    drawn = torch.randn(points.shape, dtype=working_dtype(points), generator=cpu_generator(generator)).to(points)
    noisy = factor.to(points) * points + noise.to(points) * drawn
    missed = denoiser(noisy, noise_std, scale, labels) - points
    return missed.to(working_dtype(missed)).square().sum(1).mean()


def _expected(denoiser: MoLRGDenoiser, points: Tensor, noise: Tensor, factor: Tensor) -> Tensor:
    held, labels = denoiser.held(points).max(1)
    a = factor / (factor.square() + noise.square())
    widths = held.new_tensor(denoiser.widths)[labels]
    kept = a * factor
    return (points.to(held.dtype).square().sum(1) - kept * (2 - kept) * held + (a * noise).square() * widths).mean()
