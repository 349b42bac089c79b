"""First guesses of which points lie on one subspace: by sparse codes over the other points, and by shared bases."""

import warnings
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from sparsetheory.constraints import COUNT
from sparsetheory.gpu.core.randomness import cpu_generator
from sparsetheory.gpu.representation.molrg.subspaces import point_rows
from sparsetheory.gpu.solvers.arguments import working_dtype
from sparsetheory.gpu.solvers.matching_pursuit import omp_gram
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering.agglomerative import agglomerate_merges
from sparsetheory.lowrank.clustering.certificate import ClusteringCertificate, certify
from sparsetheory.lowrank.clustering.storage import store_factored
from sparsetheory.typing import Float64Array

__all__ = ["SVDStart", "self_expressive_codes", "ssc_omp", "svd_start"]

# Coefficients of unit points below this are rounding: correlations that vanish exactly are not quite zero.
_ROUNDING = 1e3
# No two blocks have a larger relative error, so that all can be joined.
_ANY_ERROR = 1.0
# Directions of each group beyond the dimension, for fast bounds of errors.
_OVERSAMPLING = 5


def self_expressive_codes(X: Tensor, n_nonzero: int) -> Tensor:
    """Write every point, scaled to length 1, as a combination of few of the others, by orthogonal matching pursuit.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        At least two points.
    n_nonzero : int
        Most other points in each combination: the dimension of the subspaces.

    Returns
    -------
    Tensor of shape (n_samples, n_samples)
        Row i holds the coefficients of point i, in the dtype of `X`; its own is 0. Those of zero points are 0.

    Raises
    ------
    TypeError
        If `X` is no tensor of floating-point numbers.
    ValueError
        If points are not finite, there are fewer than two, or `n_nonzero` is out of range.

    Notes
    -----
    If subspaces are orthogonal to each other and there is no noise, points of other subspaces are orthogonal to every
    residual, so that they are never taken. All points are coded at once from their inner products:
    O(n_samples^2 (n_features + n_nonzero^2)) operations.

    References
    ----------
    C. You, D. Robinson, R. Vidal, "Scalable sparse subspace clustering by orthogonal matching pursuit", CVPR 2016,
    arXiv:1507.01238.

    Examples
    --------
    >>> import torch
    >>> X = torch.tensor([[1.0, 0.0, 0.0], [2.0, 0.0, 0.0], [0.0, 1.0, 1.0], [0.0, -3.0, -3.0]])
    >>> self_expressive_codes(X, 1).round()
    tensor([[ 0.,  1.,  0.,  0.],
            [ 1.,  0.,  0.,  0.],
            [ 0.,  0.,  0., -1.],
            [ 0.,  0., -1.,  0.]])
    """
    given = point_rows(X)
    if len(given) < 2:
        raise ValueError(f"X must hold at least two points, one per row; got shape {tuple(given.shape)}")
    COUNT.check("n_nonzero", n_nonzero)
    # Scaled by the largest entry first, so that squares neither vanish nor overflow.
    points = given.to(working_dtype(given))
    largest = points.abs().amax(1, keepdim=True)
    unit = functional.normalize(points / largest.masked_fill(largest == 0, 1.0), dim=1)
    gram = unit @ unit.mT
    everyone = torch.arange(len(unit), device=unit.device)
    codes = omp_gram(gram, gram, n_nonzero=min(n_nonzero, len(unit) - 1), excluded=everyone)
    codes[codes.abs() <= _ROUNDING * torch.finfo(codes.dtype).eps] = 0.0
    return codes.to(given.dtype)


def ssc_omp(X: Tensor, n_subspaces: int, n_nonzero: int, *, generator: torch.Generator | int | None = 0) -> Tensor:
    """Group points by subspace: sparse subspace clustering with orthogonal matching pursuit.

    Each point is a combination of few others, see :func:`self_expressive_codes`. Two points are as close as their
    coefficients of each other are large, and spectral clustering cuts the graph.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        At least two points.
    n_subspaces : int
        Number of groups, at most the number of points.
    n_nonzero : int
        Most points in each combination: the dimension of the subspaces.
    generator : torch.Generator, int or None
        Source of the seed of spectral clustering, drawn on the CPU.

    Returns
    -------
    Tensor of int64 of shape (n_samples,)
        Group of each point, on the device of `X`.

    Raises
    ------
    TypeError, ValueError
        As for :func:`self_expressive_codes`, and if there are fewer points than groups.

    Notes
    -----
    Spectral clustering is that of scikit-learn, on the CPU. Points on one subspace may fall apart into groups that do
    not code each other; nothing else can fail for orthogonal subspaces without noise.

    References
    ----------
    C. You, D. Robinson, R. Vidal, "Scalable sparse subspace clustering by orthogonal matching pursuit", CVPR 2016,
    arXiv:1507.01238.

    Examples
    --------
    >>> from sparsetheory.gpu.representation import sample_molrg
    >>> sample = sample_molrg(30, 3, 2, 20, generator=0)
    >>> labels = ssc_omp(sample.X, 2, 3)
    >>> bool((labels == labels[0]).equal(sample.labels == 0))
    True
    """
    from sklearn.cluster import SpectralClustering

    codes = self_expressive_codes(point_rows(X, n_subspaces), n_nonzero).double().abs()
    seed = int(torch.randint(2**31 - 1, (1,), generator=cpu_generator(generator)))
    if n_subspaces == 1:
        return torch.zeros(len(codes), dtype=torch.int64, device=codes.device)
    affinity = (codes + codes.mT).cpu().numpy()
    clustering = SpectralClustering(n_subspaces, affinity="precomputed", random_state=seed)
    with warnings.catch_warnings():
        # A graph that falls apart into the subspaces is what we hope for.
        warnings.filterwarnings("ignore", message="Graph is not fully connected")
        labels = clustering.fit_predict(affinity)
    return torch.from_numpy(labels.astype(np.int64)).to(codes.device)


@dataclass(frozen=True, eq=False)
class SVDStart:
    """Groups of points whose neighbourhoods share a basis within a certified error.

    Parameters
    ----------
    labels : Tensor of int64 of shape (n_samples,)
        Group of each point.
    certificate : ClusteringCertificate
        Its bound is the largest relative error of the shared basis of a group; ``certificate.check(blocks)`` verifies
        it.
    blocks : list of ndarray of shape (n_features, n_components)
        What was grouped: each point and those with the smallest angles to it, as columns of length 1.
    """

    labels: Tensor
    certificate: ClusteringCertificate
    blocks: list[Float64Array]


def svd_start(X: Tensor, n_subspaces: int, n_components: int) -> SVDStart:
    """Group points so that the neighbourhoods of a group share a basis: join the best pair until few groups are left.

    Parameters
    ----------
    X : Tensor of shape (n_samples, n_features)
        Points; none may be zero.
    n_subspaces : int
        Number of groups, at most the number of points.
    n_components : int
        Dimension of each basis, and points in each neighbourhood.

    Returns
    -------
    SVDStart

    Raises
    ------
    TypeError
        If `X` is no tensor of floating-point numbers.
    ValueError
        If points are zero or not finite, or an argument is out of range.

    See Also
    --------
    sparsetheory.lowrank.ConcatSVDClustering : Agglomeration of blocks until a tolerance is reached.

    Notes
    -----
    Single points would not do: any few of them share a basis exactly, so that the order of points would decide. The
    neighbourhoods of two points on one subspace together span no more than it. Runs on the CPU: memory
    O(n_samples (n_samples + n_features n_components)).

    Examples
    --------
    >>> from sparsetheory.gpu.representation import sample_molrg
    >>> sample = sample_molrg(30, 3, 2, 20, generator=0)
    >>> start = svd_start(sample.X, 2, 3)
    >>> bool((start.labels == start.labels[0]).equal(sample.labels == sample.labels[0]))
    True
    >>> start.certificate.check(start.blocks).valid
    True
    """
    points = point_rows(X, n_subspaces)
    COUNT.check("n_components", n_components)
    matrices = _neighbourhoods(points.double().cpu().numpy(), n_components)
    blocks = Blocks(matrices)
    merges = agglomerate_merges(blocks, n_components, _ANY_ERROR, oversampling=_OVERSAMPLING)
    members = {k: [k] for k in range(len(blocks))}
    for merge in merges[: len(blocks) - n_subspaces]:
        members[merge.joined] = sorted(members.pop(merge.first) + members.pop(merge.second))
    clusters = sorted(members.values())
    labels = torch.empty(len(points), dtype=torch.int64)
    for label, group in enumerate(clusters):
        labels[group] = label
    return SVDStart(labels.to(points.device), _certified(blocks, clusters, n_components), matrices)


def _neighbourhoods(rows: Float64Array, size: int) -> list[Float64Array]:
    """Return each point and those with the smallest angles to it, as columns of length 1."""
    largest = np.abs(rows).max(1, keepdims=True)
    if not largest.all():
        raise ValueError(f"X must hold no zero points; number {int(np.argmin(largest))} is one")
    unit = rows / largest
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    cosines = np.abs(unit @ unit.T)
    np.fill_diagonal(cosines, 2.0)  # a point is its own first neighbour
    nearest = np.argsort(-cosines, axis=1, kind="stable")[:, :size]
    return [np.ascontiguousarray(unit[members].T) for members in nearest]


def _certified(blocks: Blocks, clusters: list[list[int]], rank: int) -> ClusteringCertificate:
    """Return the certificate of groups, at the tolerance that they meet."""
    found = [store_factored(blocks, members, rank, None, None) for members in clusters]
    eps = max(group.interval.relative()[1] for group in found)
    bases, intervals = [group.basis for group in found], [group.interval for group in found]
    return certify(blocks, clusters, bases, intervals, eps=eps, rank=rank, criterion="cluster")
