"""Whether several runs of fine-tuning move a matrix within one subspace, although they change other entries."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from sparsetheory.constraints import COUNT, NONNEGATIVE
from sparsetheory.gpu.analysis.updates.states import State, matrix_pairs
from sparsetheory.lowrank.clustering.certificate import ClusteringCertificate
from sparsetheory.lowrank.interval import ErrorInterval
from sparsetheory.lowrank.summary import SVDSummary
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["SharedSubspace", "UpdateClusters", "cluster_updates", "shared_subspace"]


@dataclass(frozen=True, eq=False)
class SharedSubspace:
    """One subspace for the changes that several runs made to one matrix.

    Parameters
    ----------
    name : str
        Of the matrix.
    basis : ndarray of shape (n_out, rank)
        Orthonormal columns.
    singular_values : ndarray of shape (rank,)
        Of all changes side by side, descending.
    interval : ErrorInterval
        Certified bounds of the best squared error of that rank for all changes together.
    captured : tuple of float
        Share of the squared norm of each change that lies in the subspace; 1 where nothing changed.
    own_captured : tuple of float
        What the best subspace of that rank for the change alone holds: no less.
    """

    name: str
    basis: Float64Array
    singular_values: Float64Array
    interval: ErrorInterval
    captured: tuple[float, ...]
    own_captured: tuple[float, ...]


@dataclass(frozen=True, eq=False)
class UpdateClusters:
    """Runs whose changes of one matrix share a subspace.

    Parameters
    ----------
    name : str
        Of the matrix.
    labels : ndarray of int, shape (n_runs,)
        Cluster of each run.
    changes : list of ndarray of shape (n_out, n_in)
        What was clustered: the changes, each scaled to norm 1.
    certificate : ClusteringCertificate
        ``certificate.check(changes)`` verifies the clusters.
    """

    name: str
    labels: Int64Array
    changes: list[Float64Array]
    certificate: ClusteringCertificate


def shared_subspace(
    start: State, runs: Sequence[State], rank: int, *, dtype: torch.dtype | None = None
) -> dict[str, SharedSubspace]:
    r"""Find for every matrix the subspace of outputs in which several runs moved it most.

    The changes :math:`D_1, \dots, D_S` stand side by side, and the truncated singular value decomposition of
    :math:`[D_1 \dots D_S]` gives the subspace and an interval that certainly holds its error.
    Two runs may change other entries and still move the same outputs: that is seen here, and not by :func:`overlap`.

    Parameters
    ----------
    start : torch.nn.Module or mapping of str to Tensor
        The state that all runs started from.
    runs : sequence of torch.nn.Module or mapping of str to Tensor
        Where they ended; at least one.
    rank : int
        Dimension of the subspace; of smaller matrices at most the number of outputs.
    dtype : torch.dtype, optional
        Precision to which all states are rounded first.

    Returns
    -------
    dict of str to SharedSubspace
        For each tensor of at least two axes.

    Raises
    ------
    ValueError
        If a state does not match `start`, runs tie other matrices than others, or there are no runs.

    Notes
    -----
    O(n_out (rank + n_in)^2) operations for each run and matrix, see :class:`sparsetheory.lowrank.SVDSummary`.

    Examples
    --------
    Two runs change different columns, in the same direction:

    >>> import torch
    >>> start = {"weight": torch.zeros(4, 2)}
    >>> first, second = torch.zeros(4, 2), torch.zeros(4, 2)
    >>> first[:, 0], second[:, 1] = torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    >>> found = shared_subspace(start, [{"weight": first}, {"weight": second}], rank=1)["weight"]
    >>> [round(share, 6) for share in found.captured]
    [1.0, 1.0]
    """
    COUNT.check("rank", rank)
    return {name: _shared(name, blocks, rank) for name, blocks in _changes(start, runs, dtype).items()}


def cluster_updates(
    start: State,
    runs: Sequence[State],
    name: str,
    rank: int,
    eps: float,
    *,
    dtype: torch.dtype | None = None,
) -> UpdateClusters:
    """Group runs so that the changes of a matrix in one group share a subspace, within a certified error.

    Changes are scaled to norm 1 first, so that runs which move further do not decide alone.

    Parameters
    ----------
    start, runs, dtype
        As for :func:`shared_subspace`.
    name : str
        Of the matrix.
    rank : int
        Dimension of each subspace.
    eps : float
        Largest relative error of a group of at least two runs, in the Frobenius norm.

    Returns
    -------
    UpdateClusters

    Raises
    ------
    ValueError
        If `name` is no matrix of the states, a state does not match `start`, a run changes nothing, or there are no
        runs.

    See Also
    --------
    sparsetheory.lowrank.ConcatSVDClustering : What does the grouping.

    Examples
    --------
    >>> import torch
    >>> start, ends = {"weight": torch.zeros(4, 2)}, []
    >>> for row in (0, 0, 3):
    ...     ends.append({"weight": torch.zeros(4, 2)})
    ...     ends[-1]["weight"][row] = 1.0
    >>> cluster_updates(start, ends, "weight", rank=1, eps=0.1).labels.tolist()
    [0, 0, 1]
    """
    from sparsetheory.lowrank.clustering.estimator import ConcatSVDClustering

    COUNT.check("rank", rank)
    NONNEGATIVE.check("eps", eps)
    changes = _changes(start, runs, dtype)
    if name not in changes:
        raise ValueError(f"name must be one of the matrices {list(changes)}; got {name!r}")
    norms = [float(np.linalg.norm(change)) for change in changes[name]]
    if still := [run for run, norm in enumerate(norms) if not norm]:
        raise ValueError(f"runs must change {name}; numbers {still} do not")
    scaled = [change / norm for change, norm in zip(changes[name], norms, strict=True)]
    fit = ConcatSVDClustering(rank=rank, eps=eps, algorithm="agglomerative").fit(scaled)
    return UpdateClusters(name, fit.labels_, scaled, fit.certificate_)


def _changes(start: State, runs: Sequence[State], dtype: torch.dtype | None) -> dict[str, list[Float64Array]]:
    """Return the changes of each matrix, one block for each run."""
    if not len(runs):
        raise ValueError("runs must hold at least one state; got none")
    found: dict[str, list[Float64Array]] = {}
    for run in runs:
        for pair in matrix_pairs(start, run, dtype):
            before, after = pair.values(dtype)
            found.setdefault(pair.name, []).append((after.double() - before.double()).cpu().numpy())
    # What one run ties to another matrix and another run does not would have fewer changes than there are runs.
    if partial := [name for name, changes in found.items() if len(changes) < len(runs)]:
        raise ValueError(f"runs must tie the same matrices; some but not all tie {partial}")
    return found


def _shared(name: str, blocks: list[Float64Array], rank: int) -> SharedSubspace:
    summary = SVDSummary.from_block(blocks[0], rank)
    for block in blocks[1:]:
        summary.append(block)
    basis = np.asarray(summary.basis)
    own = (np.linalg.svd(block, compute_uv=False)[:rank] for block in blocks)
    return SharedSubspace(
        name,
        basis,
        summary.singular_values,
        summary.posterior(blocks),
        tuple(_share(basis.T @ block, block) for block in blocks),
        tuple(_share(np.asarray(values, float), block) for values, block in zip(own, blocks, strict=True)),
    )


def _share(part: Float64Array, whole: Float64Array) -> float:
    energy = float(np.sum(whole**2))
    return float(np.sum(part**2)) / energy if energy else 1.0
