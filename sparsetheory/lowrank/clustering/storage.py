"""How a cluster is stored: shared basis or raw, at which rank, and with which exact error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import scipy.linalg

from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.clustering.growth import projection_errors, within_tolerance
from sparsetheory.lowrank.interval import ErrorInterval
from sparsetheory.lowrank.operands import Matrix, gram, pairwise_sum
from sparsetheory.lowrank.spectra import Spectrum, compact, gram_floor, tail, thin_svd

__all__ = ["StoredCluster", "store_factored", "store_given_basis", "store_raw"]


@dataclass(frozen=True, eq=False)
class StoredCluster:
    """One cluster as it is kept.

    Parameters
    ----------
    basis : ndarray of shape (m, rank)
        Orthonormal columns.
    error : float
        Relative Frobenius error of projecting the cluster on `basis`; 0 where it is stored raw.
    interval : ErrorInterval
        Certified bounds on the squared error.
    cost : int
        Numbers stored: the smaller of factored and raw.
    """

    basis: Matrix
    error: float
    interval: ErrorInterval
    cost: int


def store_raw(blocks: Blocks, k: int) -> StoredCluster:
    """Keep a block as it is; the basis spans its columns, so that nothing is lost in coefficients either."""
    basis = thin_svd(blocks[k])[0]
    interval = ErrorInterval(0.0, 0.0, float(blocks.energies[k]), "raw", 0.0, blocks.unit)
    return StoredCluster(basis, 0.0, interval, blocks.n_rows * int(blocks.widths[k]))


def store_factored(
    blocks: Blocks, members: Sequence[int], rank: int, known: ErrorInterval | None, eps: float | None
) -> StoredCluster:
    """Factor a cluster exactly.

    Parameters
    ----------
    blocks : Blocks
        Checked blocks.
    members : sequence of int
        The cluster.
    rank : int
        Target rank.
    known : ErrorInterval or None
        What was certified at `rank`; None takes the exact error with its rounding allowance.
    eps : float or None
        Take the smallest rank that meets this tolerance instead.
    """
    u, spectrum = _exact_basis(blocks, members, rank, eps)
    squares, energy = spectrum.squares, spectrum.energy
    chosen, interval = min(rank, squares.size), known
    if eps is not None:
        # What is known was decided at `rank`: that is enough even where the exact error is too close to tell.
        known = known if known is not None and known.decide(eps) else None
        most = squares.size if known is None else chosen
        cut = _smallest(most, lambda r: spectrum.interval(r).decide(eps) is True)
        interval = known if cut == chosen and spectrum.interval(cut).decide(eps) is not True else None
        chosen = cut
    error = float(np.sqrt(tail(squares, chosen) / energy)) if energy else 0.0
    return StoredCluster(u[:, :chosen], error, interval or spectrum.interval(chosen), _cost(spectrum.shape, chosen))


def store_given_basis(
    blocks: Blocks, members: Sequence[int], basis: Matrix, known: ErrorInterval, eps: float | None
) -> StoredCluster:
    """Keep a cluster in the basis under which every one of its blocks was found within tolerance.

    Parameters
    ----------
    blocks, members
        As in :func:`store_factored`.
    basis : ndarray of shape (m, rank)
        Orthonormal columns, the most important first.
    known : ErrorInterval
        Bounds on the best error at this rank.
    eps : float or None
        Cut the basis to its shortest leading part that keeps every block within this tolerance.
    """
    chosen = basis.shape[1]
    if eps is not None:
        chosen = _smallest(chosen, lambda r: within_tolerance(blocks, members, basis[:, :r], eps))
    errors = projection_errors(blocks, members, basis[:, :chosen])
    energies = blocks.energies[list(members)]
    energy, squared = float(energies.sum()), float(np.sum(errors**2 * energies))
    shape = _shape(blocks, members)
    achieved = ErrorInterval.from_tails(squared, squared, energy, shape, "achieved", blocks.unit)
    # No basis does better than the best one, of which `known` speaks at a rank that may be larger.
    interval = replace(achieved, lower=min(known.lower, achieved.lower))
    error = float(np.sqrt(squared / energy)) if energy else 0.0
    return StoredCluster(basis[:, :chosen], error, interval, _cost(shape, chosen))


def _shape(blocks: Blocks, members: Sequence[int]) -> tuple[int, int]:
    return blocks.n_rows, int(blocks.widths[list(members)].sum())


def _cost(shape: tuple[int, int], rank: int) -> int:
    n_rows, n_columns = shape
    return min(rank * (n_rows + n_columns), n_rows * n_columns)


def _smallest(largest: int, accepts: Callable[[int], bool]) -> int:
    """Smallest rank that is accepted, or the largest one; errors fall with the rank, so halving finds it."""
    low, high = 1, largest
    while low < high:
        middle = (low + high) // 2
        if accepts(middle):
            high = middle
        else:
            low = middle + 1
    return low


def _exact_basis(blocks: Blocks, members: Sequence[int], rank: int, eps: float | None) -> tuple[Matrix, Spectrum]:
    """Left singular vectors and spectrum, from the row Gram matrix where that is smaller and accurate enough."""
    shape = _shape(blocks, members)
    energy, floor = float(blocks.energies[list(members)].sum()), gram_floor(*shape)
    if shape[0] < shape[1] and (eps is None or eps**2 > floor):
        squares, vectors = scipy.linalg.eigh(pairwise_sum(gram(blocks[k]) for k in members), check_finite=False)
        squares = np.maximum(squares[::-1], 0.0)
        if tail(squares, rank) > floor * energy:
            return np.ascontiguousarray(vectors[:, ::-1]), Spectrum(squares, energy, shape, True, blocks.unit)
    u, s, _ = thin_svd(compact(blocks.concatenate(members)))
    return u, Spectrum(s**2, energy, shape, False, blocks.unit)
