"""The image whose gradients are nearest to given ones: a Poisson equation, on a rectangle or within a mask."""

import math
from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import pad

from sparsetheory.gpu.representation.images.differences import image_divergence, image_gradient
from sparsetheory.gpu.solvers.arguments import finite_tensor, working_dtype

__all__ = ["masked_poisson", "poisson_neumann", "screened_poisson"]

# Conjugate gradients within a mask end at this residual, relative to the right-hand side and the double precision.
_RESIDUAL = 64


def poisson_neumann(div: Tensor) -> Tensor:
    r"""Solve the Poisson equation with no flow across the border: ``divergence(gradient(u)) = div``.

    If `div` is the divergence of a field g, u is the image whose gradient is nearest to g: it minimises
    :math:`\|\nabla u - g\|^2`.

    Parameters
    ----------
    div : Tensor of shape (..., height, width)
        Real floating-point numbers. Its mean over each image is ignored, as no u has a divergence with a mean.

    Returns
    -------
    Tensor of shape (..., height, width)
        Of mean zero, in the dtype of `div`; 16 bits are computed in single precision.

    Raises
    ------
    TypeError, ValueError
        If it is no tensor of finite numbers with two axes or more, or is empty.

    Notes
    -----
    Images are continued by reflection, where the equation is diagonal in Fourier space: the cosine transform, with
    eigenvalues ``4 - 2 cos(pi k / height) - 2 cos(pi l / width)``. O(n log n) for n pixels, and memory for four
    complex images. Strang, "The discrete cosine transform", SIAM Review 1999.

    Examples
    --------
    >>> import torch
    >>> from sparsetheory.gpu.representation import image_divergence, image_gradient
    >>> u = torch.tensor([[0.0, 1.0, 5.0], [2.0, 2.0, 2.0]])
    >>> solved = poisson_neumann(image_divergence(*image_gradient(u)))
    >>> torch.allclose(solved, u - u.mean(), atol=1e-5)
    True
    """
    checked = finite_tensor("div", div, least_axes=2)
    if not div.numel():
        raise ValueError(f"div must have at least one pixel; got shape {tuple(div.shape)}")
    return screened_poisson(-checked.to(working_dtype(div)), 1.0, 0.0).to(div.dtype)


def screened_poisson(values: Tensor, smoothing: float, anchor: float) -> Tensor:
    """Solve ``anchor u - smoothing divergence(gradient(u)) = values``, of mean zero where `anchor` is 0."""
    height, width = values.shape[-2:]
    reflected = torch.cat([values, values.flip(-2)], -2)
    spectrum = torch.fft.rfft2(torch.cat([reflected, reflected.flip(-1)], -1))
    scale = anchor + smoothing * _eigenvalues(height, width, values)
    if not anchor:
        # The mean is free, and its share of the values is rounding.
        spectrum[..., 0, 0], scale[0, 0] = 0.0, 1.0
    solved = torch.fft.irfft2(spectrum / scale, s=(2 * height, 2 * width))
    return solved[..., :height, :width]


def _eigenvalues(height: int, width: int, like: Tensor) -> Tensor:
    down = torch.arange(2 * height, dtype=like.dtype, device=like.device) * (math.pi / (2 * height))
    right = torch.arange(width + 1, dtype=like.dtype, device=like.device) * (math.pi / (2 * width))
    # 2 - 2 cos(2 x) without cancellation for small x.
    return 4 * down.sin().square()[:, None] + 4 * right.sin().square()


def masked_poisson(down: Tensor, right: Tensor, mask: Tensor) -> Tensor:
    """Return the image whose gradient is nearest to a field on the edges within a mask, of mean zero on each component.

    Parameters
    ----------
    down, right : Tensor
        The field, as :func:`image_gradient` returns it.
    mask : Tensor of bool of shape (height, width)

    Returns
    -------
    Tensor of shape (height, width)
        Zero off the mask.

    Notes
    -----
    Conjugate gradients, preconditioned by the degrees of pixels: O(n) a step, and about as many steps as the mask is
    wide. In double precision: masks that are wide or torn magnify a residual of single precision to percents.
    """
    dtype, down, right = down.dtype, down.double(), right.double()
    inner_down, inner_right = mask[1:] & mask[:-1], mask[:, 1:] & mask[:, :-1]

    def edges(u: Tensor) -> tuple[Tensor, Tensor]:
        along_down, along_right = image_gradient(u)
        return along_down * inner_down, along_right * inner_right

    degree = pad(inner_down, (0, 0, 1, 0)).to(down) + pad(inner_down, (0, 0, 0, 1)).to(down)
    degree = degree + pad(inner_right, (1, 0)).to(down) + pad(inner_right, (0, 1)).to(down)
    values = -image_divergence(down * inner_down, right * inner_right)
    solution = _conjugate_gradients(lambda u: -image_divergence(*edges(u)), values, 1 / degree.clamp(min=1))
    return _mean_free(solution, mask).to(dtype)


def _conjugate_gradients(apply: Callable[[Tensor], Tensor], values: Tensor, inverse: Tensor) -> Tensor:
    """Solve a singular system that has a solution; `inverse` is that of the diagonal."""
    solution, residual = torch.zeros_like(values), values
    scaled = inverse * residual
    direction, energy = scaled, float((residual * scaled).sum())
    limit = energy * (_RESIDUAL * torch.finfo(values.dtype).eps) ** 2
    for _ in range(2 * values.numel()):
        if energy <= limit:
            break
        image = apply(direction)
        step = energy / float((direction * image).sum())
        solution = solution + step * direction
        residual = residual - step * image
        scaled = inverse * residual
        before, energy = energy, float((residual * scaled).sum())
        direction = scaled + energy / before * direction
    return solution


def _mean_free(image: Tensor, mask: Tensor) -> Tensor:
    """Take the mean of each connected component away, and set what is off the mask to zero."""
    from scipy import ndimage

    labels = torch.from_numpy(ndimage.label(mask.cpu().numpy())[0]).to(image.device, torch.int64).flatten()
    flat = image.flatten()
    sums = torch.zeros(int(labels.max()) + 1, dtype=image.dtype, device=image.device).index_add(0, labels, flat)
    means = sums / labels.bincount().clamp(min=1)
    return torch.where(mask, (flat - means[labels]).view(mask.shape), 0.0)
