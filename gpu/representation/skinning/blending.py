"""Linear blend skinning: each point follows a weighted mean of the motions of bones."""

import torch
from torch import Tensor
from torch.nn import functional

__all__ = ["affine_maps", "linear_blend_skinning", "moved_by_bones", "rigid_weights"]


def linear_blend_skinning(vertices: Tensor, weights: Tensor, transforms: Tensor) -> Tensor:
    r"""Move points by the weighted mean of the affine maps of bones: :math:`x \mapsto \sum_b s_b T_b x`.

    Parameters
    ----------
    vertices : Tensor of shape (n_vertices, n_dims)
        Points at rest.
    weights : Tensor of shape (n_vertices, n_bones)
        Share of each bone in each point. Rows sum to one where the result is not to depend on the origin.
    transforms : Tensor of shape (..., n_bones, n_dims, n_dims + 1) or (..., n_bones, n_dims + 1, n_dims + 1)
        One affine map per bone, from rest to pose: a matrix, and a translation as its last column.

    Returns
    -------
    Tensor of shape (..., n_vertices, n_dims)
        In the dtype and device of `vertices`; differentiable in all arguments.

    Raises
    ------
    ValueError
        If shapes, dtypes or devices do not fit.

    Notes
    -----
    With rows that sum to one, weights s and s' move a point x to places that are at most
    :math:`\|s - s'\|_1 \max_b \|T_b x - c\|` apart, for any c. One matrix product of ``n_vertices x n_bones`` with
    ``n_bones x n_dims (n_dims + 1)`` per pose.

    Examples
    --------
    Half of a shift by two is a shift by one:

    >>> import torch
    >>> rest = torch.tensor([[0.0, 0.0], [1.0, 0.0]])
    >>> still, up = torch.eye(2, 3), torch.tensor([[1.0, 0.0, 0.0], [0.0, 1.0, 2.0]])
    >>> weights = torch.tensor([[1.0, 0.0], [0.5, 0.5]])
    >>> linear_blend_skinning(rest, weights, torch.stack([still, up]))
    tensor([[0., 0.],
            [1., 1.]])
    """
    maps = affine_maps(vertices, transforms)
    if weights.ndim != 2 or weights.shape != (len(vertices), maps.shape[-3]):
        wanted = (len(vertices), maps.shape[-3])
        raise ValueError(f"weights must have shape {wanted}, vertices by bones; got {tuple(weights.shape)}")
    _alike(vertices=vertices, weights=weights)
    blended = (weights @ maps.flatten(-2)).unflatten(-1, maps.shape[-2:])
    return (blended @ _homogeneous(vertices)).squeeze(-1)


def moved_by_bones(vertices: Tensor, transforms: Tensor) -> Tensor:
    """Return where each bone alone would carry each point.

    Parameters
    ----------
    vertices : Tensor of shape (n_vertices, n_dims)
    transforms : Tensor
        As in :func:`linear_blend_skinning`.

    Returns
    -------
    Tensor of shape (..., n_vertices, n_bones, n_dims)

    Examples
    --------
    >>> import torch
    >>> maps = torch.stack([torch.eye(2, 3), -torch.eye(2, 3)])
    >>> moved_by_bones(torch.tensor([[1.0, 2.0]]), maps)
    tensor([[[ 1.,  2.],
             [-1., -2.]]])
    """
    maps = affine_maps(vertices, transforms)
    # Bones stand before vertices in the product, so that it is one matrix product per bone.
    return (_homogeneous(vertices).squeeze(-1) @ maps.mT).movedim(-3, -2)


def rigid_weights(weights: Tensor) -> Tensor:
    """Return weights that give each point to the bone of its largest weight alone.

    Examples
    --------
    >>> import torch
    >>> rigid_weights(torch.tensor([[0.2, 0.7, 0.1]]))
    tensor([[0., 1., 0.]])
    """
    return functional.one_hot(weights.argmax(-1), weights.shape[-1]).to(weights.dtype)


def _homogeneous(vertices: Tensor) -> Tensor:
    return functional.pad(vertices, (0, 1), value=1.0).unsqueeze(-1)


def affine_maps(vertices: Tensor, transforms: Tensor) -> Tensor:
    """Return affine maps without their row of zeros and a one, after checks against points of shape (n, n_dims)."""
    if not isinstance(vertices, Tensor) or vertices.ndim != 2 or not vertices.is_floating_point():
        raise ValueError(f"vertices must be a matrix of floating-point numbers, a point per row; got {_told(vertices)}")
    n_dims = vertices.shape[1]
    if not isinstance(transforms, Tensor) or transforms.ndim < 3 or transforms.shape[-1] != n_dims + 1:
        raise ValueError(f"transforms must have shape (..., n_bones, {n_dims}, {n_dims + 1}); got {_told(transforms)}")
    _alike(vertices=vertices, transforms=transforms)
    if transforms.shape[-2] == n_dims + 1:
        last = torch.zeros(n_dims + 1, dtype=transforms.dtype, device=transforms.device)
        last[-1] = 1
        if not bool((transforms[..., -1, :] == last).all()):
            raise ValueError("transforms must be affine maps, with zeros and a one as the last row of square ones")
    elif transforms.shape[-2] != n_dims:
        raise ValueError(f"transforms must have shape (..., n_bones, {n_dims}, {n_dims + 1}); got {_told(transforms)}")
    return transforms[..., :n_dims, :]


def _alike(**tensors: Tensor) -> None:
    (first, one), (second, other) = tensors.items()
    if one.dtype != other.dtype or one.device != other.device:
        raise ValueError(
            f"{first} and {second} must have one dtype and device; "
            f"got {one.dtype} on {one.device} and {other.dtype} on {other.device}"
        )


def _told(value: object) -> str:
    return f"shape {tuple(value.shape)}" if isinstance(value, Tensor) else type(value).__name__
