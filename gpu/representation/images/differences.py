"""Differences of neighbouring pixels, and their adjoint."""

from torch import Tensor
from torch.nn.functional import pad

__all__ = ["image_divergence", "image_gradient"]


def image_gradient(image: Tensor) -> tuple[Tensor, Tensor]:
    """Return the differences of neighbouring pixels, one for each edge between two pixels.

    Parameters
    ----------
    image : Tensor of shape (..., height, width)

    Returns
    -------
    down : Tensor of shape (..., height - 1, width)
        Each pixel less the one above it.
    right : Tensor of shape (..., height, width - 1)
        Each pixel less the one left of it.

    Raises
    ------
    TypeError, ValueError
        If it is no tensor of floating-point numbers, or has fewer than two axes.

    Examples
    --------
    >>> import torch
    >>> down, right = image_gradient(torch.tensor([[1.0, 3.0], [1.0, 8.0]]))
    >>> down, right
    (tensor([[0., 5.]]), tensor([[2.],
            [7.]]))
    """
    if not isinstance(image, Tensor) or not image.is_floating_point():
        # Unsigned integers would wrap.
        got = image.dtype if isinstance(image, Tensor) else type(image).__name__
        raise TypeError(f"image must be a tensor of real floating-point numbers; got {got}")
    if image.ndim < 2:
        raise ValueError(f"image must have at least two axes; got shape {tuple(image.shape)}")
    return image.diff(dim=-2), image.diff(dim=-1)


def image_divergence(down: Tensor, right: Tensor) -> Tensor:
    """Return minus the adjoint of :func:`image_gradient`: at each pixel what leaves it less what enters it.

    Nothing crosses the border of the image, so that the sum over all pixels is zero.

    Parameters
    ----------
    down : Tensor of shape (..., height - 1, width)
    right : Tensor of shape (..., height, width - 1)

    Returns
    -------
    Tensor of shape (..., height, width)

    Raises
    ------
    ValueError
        If the shapes do not belong to one image.

    Examples
    --------
    >>> import torch
    >>> image_divergence(torch.zeros(0, 3), torch.tensor([[1.0, 5.0]]))
    tensor([[ 1.,  4., -5.]])
    """
    fits = down.ndim >= 2 and down.ndim == right.ndim and down.shape[:-2] == right.shape[:-2]
    if not fits or (down.shape[-2] + 1, down.shape[-1] - 1) != tuple(right.shape[-2:]):
        raise ValueError(
            f"down and right must have shapes (..., height - 1, width) and (..., height, width - 1); "
            f"got {tuple(down.shape)} and {tuple(right.shape)}"
        )
    return pad(down, (0, 0, 1, 1)).diff(dim=-2) + pad(right, (1, 1)).diff(dim=-1)
