"""Samples of a mixture of low-rank Gaussians."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, NONNEGATIVE
from sparsetheory.gpu.core.randomness import cpu_generator

__all__ = ["MoLRGSample", "component_counts", "random_bases", "sample_molrg"]


@dataclass(frozen=True, eq=False)
class MoLRGSample:
    """Points of a mixture of low-rank Gaussians, with what they were drawn from.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        The points, in random order.
    labels : Tensor of int64 of shape (n_samples,)
        Number of the subspace of each point.
    bases : tuple of Tensor of shape (n_features, n_components of the subspace)
        Orthonormal columns.
    """

    X: Tensor
    labels: Tensor
    bases: tuple[Tensor, ...]


def sample_molrg(
    n_features: int,
    n_components: int | Sequence[int],
    n_subspaces: int,
    n_samples: int | Sequence[int],
    noise_std: float = 0.0,
    generator: torch.Generator | int | None = 0,
    *,
    orthogonal: bool = True,
    dtype: torch.dtype | None = None,
) -> MoLRGSample:
    r"""Draw points near random subspaces: :math:`x = U_k a + \sigma e` with standard normal a and e.

    Parameters
    ----------
    n_features : int
        Dimension n of the space.
    n_components : int or sequence of int
        Dimension of all subspaces, or of each, at most `n_features`.
    n_subspaces : int
        Number K of subspaces.
    n_samples : int or sequence of int
        Number of points, which is shared out evenly and the first subspaces get what is left over; or the number of
        points on each subspace.
    noise_std : float
        Standard deviation of each entry of the noise.
    generator : torch.Generator, int or None
        Source of subspaces and points, drawn on the CPU.
    orthogonal : bool
        Whether the subspaces are orthogonal to each other; otherwise each is drawn by itself, uniformly.
    dtype : torch.dtype, optional
        Of the points and bases, which are drawn in double precision; a floating-point one, by default that of torch.

    Returns
    -------
    MoLRGSample

    Raises
    ------
    ValueError
        If an argument is out of range, or so many orthogonal directions do not fit into the space.

    References
    ----------
    P. Wang, H. Zhang, Z. Zhang, S. Chen, Y. Ma, Q. Qu, "Diffusion models learn low-dimensional distributions via
    subspace clustering", arXiv:2409.02426 (the model).

    Examples
    --------
    >>> import torch
    >>> sample = sample_molrg(10, 2, 3, 7, generator=0)
    >>> sample.X.shape, sample.labels.bincount()
    (torch.Size([7, 10]), tensor([3, 2, 2]))
    >>> bool((sample.X[sample.labels == 0] @ sample.bases[1]).abs().max() < 1e-5)
    True
    """
    COUNT.require(n_features=n_features, n_subspaces=n_subspaces)
    NONNEGATIVE.require(noise_std=noise_std)
    FLAG.require(orthogonal=orthogonal)
    widths = component_counts(n_components, n_subspaces, n_features)
    counts = _sample_counts(n_samples, n_subspaces)
    if orthogonal and sum(widths) > n_features:
        raise ValueError(
            f"n_components must add up to at most n_features={n_features} where subspaces are orthogonal; "
            f"got {sum(widths)} for {n_subspaces} subspaces"
        )
    source = cpu_generator(generator)
    dtype = torch.get_default_dtype() if dtype is None else dtype
    if not isinstance(dtype, torch.dtype) or not dtype.is_floating_point:
        raise ValueError(f"dtype must be a floating-point dtype of torch; got {dtype!r}")
    bases = random_bases(n_features, widths, orthogonal, source)
    points = torch.cat(
        [
            torch.randn(count, basis.shape[1], dtype=torch.float64, generator=source) @ basis.mT
            for basis, count in zip(bases, counts, strict=True)
        ]
    )
    points += noise_std * torch.randn(points.shape, dtype=torch.float64, generator=source)
    labels = torch.repeat_interleave(torch.arange(n_subspaces), torch.tensor(counts))
    # Nothing that breaks ties by the order of points may profit from it.
    order = torch.randperm(len(points), generator=source)
    return MoLRGSample(points[order].to(dtype), labels[order], tuple(basis.to(dtype) for basis in bases))


def component_counts(n_components: int | Sequence[int], n_subspaces: int, n_features: int) -> tuple[int, ...]:
    """Return the dimension of each subspace.

    Raises
    ------
    ValueError
        If a dimension is no integer from 1 to the number of features, or there are not as many as subspaces.
    """
    given = [n_components] * n_subspaces if not isinstance(n_components, Sequence) else list(n_components)
    if len(given) != n_subspaces:
        raise ValueError(f"n_components must be one number, or one for each of {n_subspaces} subspaces; got {given!r}")
    for width in given:
        if COUNT.check("n_components", width) > n_features:
            raise ValueError(f"n_components must be at most the number of features, {n_features}; got {width!r}")
    return tuple(int(width) for width in given)


def _sample_counts(n_samples: int | Sequence[int], n_subspaces: int) -> list[int]:
    if not isinstance(n_samples, Sequence):
        each, rest = divmod(COUNT.check("n_samples", n_samples), n_subspaces)
        return [each + (k < rest) for k in range(n_subspaces)]
    if len(n_samples) != n_subspaces:
        raise ValueError(
            f"n_samples must be one number, or one for each of {n_subspaces} subspaces; got {list(n_samples)!r}"
        )
    return [COUNT.check("n_samples", count) for count in n_samples]


def random_bases(
    n_features: int, widths: Sequence[int], orthogonal: bool, source: torch.Generator
) -> tuple[Tensor, ...]:
    """Return orthonormal bases of random subspaces, in double precision."""
    if orthogonal:
        drawn = torch.randn(n_features, sum(widths), dtype=torch.float64, generator=source)
        return torch.linalg.qr(drawn).Q.split(list(widths), dim=1)
    return tuple(
        torch.linalg.qr(torch.randn(n_features, width, dtype=torch.float64, generator=source)).Q for width in widths
    )
