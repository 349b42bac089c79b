"""How few clusters are possible, and instances where finding them is hard."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from sparsetheory.constraints import COUNT, NONNEGATIVE, generator
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.interval import rounding_slack
from sparsetheory.lowrank.spectra import squared_spectrum
from sparsetheory.typing import Float64Array

__all__ = ["fewest_clusters", "hard_instance", "min_clusters_lower_bound"]


def min_clusters_lower_bound(blocks: Sequence[Any], rank: int, eps: float, *, keep_singletons: bool = True) -> int:
    r"""Bound from below the number of clusters of any clustering with rank at most r and relative error eps.

    The clusters' bases together approximate all blocks within eps, so their ranks sum to at least
    :math:`\rho = \min\{k : E_k(C)^2 \le \epsilon^2 e\}`.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks.
    rank : int
        Largest rank of a factored cluster.
    eps : float
        Relative error of every factored cluster.
    keep_singletons : bool
        Whether a cluster of one block is stored as it is and so contributes up to ``min(m, n_k)`` directions.

    Returns
    -------
    int
        At least 1.

    Notes
    -----
    Costs one spectrum of everything, O(m N min(m, N)). Provenance: ours.

    Examples
    --------
    >>> import numpy as np
    >>> min_clusters_lower_bound(list(np.eye(6)[:, :, None]), rank=2, eps=0.0)
    3
    """
    return fewest_clusters(Blocks(blocks), COUNT.check("rank", rank), NONNEGATIVE.check("eps", eps), keep_singletons)


def fewest_clusters(blocks: Blocks, rank: int, eps: float, keep_singletons: bool) -> int:
    """Do what :func:`min_clusters_lower_bound` does for checked arguments."""
    squares = squared_spectrum(blocks)
    # Rounding must not ask for a direction that is not there.
    slack = rounding_slack(blocks.n_rows, blocks.n_columns, blocks.energy)
    remaining = np.append(np.cumsum(squares[::-1])[::-1], 0.0)
    directions = int(np.argmax(remaining <= eps**2 * blocks.energy + slack))
    contributions = np.full(len(blocks), rank)
    if keep_singletons:
        contributions = np.maximum(rank, np.minimum(blocks.n_rows, blocks.widths))
    reached = np.cumsum(np.sort(contributions)[::-1])
    if directions > reached[-1]:
        # No clustering of these blocks is possible; the ranks alone ask for this many clusters.
        return len(blocks) + -int((reached[-1] - directions) // rank)
    return int(np.searchsorted(reached, directions)) + 1


def hard_instance(
    weights: ArrayLike, n_rows: int, rank: int, scale: float | None = None, *, random_state: Any = None
) -> list[Float64Array]:
    r"""Build blocks whose clustering is bin packing.

    Block k is :math:`[P, \sqrt{w_k}\, u_k]` with a common P of r large orthogonal columns and orthonormal
    :math:`u_k` orthogonal to P, so that :math:`E_r(C_S)^2 = \sum_{k\in S} w_k` for every set S of blocks.

    Parameters
    ----------
    weights : array-like of shape (p,)
        Positive item sizes :math:`w_k`.
    n_rows : int
        Row count m, at least ``rank + p``.
    rank : int
        r.
    scale : float, optional
        Norm of the columns of P; its square must be at least the largest weight. By default 10 times the square
        root of the sum of the weights.
    random_state : None, int, Generator or RandomState
        Rotation of the whole construction; the coordinate axes for None.

    Returns
    -------
    list of p ndarrays of shape (n_rows, rank + 1)

    Notes
    -----
    It makes clustering under an absolute tolerance NP-hard. Provenance: ours.

    Examples
    --------
    >>> from sparsetheory.lowrank import block_svd_error
    >>> blocks = hard_instance([3.0, 1.0], n_rows=5, rank=2)
    >>> round(block_svd_error(blocks, 2).absolute ** 2, 9)
    4.0
    """
    sizes, rank = np.asarray(weights, float), COUNT.check("rank", rank)
    if sizes.ndim != 1 or sizes.size == 0 or not (np.isfinite(sizes).all() and (sizes > 0).all()):
        raise ValueError(f"weights must be a non-empty list of positive numbers; got {weights!r}")
    if COUNT.check("n_rows", n_rows) < rank + sizes.size:
        raise ValueError(f"n_rows must be at least rank + len(weights) = {rank + sizes.size}; got {n_rows!r}")
    scale = 10 * float(np.sqrt(sizes.sum())) if scale is None else float(scale)
    if not sizes.max() <= scale**2 < np.inf:
        raise ValueError(f"scale must be at least sqrt(max(weights)) = {np.sqrt(sizes.max()):.6g}; got {scale!r}")
    axes = np.eye(n_rows, rank + sizes.size)
    if random_state is not None:
        gaussian = generator(random_state).standard_normal(axes.shape)
        axes = np.linalg.qr(gaussian)[0]
    common = scale * axes[:, :rank]
    return [np.column_stack([common, np.sqrt(w) * axes[:, rank + k]]) for k, w in enumerate(sizes)]
