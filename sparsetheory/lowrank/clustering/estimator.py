"""Clustering of blocks into shared low-rank bases under a certified error."""

import warnings
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Self

import numpy as np
from joblib import Parallel, delayed
from sklearn.base import BaseEstimator, ClusterMixin, TransformerMixin
from sklearn.utils.validation import check_is_fitted

from sparsetheory.constraints import COUNT, JOBS, NONNEGATIVE, SIZE, Choice, Constraint, check_parameters
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering.agglomerative import agglomerate
from sparsetheory.lowrank.clustering.certificate import certify
from sparsetheory.lowrank.clustering.greedy import Partition, greedy_partition, max_norm_clusters
from sparsetheory.lowrank.clustering.growth import ExactGrowth, Growth, IncrementalGrowth, ResidualGrowth, UnionGrowth
from sparsetheory.lowrank.clustering.storage import StoredCluster, store_factored, store_given_basis, store_raw
from sparsetheory.lowrank.interval import ErrorInterval
from sparsetheory.lowrank.limits import fewest_clusters
from sparsetheory.lowrank.operands import Matrix
from sparsetheory.typing import Int64Array

__all__ = ["ConcatSVDClustering"]


class ConcatSVDClustering(TransformerMixin, ClusterMixin, BaseEstimator):
    r"""Cluster matrices with a common row count so that each cluster shares one rank-r basis.

    For every cluster c of two or more blocks the side-by-side matrix :math:`C_c` satisfies
    :math:`\min_{\mathrm{rank} X \le r} \|C_c - X\|_F \le \epsilon \|C_c\|_F`, and the fit carries an interval that
    proves it. Blocks that fit nowhere stay alone and are stored as they are. Fewer clusters mean higher compression.

    Parameters
    ----------
    rank : int
        Target rank r.
    eps : float
        Relative Frobenius tolerance. Below what double precision resolves, 1e-14 times the smaller dimension and the
        logarithm of the larger one (1e-12 to 1e-10 for most data), it is read as that resolution: ``eps=0`` accepts
        merges that are exact but for rounding. The certificate states the tolerance that holds, with the rounding of
        bases in single precision. "max_norm", "residual" and "union" subtract squares and accept little below 1e-6.
    estimator : {"incremental", "max_norm", "residual", "union", "exact"}
        How the greedy algorithm predicts the error of a candidate, always from above: truncated SVD updates
        (within a few percent of the truth), norms only (10^6 columns in about a second, loose), residual energies,
        merged spectra, or exact spectra. "max_norm" orders by norm whatever `order` says.
    order : {"residual", "norm"}
        Try first the candidates with the least energy outside the seed's subspace, or those of least norm.
    algorithm : {"greedy", "agglomerative"}
        Grow clusters from the largest blocks, or always merge the pair with the smallest joint error, found lazily but
        exactly. Neither dominates the other in compression; agglomeration needs O(M^2) memory.
    criterion : {"cluster", "block"}
        Tolerance for the cluster as a whole, or for each of its blocks ("incremental" only), which protects blocks of
        small norm.
    on_fail : {"stop", "skip"}
        End a cluster at the first refused candidate, or try the others.
    patience : int
        Seeds in a row that may stay alone before all remaining blocks become singletons.
    oversampling : int
        Directions kept beyond `rank` by truncated SVDs.
    rank_mode : {"fixed", "minimal"}
        Store clusters at rank r, or each at the smallest rank that meets the tolerance; "minimal" also compresses
        single blocks where that saves memory.
    n_jobs : int or None
        Threads for the final exact factorisations, as joblib counts them.

    Attributes
    ----------
    labels_ : ndarray of int, shape (M,)
        Cluster of each block.
    clusters_ : list of list of int
        Members of each cluster.
    intervals_ : list of ErrorInterval
        Certified bounds on the squared error of each cluster as stored; zero where a block is stored raw.
    errors_ : ndarray of shape (n_clusters,)
        Exact relative errors of the clusters as stored.
    ranks_ : ndarray of int, shape (n_clusters,)
        Columns of each basis.
    bases_ : list of ndarray of shape (m, rank)
        Orthonormal bases, in the precision of the input. That of a raw block spans its columns.
    compression_ratio_ : float
        Numbers in the blocks over numbers stored.
    n_clusters_lower_bound_ : int
        No clustering under the same tolerance has fewer clusters (proved for ``criterion="cluster"``, and hence for
        "block").
    n_exact_evaluations_ : int
        Exact spectra computed to decide on merges; the final factorisation of each cluster is not counted.
    certificate_ : ClusteringCertificate
        ``certificate_.check(blocks)`` verifies the fit from the data.

    See Also
    --------
    SVDSummary : The summaries behind "incremental".
    block_svd_error : Exact error of one group of blocks.

    Notes
    -----
    Greedy with "incremental" costs O(m (r + n)^2) per candidate of n columns. M. Shamrai, arXiv:2601.11626 (greedy
    algorithm and the estimators "max_norm", "residual", "incremental"); "union", agglomeration, intervals and the
    lower bound on the number of clusters are ours.

    Examples
    --------
    >>> import numpy as np
    >>> from sparsetheory.lowrank import ConcatSVDClustering
    >>> rng = np.random.default_rng(0)
    >>> subspaces = [np.linalg.qr(rng.standard_normal((60, 4)))[0] for _ in range(3)]
    >>> blocks = [subspaces[k % 3] @ rng.standard_normal((4, 8)) for k in range(30)]
    >>> fit = ConcatSVDClustering(rank=4, eps=0.01).fit(blocks)
    >>> fit.labels_[:6].tolist()
    [0, 1, 2, 0, 1, 2]
    >>> round(fit.compression_ratio_, 1), fit.certificate_.check(blocks).valid
    (8.6, True)
    """

    _constraints: ClassVar[Mapping[str, Constraint]] = {
        "rank": COUNT,
        "eps": NONNEGATIVE,
        "estimator": Choice("incremental", "max_norm", "residual", "union", "exact"),
        "order": Choice("residual", "norm"),
        "algorithm": Choice("greedy", "agglomerative"),
        "criterion": Choice("cluster", "block"),
        "on_fail": Choice("stop", "skip"),
        "patience": COUNT,
        "oversampling": SIZE,
        "rank_mode": Choice("fixed", "minimal"),
        "n_jobs": JOBS,
    }

    def __init__(
        self,
        rank: int = 10,
        *,
        eps: float = 0.1,
        estimator: str = "incremental",
        order: str = "residual",
        algorithm: str = "greedy",
        criterion: str = "cluster",
        on_fail: str = "stop",
        patience: int = 10,
        oversampling: int = 5,
        rank_mode: str = "fixed",
        n_jobs: int | None = None,
    ) -> None:
        self.rank = rank
        self.eps = eps
        self.estimator = estimator
        self.order = order
        self.algorithm = algorithm
        self.criterion = criterion
        self.on_fail = on_fail
        self.patience = patience
        self.oversampling = oversampling
        self.rank_mode = rank_mode
        self.n_jobs = n_jobs

    def fit(self, blocks: Sequence[Any], y: Any = None) -> Self:
        """Cluster the blocks.

        Parameters
        ----------
        blocks : sequence of M array-like of shape (m, n_k)
            Real or complex, dense, sparse, memory-mapped or dask; never modified. Sparse blocks are made dense one at a
            time, half precision is worked on in double and returned in single.
        y : ignored

        Returns
        -------
        ConcatSVDClustering
            The estimator itself.

        Raises
        ------
        ValueError, TypeError
            On invalid blocks (empty list, row counts that differ, not two-dimensional, NaN or infinity, dtype, squares
            that vanish beside those of the largest block) or parameters.
        """
        self._check_parameters()
        checked = Blocks(blocks)
        checked.require_visible()
        tolerance = max(float(self.eps), checked.resolution)
        if self.rank >= checked.n_rows:
            warnings.warn(
                f"rank={self.rank} is at least the row count {checked.n_rows}: every error is zero and nothing is "
                "compressed",
                UserWarning,
                stacklevel=2,
            )
        partition = self._partition(checked, tolerance)
        stored = Parallel(n_jobs=self.n_jobs, prefer="threads")(
            delayed(self._store)(checked, partition, label, tolerance) for label in range(len(partition.clusters))
        )
        self._set_attributes(checked, partition, stored, tolerance)
        return self

    def transform(self, blocks: Sequence[Any], labels: Sequence[int] | None = None) -> list[Matrix]:
        """Return the coefficients of blocks in the bases of their clusters.

        Parameters
        ----------
        blocks : sequence of array-like of shape (m, n_k)
            The fitted blocks in their order, or any together with `labels`.
        labels : sequence of int, optional
            Cluster of each block; ``labels_`` by default, for the fitted blocks only, which are recognised by their
            entries.

        Returns
        -------
        list of ndarray of shape (rank of the cluster, n_k)

        Raises
        ------
        ValueError
            Without `labels` for blocks that are not those fitted.
        """
        check_is_fitted(self)
        checked = self._checked(blocks)
        if labels is None and checked.fingerprint() != self._fingerprint:
            raise ValueError(
                "labels must be given for blocks other than the fitted ones in their order; predict finds them"
            )
        chosen = self._check_labels(self.labels_ if labels is None else labels, len(checked))
        return [
            (self.bases_[c].conj().T @ block * checked.unit).astype(checked.dtype)
            for c, block in zip(chosen, checked, strict=True)
        ]

    def inverse_transform(self, coefficients: Sequence[Any], labels: Sequence[int] | None = None) -> list[Matrix]:
        """Return the blocks that coefficients stand for.

        Parameters
        ----------
        coefficients : sequence of ndarray of shape (rank of the cluster, n_k)
            As :meth:`transform` returns them.
        labels : sequence of int, optional
            Cluster of each; ``labels_`` by default, for coefficients of the fitted blocks.

        Returns
        -------
        list of ndarray of shape (m, n_k)

        Raises
        ------
        ValueError
            If the shapes do not belong to the bases, or, without `labels`, to the fitted blocks.
        """
        check_is_fitted(self)
        arrays = [np.asarray(x) for x in coefficients]
        chosen = self._check_labels(self.labels_ if labels is None else labels, len(arrays))
        for k, (c, x) in enumerate(zip(chosen, arrays, strict=True)):
            rank, width = self.ranks_[c], None if labels is not None else self._widths[k]
            if x.ndim != 2 or x.shape[0] != rank or width not in (None, x.shape[1]):
                raise ValueError(
                    f"coefficients of block {k} must have shape ({rank}, {'n' if width is None else width}), "
                    f"those of cluster {c}; got {x.shape}"
                )
        return [self.bases_[c] @ x for c, x in zip(chosen, arrays, strict=True)]

    def predict(self, block: Any) -> int:
        """Return the cluster whose basis captures most of a block's energy; the first one of several.

        Parameters
        ----------
        block : array-like of shape (m, n)
            A new block.
        """
        check_is_fitted(self)
        (matrix,) = self._checked([block])
        return int(np.argmax([np.linalg.norm(basis.conj().T @ matrix) for basis in self.bases_]))

    def _check_parameters(self) -> None:
        check_parameters(self)
        if self.eps >= 1:
            warnings.warn(
                f"eps={self.eps} allows an error as large as the data: all blocks go into one cluster",
                UserWarning,
                stacklevel=3,
            )
        if self.criterion == "block" and (self.estimator != "incremental" or self.algorithm != "greedy"):
            raise ValueError(
                "criterion='block' needs estimator='incremental' and algorithm='greedy', the only ones that know the "
                f"stored basis while they cluster; got {self.estimator!r} and {self.algorithm!r}"
            )

    def _partition(self, blocks: Blocks, eps: float) -> Partition:
        if eps >= 1:
            energy = blocks.energy
            whole = ErrorInterval(0.0, energy, energy, "trivial", 0.0, blocks.unit)
            return Partition([list(range(len(blocks)))], {0: whole})
        # A block of zeros has error 0 in any cluster; nothing may divide by its energy.
        nonzero = np.flatnonzero(blocks.energies)
        if nonzero.size == 0:
            return Partition([list(range(len(blocks)))], {0: ErrorInterval(0.0, 0.0, 0.0, "zero")})
        partition = self._partition_nonzero(blocks.select(nonzero), eps)
        partition = partition.relabel(nonzero)
        return partition.with_zeros(np.flatnonzero(blocks.energies == 0).tolist())

    def _partition_nonzero(self, blocks: Blocks, eps: float) -> Partition:
        if self.algorithm == "agglomerative":
            return agglomerate(blocks, self.rank, eps, oversampling=self.oversampling)
        if self.estimator == "max_norm":
            return max_norm_clusters(blocks, self.rank, eps, self.patience)
        return greedy_partition(
            blocks,
            self._growth(blocks, eps),
            self.rank,
            order=self.order,
            patience=self.patience,
            oversampling=self.oversampling if self.estimator == "incremental" else blocks.n_rows,
        )

    def _growth(self, blocks: Blocks, eps: float) -> Growth:
        skip = self.on_fail == "skip"
        if self.estimator == "incremental":
            per_block = self.criterion == "block"
            return IncrementalGrowth(blocks, self.rank, eps, self.oversampling, skip, per_block)
        if self.estimator == "residual":
            return ResidualGrowth(blocks, self.rank, eps, skip)
        if self.estimator == "union":
            return UnionGrowth(blocks, self.rank, eps, skip)
        return ExactGrowth(blocks, self.rank, eps, skip)

    def _store(self, blocks: Blocks, partition: Partition, label: int, tolerance: float) -> StoredCluster:
        members, known = partition.clusters[label], partition.intervals.get(label)
        eps = tolerance if self.rank_mode == "minimal" else None
        if known is None:
            raw = store_raw(blocks, members[0])
            if eps is None:
                return raw
            factored = store_factored(blocks, members, self.rank, None, eps)
            return factored if factored.cost < raw.cost else raw
        basis = partition.bases.get(label)
        if basis is not None:
            return store_given_basis(blocks, members, basis, known, eps)
        # Seeds that fit into the rank were taken without a decision, which a loose estimator does not prove.
        return store_factored(blocks, members, self.rank, known if known.decide(tolerance) else None, eps)

    def _set_attributes(
        self, blocks: Blocks, partition: Partition, stored: list[StoredCluster], tolerance: float
    ) -> None:
        self.clusters_ = partition.clusters
        self.labels_: Int64Array = np.empty(len(blocks), np.int64)
        for label, members in enumerate(partition.clusters):
            self.labels_[members] = label
        self.intervals_ = [s.interval for s in stored]
        self.errors_ = np.array([s.error for s in stored])
        self.bases_ = [s.basis.astype(blocks.dtype, copy=False) for s in stored]
        self.ranks_ = np.array([s.basis.shape[1] for s in stored])
        self.compression_ratio_ = blocks.n_rows * blocks.n_columns / sum(s.cost for s in stored)
        self.n_clusters_lower_bound_ = fewest_clusters(blocks, self.rank, tolerance, keep_singletons=True)
        self.n_exact_evaluations_ = partition.n_exact_evaluations
        self._widths, self._n_rows, self._fingerprint = blocks.widths, blocks.n_rows, blocks.fingerprint()
        self.certificate_ = certify(
            blocks,
            self.clusters_,
            self.bases_,
            self.intervals_,
            eps=float(self.eps),
            rank=self.rank,
            criterion=self.criterion,
        )

    def _checked(self, blocks: Sequence[Any]) -> Blocks:
        checked = Blocks(blocks)
        if checked.n_rows != self._n_rows:
            raise ValueError(f"blocks must have {self._n_rows} rows as in fit; got {checked.n_rows}")
        return checked

    def _check_labels(self, labels: Sequence[int] | Int64Array, count: int) -> Int64Array:
        array = np.asarray(labels)
        if array.shape != (count,) or array.dtype.kind not in "iu":
            raise ValueError(f"labels must be {count} integers; got shape {array.shape} and dtype {array.dtype}")
        if array.size and not (array.min() >= 0 and array.max() < len(self.bases_)):
            raise ValueError(f"labels must lie in 0 to {len(self.bases_) - 1}; got {array.min()} to {array.max()}")
        return array
