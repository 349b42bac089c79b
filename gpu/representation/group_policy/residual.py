"""Codes of vectors by k-means on residuals, level by level."""

from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from sparsetheory.constraints import COUNT, FLAG, SIZE
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.group_policy.balanced import balanced_assignment

__all__ = ["ResidualCodes", "residual_codes"]

_MAX_ITER = 100
_INTEGERS = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)


@dataclass(frozen=True, eq=False)
class ResidualCodes:
    """Codes of vectors, and what they stand for.

    Parameters
    ----------
    codes : Tensor of int64 of shape (n, n_levels)
        Cluster of the residual of each vector, level by level.
    collisions : Tensor of int64 of shape (n,)
        0 where no other vector has the same codes; otherwise a running number from 1 within those that share them.
    centroids : Tensor of float of shape (n_levels, n_codes, n_features)
        Means of the residuals of each cluster, in the precision of the data.
    errors : Tensor of float64 of shape (n_levels + 1,)
        Mean squared length of the residuals before the first level and after each; it rises by rounding alone.
    """

    codes: Tensor
    collisions: Tensor
    centroids: Tensor
    errors: Tensor

    @property
    def tokens(self) -> Tensor:
        """Codes with the running number as a further entry, int64 of shape (n, n_levels + 1): no two are equal."""
        return torch.cat([self.codes, self.collisions[:, None]], dim=1)

    def encode(self, X: Tensor) -> Tensor:
        """Return codes of other vectors, each by its nearest centroids, int64 of shape (n, n_levels)."""
        left, codes = _vectors(X), []
        if left.shape[1] != self.centroids.shape[2]:
            raise ValueError(f"X must have {self.centroids.shape[2]} features; got {left.shape[1]}")
        for centroids in self.centroids:
            codes.append(_distances(left, centroids).argmin(1))
            left = left - centroids[codes[-1]]
        return torch.stack(codes, dim=1)

    def decode(self, codes: Tensor) -> Tensor:
        """Return the vectors that codes stand for: sums of centroids, of shape (n, n_features).

        Codes of the first levels alone stand for coarser vectors. ValueError is raised for numbers that are no code.
        """
        n_levels, n_codes, _ = self.centroids.shape
        if codes.ndim != 2 or not 1 <= codes.shape[1] <= n_levels or codes.dtype not in _INTEGERS:
            raise ValueError(
                f"codes must be integers of shape (n, n_levels) with 1 to {n_levels} levels, without the running "
                f"number; got {codes.dtype} of shape {tuple(codes.shape)}"
            )
        outside = codes[(codes < 0) | (codes >= n_codes)]
        if outside.numel():
            raise ValueError(f"codes must be from 0 to {n_codes - 1}; got {int(outside[0])}")
        columns = codes.to(self.centroids.device, torch.int64).T
        decoded = self.centroids[0][columns[0]]
        for level, column in zip(self.centroids[1:], columns[1:], strict=False):
            decoded = decoded + level[column]
        return decoded


def residual_codes(
    X: Any, n_levels: int, n_codes: int, balanced: bool = False, generator: torch.Generator | int | None = 0
) -> ResidualCodes:
    """Code vectors by k-means, then what is left of them by k-means, and so on.

    Parameters
    ----------
    X : Tensor or array-like of float, of shape (n, n_features)
        Vectors of items.
    n_levels : int
        Codes of a vector.
    n_codes : int
        Clusters of a level, at most n.
    balanced : bool
        Whether all clusters of a level have nearly equal sizes, ``max(1, n // n_codes - 1)`` to ``n // n_codes + 1``;
        each assignment is then the best one with such sizes, in O(n^3) time at worst.
    generator : torch.Generator, int or None
        Source of the first centroids, drawn on the CPU.

    Returns
    -------
    ResidualCodes

    Raises
    ------
    ValueError
        If the vectors are no finite matrix of floating-point numbers, or fewer than the clusters.

    Notes
    -----
    The mean squared error falls from level to level, as every centroid is the mean of what is assigned to it, and the
    mean is not farther than the origin. That holds for any assignment. A single vector may come to lie farther away.

    References
    ----------
    Codes of items with balanced clusters: "Generative Reasoning Recommendation via LLMs", Hong et al.,
    arXiv:2510.20815.

    Examples
    --------
    >>> import torch
    >>> X = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    >>> found = residual_codes(X, 2, 4, balanced=True)
    >>> sorted(set(torch.bincount(found.codes[:, 0]).tolist()) | {14, 15, 16})
    [14, 15, 16]
    >>> bool((found.errors.diff() <= 0).all())
    True
    """
    COUNT.require(n_levels=n_levels)
    FLAG.require(balanced=balanced)
    vectors, source = _vectors(X), cpu_generator(generator)
    if not 1 <= SIZE.check("n_codes", n_codes) <= len(vectors):
        raise ValueError(f"n_codes must be from 1 to the number of vectors, {len(vectors)}; got {n_codes!r}")
    left, codes, levels = vectors, [], []
    errors = [_mean_square(left)]
    for _ in range(n_levels):
        labels, centroids = _clusters(left, n_codes, balanced, source)
        left = left - centroids[labels]
        codes.append(labels)
        levels.append(centroids)
        errors.append(_mean_square(left))
    table = torch.stack(codes, dim=1)
    return ResidualCodes(table, _collisions(table), torch.stack(levels), torch.stack(errors).cpu())


def _vectors(X: Any) -> Tensor:
    vectors = X.detach() if isinstance(X, Tensor) else torch.as_tensor(X)
    if vectors.ndim != 2 or not vectors.is_floating_point() or not bool(torch.isfinite(vectors).all()):
        raise ValueError(f"X must be a finite matrix of floating-point numbers; got {vectors.dtype} {vectors.shape}")
    return vectors


def _mean_square(left: Tensor) -> Tensor:
    return left.double().square().sum(1).mean()


def _distances(points: Tensor, centroids: Tensor) -> Tensor:
    """Return squared distances in double precision.

    They are made of products of matrices, so what all vectors share is taken off before: it would leave rounding.
    """
    wide = centroids.double()
    origin = wide.mean(0)
    return torch.cdist(points.double() - origin, wide - origin).square_()


def _clusters(points: Tensor, n_clusters: int, balanced: bool, generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return clusters and their means, by Lloyd's steps from spread-out points."""
    centroids = _spread_out(points, n_clusters, generator)
    labels = None
    for _ in range(_MAX_ITER):
        distances = _distances(points, centroids)
        assigned = _balanced(distances) if balanced else distances.argmin(1)
        if labels is not None and torch.equal(assigned, labels):
            break
        labels = assigned
        centroids = _means(points, labels, centroids, distances)
    assert labels is not None
    return labels, centroids


def _balanced(distances: Tensor) -> Tensor:
    return torch.from_numpy(balanced_assignment(distances.cpu().numpy())).to(distances.device)


def _means(points: Tensor, labels: Tensor, centroids: Tensor, distances: Tensor) -> Tensor:
    """Return the means of clusters; an empty one starts again at a point that is far from its centroid."""
    sums = torch.zeros(centroids.shape, dtype=torch.float64, device=points.device)
    sums.index_add_(0, labels, points.double())
    counts = torch.bincount(labels, minlength=len(centroids))
    means = (sums / counts.clamp_min(1)[:, None]).to(points.dtype)
    empty = torch.nonzero(counts == 0)[:, 0]
    far = distances.gather(1, labels[:, None])[:, 0].argsort(descending=True, stable=True)[: len(empty)]
    means[empty] = points[far]
    return means


def _spread_out(points: Tensor, n_clusters: int, generator: torch.Generator) -> Tensor:
    """Return points drawn one after the other with probabilities in proportion to the squared distance (k-means++)."""
    draws = torch.rand(n_clusters, dtype=torch.float64, generator=generator)
    chosen = [int(draws[0] * len(points))]
    nearest = _distances(points, points[chosen])[:, 0]
    for draw in draws[1:]:
        shares = nearest.cumsum(0)
        # Where all points are centroids already, whichever comes next.
        place = int(torch.searchsorted(shares, draw.to(shares.device) * shares[-1], right=True))
        chosen.append(min(place, len(points) - 1))
        nearest = torch.minimum(nearest, _distances(points, points[chosen[-1:]])[:, 0])
    return points[chosen]


def _collisions(codes: Tensor) -> Tensor:
    """Return the running number of each vector within those of the same codes, or 0 where it is alone."""
    _, places, counts = torch.unique(codes, dim=0, return_inverse=True, return_counts=True)
    order = torch.argsort(places, stable=True)
    starts = counts.cumsum(0) - counts
    numbers = torch.empty_like(places)
    numbers[order] = torch.arange(len(codes), device=codes.device) - starts[places[order]] + 1
    return torch.where(counts[places] > 1, numbers, torch.zeros_like(numbers))
