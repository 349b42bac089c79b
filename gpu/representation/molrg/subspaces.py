"""Distances between subspaces, and the dimension that a spectrum suggests."""

from collections.abc import Sequence

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, MISSING
from sparsetheory.gpu.solvers.arguments import finite_tensor, together, working_dtype

__all__ = ["eigengap", "matched_errors", "orthonormal_columns", "point_rows", "subspace_error"]

_MOST_DEFECT = 0.05


def point_rows(X: Tensor, n_subspaces: int = 1) -> Tensor:
    """Return points, one per row, of which there are at least as many as subspaces.

    Raises
    ------
    TypeError
        If they are no tensor of floating-point numbers.
    ValueError
        If they are not finite or no matrix with entries, or the number of subspaces is out of range.
    """
    points = finite_tensor("X", X)
    if points.ndim != 2 or not points.numel():
        raise ValueError(f"X must be a matrix with one point per row; got shape {tuple(points.shape)}")
    if COUNT.check("n_subspaces", n_subspaces) > len(points):
        raise ValueError(f"n_subspaces must be at most the number of points, {len(points)}; got {n_subspaces!r}")
    return points


def orthonormal_columns(name: str, value: Tensor) -> Tensor:
    """Return a matrix, or a batch of them, whose columns are orthonormal but for rounding.

    Raises
    ------
    TypeError
        If it is no tensor of floating-point numbers.
    ValueError
        If it is not finite, wider than high, or its columns are not orthonormal.
    """
    basis = finite_tensor(name, value, least_axes=2)
    n_rows, width = basis.shape[-2:]
    if not 1 <= width <= n_rows:
        raise ValueError(f"{name} must have from one column to as many as rows; got shape {tuple(basis.shape)}")
    if not basis.numel():
        return basis
    wide = basis.to(working_dtype(basis))
    defect = float((wide.mT @ wide - torch.eye(width, dtype=wide.dtype, device=wide.device)).abs().max())
    # In half precision as many roundings would allow for anything.
    if defect > min(100 * n_rows**0.5 * torch.finfo(basis.dtype).eps, _MOST_DEFECT):
        raise ValueError(f"{name} must have orthonormal columns; their inner products are off by {defect:.2g}")
    return basis


def subspace_error(U: Tensor, V: Tensor) -> Tensor:
    r"""Return the distance :math:`\|U U^T - V V^T\|_F` of the projections on two subspaces.

    Parameters
    ----------
    U : Tensor of shape (..., n_features, width)
        Orthonormal columns that span the first subspace.
    V : Tensor of shape (..., n_features, other_width)
        The same of the second one; leading axes broadcast.

    Returns
    -------
    Tensor of shape (...)
        At most the square root of the sum of both dimensions.

    Raises
    ------
    TypeError
        If an argument is no tensor of floating-point numbers.
    ValueError
        If shapes or devices do not fit, or columns are not orthonormal.

    Notes
    -----
    The square is :math:`\|V - U U^T V\|^2 + \|U - V V^T U\|^2`, a sum of squares: unlike the equal
    :math:`d_U + d_V - 2 \|U^T V\|^2` it resolves distances far below the root of the precision.
    O(n_features width other_width) operations; no matrix of n_features by n_features is formed.

    Examples
    --------
    >>> import torch
    >>> subspace_error(torch.eye(4)[:, :2], torch.eye(4)[:, 1:3])  # one direction in common
    tensor(1.4142)
    """
    first, second = orthonormal_columns("U", U), orthonormal_columns("V", V)
    together(U=first, V=second)
    if first.shape[-2] != second.shape[-2]:
        raise ValueError(f"U and V must have equally many rows; got {first.shape[-2]} and {second.shape[-2]}")
    dtype = working_dtype(first, second)
    first, second = first.to(dtype), second.to(dtype)
    overlap = first.mT @ second
    missed = (second - first @ overlap).square().sum((-2, -1)) + (first - second @ overlap.mT).square().sum((-2, -1))
    return missed.sqrt()


def matched_errors(bases: Sequence[Tensor], truth: Sequence[Tensor]) -> Tensor:
    """Return how far found subspaces are from true ones, in the pairing in which the squared distances add up to least.

    Parameters
    ----------
    bases : sequence of Tensor of shape (n_features, width)
        Orthonormal bases that were found; a tensor of three axes is one, too.
    truth : sequence of Tensor of shape (n_features, width)
        As many orthonormal bases.

    Returns
    -------
    Tensor of shape (n_subspaces,)
        The :func:`subspace_error` of each true subspace from its partner.

    Raises
    ------
    ValueError
        If there are not equally many of both.

    Examples
    --------
    >>> import torch
    >>> first, second = torch.eye(4)[:, :2], torch.eye(4)[:, 2:]
    >>> matched_errors([second, first], [first, second])
    tensor([0., 0.])
    """
    from scipy.optimize import linear_sum_assignment

    if len(bases) != len(truth) or not len(truth):
        raise ValueError(f"bases and truth must be equally many, at least one; got {len(bases)} and {len(truth)}")
    errors = torch.stack([torch.stack([subspace_error(basis, true) for basis in bases]) for true in truth])
    rows, columns = linear_sum_assignment(errors.square().cpu().numpy())
    return errors[torch.from_numpy(rows), torch.from_numpy(columns)]


def eigengap(X: Tensor, max_components: int | None = None) -> int:
    """Return the dimension after which the singular values of points fall by the largest factor.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Points near one subspace.
    max_components : int, optional
        Largest dimension; by default half of the smaller size, as the smallest singular values of noise fall fast too.

    Returns
    -------
    int
        At least 1. Singular values below rounding count as rounding, so that exact subspaces are found.

    Raises
    ------
    ValueError
        If `X` is no finite matrix with at least one entry, or `max_components` is out of range.

    Examples
    --------
    >>> from sparsetheory.gpu.representation import sample_molrg
    >>> eigengap(sample_molrg(48, 5, 1, 30, noise_std=0.05).X)
    5
    """
    points = point_rows(X)
    (MISSING | COUNT).require(max_components=max_components)
    values = torch.linalg.svdvals(points.to(working_dtype(points)))
    floor = max(points.shape) * torch.finfo(values.dtype).eps * values[0]
    largest = min(max_components or max(len(values) // 2, 1), len(values))
    clamped = torch.cat([values, floor.view(1)]).clamp(min=max(float(floor), torch.finfo(values.dtype).tiny))
    return int((clamped[:-1] / clamped[1:])[:largest].argmax()) + 1
