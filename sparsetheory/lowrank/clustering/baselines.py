"""What clustering with certificates must be compared with."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from sklearn.cluster import KMeans

from sparsetheory.constraints import COUNT, NONNEGATIVE, generator
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering.storage import StoredCluster, store_factored, store_raw
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["BaselineResult", "kmeans_clusters", "one_svd", "per_block_svd", "random_clusters"]


@dataclass(frozen=True, eq=False)
class BaselineResult:
    """A compression by a simpler method.

    Parameters
    ----------
    labels : ndarray of int, shape (M,)
        Group of each block.
    ranks : ndarray of int
        Rank of each group.
    errors : ndarray of float
        Exact relative error of each group.
    compression_ratio : float
        Numbers in the blocks over numbers stored.
    """

    labels: Int64Array
    ranks: Int64Array
    errors: Float64Array
    compression_ratio: float


def per_block_svd(blocks: Sequence[Any], eps: float) -> BaselineResult:
    """Compress every block alone at the smallest rank that meets the tolerance, or keep it where that is cheaper.

    Parameters
    ----------
    blocks : sequence of array-like of shape (m, n_k)
        Real or complex blocks.
    eps : float
        Relative tolerance per block.

    Returns
    -------
    BaselineResult

    Examples
    --------
    >>> import numpy as np
    >>> per_block_svd([np.ones((8, 8)), np.eye(8)], eps=0.1).ranks.tolist()
    [1, 8]
    """
    checked, eps = Blocks(blocks), NONNEGATIVE.check("eps", eps)
    checked.require_visible()
    stored = []
    for k in range(len(checked)):
        factored, raw = store_factored(checked, [k], 1, None, eps), store_raw(checked, k)
        stored.append(factored if factored.cost < raw.cost else raw)
    return _result(checked, np.arange(len(checked)), stored)


def one_svd(blocks: Sequence[Any], eps: float) -> BaselineResult:
    """Compress everything by one SVD of the smallest rank that meets the tolerance.

    Parameters
    ----------
    blocks, eps
        As in :func:`per_block_svd`; the tolerance is for all blocks together.

    Returns
    -------
    BaselineResult

    Examples
    --------
    >>> import numpy as np
    >>> one_svd([np.ones((8, 8)), 2 * np.ones((8, 8))], eps=0.1).ranks.tolist()
    [1]
    """
    checked, eps = Blocks(blocks), NONNEGATIVE.check("eps", eps)
    labels = np.zeros(len(checked), np.int64)
    return _result(checked, labels, [store_factored(checked, range(len(checked)), 1, None, eps)])


def kmeans_clusters(blocks: Sequence[Any], rank: int, n_clusters: int, *, random_state: Any = None) -> BaselineResult:
    """Group blocks of one shape by k-means on their entries, and compress each group at a fixed rank.

    Parameters
    ----------
    blocks : sequence of M array-like of one shape (m, n)
        Real blocks.
    rank, n_clusters : int
        Rank of each group; number of groups, at most M.
    random_state : None, int, Generator or RandomState
        Seed of k-means.

    Returns
    -------
    BaselineResult
        No tolerance is met by construction.

    Examples
    --------
    >>> import numpy as np
    >>> blocks = [np.eye(4), np.ones((4, 4)), np.eye(4)]
    >>> result = kmeans_clusters(blocks, rank=1, n_clusters=2, random_state=0)
    >>> bool(result.labels[0] == result.labels[2] != result.labels[1])
    True
    """
    checked, rank = Blocks(blocks), COUNT.check("rank", rank)
    _check_groups(checked, n_clusters)
    if np.unique(checked.widths).size > 1 or checked.dtype.kind == "c":
        raise ValueError("blocks must be real and of one shape for k-means on their entries")
    rows = np.array([block.ravel() for block in checked])
    seed = int(generator(random_state).integers(2**31))
    labels = KMeans(n_clusters, n_init=3, random_state=seed).fit_predict(rows)
    return _grouped(checked, labels, rank)


def random_clusters(blocks: Sequence[Any], rank: int, n_clusters: int, *, random_state: Any = None) -> BaselineResult:
    """Deal shuffled blocks to groups in turn, and compress each group at a fixed rank.

    Parameters
    ----------
    blocks : sequence of M array-like of shape (m, n_k)
        Real or complex blocks.
    rank, n_clusters : int
        Rank of each group; number of groups, at most M.
    random_state : None, int, Generator or RandomState
        Seed of the shuffle.

    Returns
    -------
    BaselineResult
        No tolerance is met by construction.

    Examples
    --------
    >>> import numpy as np
    >>> random_clusters([np.eye(4)] * 5, rank=1, n_clusters=2, random_state=0).errors.round(3).tolist()
    [0.866, 0.866]
    """
    checked, rank = Blocks(blocks), COUNT.check("rank", rank)
    _check_groups(checked, n_clusters)
    labels = np.empty(len(checked), np.int64)
    labels[generator(random_state).permutation(len(checked))] = np.arange(len(checked)) % n_clusters
    return _grouped(checked, labels, rank)


def _check_groups(blocks: Blocks, n_clusters: int) -> None:
    if COUNT.check("n_clusters", n_clusters) > len(blocks):
        raise ValueError(f"n_clusters must be at most the number of blocks, {len(blocks)}; got {n_clusters}")


def _grouped(blocks: Blocks, labels: Int64Array, rank: int) -> BaselineResult:
    groups = [np.flatnonzero(labels == label).tolist() for label in np.unique(labels)]
    return _result(blocks, labels, [store_factored(blocks, group, rank, None, None) for group in groups])


def _result(blocks: Blocks, labels: Int64Array, stored: Sequence[StoredCluster]) -> BaselineResult:
    return BaselineResult(
        labels=labels,
        ranks=np.array([s.basis.shape[1] for s in stored]),
        errors=np.array([s.error for s in stored]),
        compression_ratio=blocks.n_rows * blocks.n_columns / sum(s.cost for s in stored),
    )
