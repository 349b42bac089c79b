"""What is known of the keys of a block without looking at each: the statistics that bound their scores."""

from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG
from sparsetheory.gpu.attention.certificates.rounding import DOUBLE, arithmetic_of, lengths, unit_roundoff

__all__ = ["KeyBlocks"]


@dataclass(frozen=True, eq=False)
class KeyBlocks:
    """Statistics of blocks of keys, over the keys that a query may see.

    They are computed in float64 from the keys as given, and rounded outwards: a stored radius or norm is at least
    the exact one, and the factor belongs to a matrix that is at least the covariance.

    Parameters
    ----------
    members : Tensor of int64 of shape (..., blocks, largest size)
        Positions of the keys of each block, ascending; -1 after the last one.
    sizes : Tensor of int64 of shape (..., blocks)
        Keys of each block. A block may be empty; all its statistics are zero then.
    low, high : Tensor of shape (..., blocks, d)
        Least and largest coordinates.
    mean : Tensor of shape (..., blocks, d)
        The mean key, which is the centre of the ball too.
    radius : Tensor of shape (..., blocks)
        Largest distance of a key to `mean`.
    largest_norm : Tensor of shape (...)
        The largest norm of a key of any block.
    factor : Tensor of shape (..., blocks, d, d), optional
        F with ``F'F`` at least the covariance of the keys of the block, so that ``|Fq|^2`` bounds the variance of
        their scores. None where it was not asked for.
    deviation : Tensor of shape (..., blocks), optional
        Square root of the largest eigenvalue of the covariance.

    Examples
    --------
    >>> import torch
    >>> keys = torch.tensor([[1.0, 0.0], [3.0, 0.0], [0.0, 5.0]])
    >>> blocks = KeyBlocks.from_keys(keys, torch.tensor([0, 0, 1]))
    >>> blocks.sizes, blocks.mean
    (tensor([2, 1]), tensor([[2., 0.],
            [0., 5.]]))
    >>> bool((blocks.radius >= torch.tensor([1.0, 0.0])).all())
    True
    """

    members: Tensor
    sizes: Tensor
    low: Tensor
    high: Tensor
    mean: Tensor
    radius: Tensor
    largest_norm: Tensor
    factor: Tensor | None = None
    deviation: Tensor | None = None

    @classmethod
    def from_keys(
        cls, k: Tensor, labels: Tensor | int, *, key_mask: Tensor | None = None, covariance: bool = True
    ) -> "KeyBlocks":
        """Cut keys into blocks and compute their statistics.

        Parameters
        ----------
        k : Tensor of shape (..., m, d)
        labels : Tensor of int64 of shape (..., m), or int
            The block of each key, from 0; -1 for a key that belongs to no block. An integer cuts the keys in their
            order into blocks of that size, the last of which may be short.
        key_mask : Tensor of bool of shape (..., m), optional
            True for keys that exist. Padding is left out of all statistics, whatever it contains.
        covariance : bool
            Whether to compute `factor` and `deviation`, at ``2 m d^2 + O(blocks d^3)`` operations.

        Returns
        -------
        KeyBlocks
            In the dtype of k, at least float32.

        Raises
        ------
        ValueError
            If a key that exists is not finite, no key belongs to a block, or shapes disagree.
        """
        FLAG.check("covariance", covariance)
        labels = _labels(labels, k)
        if key_mask is not None:
            labels = torch.where(key_mask, labels, -1).expand(k.shape[:-1])
        members, sizes = _members(labels)
        valid = members >= 0
        keys = torch.where((labels >= 0)[..., None], k, 0.0).double()
        if not bool(torch.isfinite(keys).all()):
            raise ValueError("k must be finite where key_mask is True; got infinite entries or NaN")
        index = members.clamp_min(0).flatten(-2)[..., None].expand(*members.shape[:-2], -1, k.shape[-1])
        inside = keys.gather(-2, index).unflatten(-2, members.shape[-2:])
        return _statistics(inside, valid, members, sizes, arithmetic_of(k), covariance)


def _labels(labels: Tensor | int, k: Tensor) -> Tensor:
    if not isinstance(k, Tensor) or k.dim() < 2 or not k.is_floating_point():
        raise ValueError("k must be a floating-point tensor of shape (..., m, d)")
    if isinstance(labels, int):
        return (torch.arange(k.shape[-2], device=k.device) // COUNT.check("labels", labels)).expand(k.shape[:-1])
    if labels.dtype != torch.int64 or labels.shape[-1:] != k.shape[-2:-1]:
        raise ValueError(
            f"labels must be a tensor of int64 of shape (..., {k.shape[-2]}); got {labels.dtype} {tuple(labels.shape)}"
        )
    return labels.expand(k.shape[:-1])


def _members(labels: Tensor) -> tuple[Tensor, Tensor]:
    """Return the positions of the keys of each block, filled up with -1, and the sizes of the blocks."""
    n_blocks = int(labels.max()) + 1 if labels.numel() else 0
    if n_blocks < 1:
        raise ValueError("labels must put a key into a block; got none")
    slots = torch.where(labels >= 0, labels, n_blocks)
    ones = torch.ones_like(slots)
    sizes = torch.zeros(*labels.shape[:-1], n_blocks + 1, dtype=torch.int64, device=labels.device)
    sizes = sizes.scatter_add(-1, slots, ones)[..., :n_blocks]
    order = torch.argsort(slots, dim=-1, stable=True)
    step = torch.arange(int(sizes.max()), device=labels.device)
    first = sizes.cumsum(-1) - sizes
    inside = step < sizes[..., None]
    places = torch.where(inside, first[..., None] + step, 0)
    members = order.gather(-1, places.flatten(-2)).unflatten(-1, places.shape[-2:])
    return torch.where(inside, members, -1), sizes


def _statistics(
    keys: Tensor, valid: Tensor, members: Tensor, sizes: Tensor, dtype: torch.dtype, covariance: bool
) -> KeyBlocks:
    """Return the statistics of keys of shape (..., blocks, largest size, d)."""
    inside, some = valid[..., None], (sizes > 0)[..., None]
    low = torch.where(some, torch.where(inside, keys, torch.inf).amin(-2), 0.0)
    high = torch.where(some, torch.where(inside, keys, -torch.inf).amax(-2), 0.0)
    # A mean is known up to the rounding of its dtype; the ball is drawn around the rounded one.
    exact_mean = torch.where(inside, keys, 0.0).sum(-2) / sizes.clamp_min(1)[..., None]
    mean = exact_mean.to(dtype)
    outwards = 1 + 4 * unit_roundoff(dtype) + (keys.shape[-1] + 4) * DOUBLE
    away = torch.where(inside, keys - mean.double()[..., None, :], 0.0)
    radius = lengths(away).amax(-1) * outwards
    norm = lengths(torch.where(inside, keys, 0.0)).amax((-1, -2)) * outwards
    factor = deviation = None
    if covariance:
        centred = torch.where(inside, keys - exact_mean[..., None, :], 0.0)
        root, largest = _factor(centred, sizes)
        factor, deviation = root.to(dtype), (largest * outwards).to(dtype)
    return KeyBlocks(
        members, sizes, low.to(dtype), high.to(dtype), mean, radius.to(dtype), norm.to(dtype), factor, deviation
    )


def _factor(centred: Tensor, sizes: Tensor) -> tuple[Tensor, Tensor]:
    """Return F with ``F'F`` at least the covariance, and the square root of its largest eigenvalue.

    The product and the eigenvalues are off by some multiple of u times the trace, which is the variance in all
    directions. Adding it to every eigenvalue covers that.
    """
    n, d = centred.shape[-2:]
    # Squares of very small or large entries would leave the range of float64.
    unit = centred.abs().amax((-1, -2))
    centred = centred / torch.where(unit > 0, unit, 1.0)[..., None, None]
    cov = centred.mT @ centred / sizes.clamp_min(1)[..., None, None]
    values, vectors = torch.linalg.eigh(cov)
    trace = cov.diagonal(dim1=-2, dim2=-1).sum(-1, keepdim=True)
    values = values.clamp_min(0.0) + (n + 10 * d) * DOUBLE * trace
    roots = values.sqrt() * unit[..., None]
    return roots[..., None] * vectors.mT, roots.amax(-1)
