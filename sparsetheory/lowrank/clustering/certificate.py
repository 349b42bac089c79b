"""The certificate of a clustering of blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsetheory.certificates import Certificate, Status
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.interval import ErrorInterval, relative_slack
from sparsetheory.lowrank.operands import Matrix, squared_norm

__all__ = ["ClusteringCertificate", "certify"]


@dataclass(frozen=True, eq=False)
class ClusteringCertificate(Certificate):
    """Evidence that every cluster, or every block, is reproduced within tolerance by the basis of its cluster.

    Parameters
    ----------
    statement, bound, measured, status
        As in :class:`~sparsetheory.certificates.Certificate`; `bound` is the tolerance, or the smallest error that
        the precision resolves if that is larger, and `measured` the largest relative error of any cluster, or of any
        block if `criterion` is "block".
    clusters : tuple of tuple of int
        Members.
    bases : tuple of ndarray
        Stored orthonormal bases, in the precision in which the model projects on them.
    intervals : tuple of ErrorInterval
        What was certified about each cluster.
    ranks : tuple of int
        Columns of each basis.
    shape : tuple of int
        Rows, and the columns of each block that was fitted.
    eps : float
        The tolerance that was asked for.
    rank : int
        Most columns that a shared basis may have.
    criterion : {"cluster", "block"}
        Whose error is within tolerance.
    """

    clusters: tuple[tuple[int, ...], ...] = ()
    bases: tuple[Matrix, ...] = ()
    intervals: tuple[ErrorInterval, ...] = ()
    ranks: tuple[int, ...] = ()
    shape: tuple[int, ...] = ()
    eps: float = 0.0
    rank: int = 1
    criterion: str = "cluster"

    def promise(self) -> str:
        """Return what is promised, and what was asked for where that is less."""
        what, dtype = "cluster's approximation", np.dtype(self.bases[0].dtype).name if self.bases else "nothing"
        if self.per_block:
            what = "block's approximation in the basis of its cluster"
        asked = "" if self.bound == self.eps else f", the resolution of {dtype} (eps={self.eps:g} was asked for)"
        return (
            f"every {what}, at most {self.rank} dimensions for several blocks, as stored has relative Frobenius error "
            f"at most {self.bound:g}{asked}"
        )

    @property
    def per_block(self) -> bool:
        """Whether every block is promised to be within tolerance by itself."""
        return self.criterion == "block"

    def check(self, *fitted_on: Any, random_state: Any = 0) -> "ClusteringCertificate":
        """Project every block on its cluster's basis and compare what is missed with interval and bound.

        Parameters
        ----------
        *fitted_on
            The list of blocks that was fitted, as one argument.
        random_state
            Not used: nothing is drawn.

        Returns
        -------
        ClusteringCertificate
            With a fresh `measured` and `status`, and a `reason` where it is not valid.

        Raises
        ------
        ValueError, TypeError
            On blocks that `fit` refuses, and on others than those fitted by their number or shapes.

        Notes
        -----
        Only products with the stored bases are used, no spectrum: O(m N r).
        """
        if len(fitted_on) != 1:
            raise TypeError(f"check takes the list of blocks as its only argument; got {len(fitted_on)} arguments")
        blocks = Blocks(fitted_on[0])
        blocks.require_visible()
        given = (blocks.n_rows, *blocks.widths.tolist())
        if given != self.shape:
            raise ValueError(
                f"blocks must have the number and shapes of those fitted: {_describe(self.shape)}, "
                f"got {_describe(given)}"
            )
        return self.judged(blocks).unless_misstated()

    def judged(self, blocks: Blocks) -> "ClusteringCertificate":
        """Do what :meth:`check` does for blocks that are known to be valid."""
        reason = self._malformed(blocks)
        if reason:
            return replace(self, measured=None, status=Status.INVALID, reason=reason)
        pairs = list(zip(self.clusters, self.bases, strict=True))
        totals = [_missed(blocks, members, basis) for members, basis in pairs]
        each = [_missed(blocks, [k], basis) for members, basis in pairs for k in members] if self.per_block else totals
        # Largest of all, NaN if there is one.
        measured = float(np.max(each))
        reason = self._beyond(blocks, totals, measured)
        return replace(self, measured=measured, status=Status.of(not reason), reason=reason)

    def _malformed(self, blocks: Blocks) -> str:
        """Say what is wrong with the parts of the certificate, whatever the data."""
        if not len(self.clusters) == len(self.bases) == len(self.intervals) == len(self.ranks):
            return "clusters, bases, intervals and ranks differ in number"
        if self.criterion not in ("cluster", "block"):
            return f"there is no criterion {self.criterion!r}"
        covered = sorted(k for members in self.clusters for k in members)
        if covered != list(range(len(blocks))) or not all(self.clusters):
            return "the clusters are no partition of the blocks"
        if not all(0 <= interval.lower <= interval.upper < np.inf for interval in self.intervals):
            return "an interval is no interval"
        expected = certified_bound(self.eps, blocks, self.bases[0].dtype)
        if not abs(self.bound - expected) <= 1e-12 * expected:
            return f"the bound is {self.bound:g}, a tolerance of {self.eps:g} gives {expected:g}"
        for label, (members, basis, rank) in enumerate(zip(self.clusters, self.bases, self.ranks, strict=True)):
            most = min(blocks.n_rows, int(blocks.widths[list(members)].sum()))
            most = most if len(members) == 1 else min(most, self.rank)
            if basis.shape != (blocks.n_rows, rank) or not 1 <= rank <= most:
                return f"basis {label} has shape {basis.shape}"
            if not np.isfinite(basis).all():
                return f"basis {label} contains NaN or infinity"
            if not _defect(basis) <= _rounding(basis):
                return f"basis {label} is not orthonormal"
        return ""

    def _beyond(self, blocks: Blocks, errors: Sequence[float], measured: float) -> str:
        """Say which promise the data break."""
        if not measured <= self.bound + max(_rounding(basis) for basis in self.bases):
            return f"the error is {measured:g}"
        for label, (members, basis, error, interval) in enumerate(
            zip(self.clusters, self.bases, errors, self.intervals, strict=True)
        ):
            energy = float(blocks.energies[list(members)].sum())
            allowed = relative_slack(blocks.n_rows, blocks.n_columns) * (1 + len(members)) * energy
            if not abs(_in_unit(interval, blocks.unit) - energy) <= allowed:
                return f"interval {label} is about data of another size"
            lowest, highest = interval.relative()
            if not lowest - _rounding(basis) <= error <= highest + _rounding(basis):
                return f"the error of cluster {label}, {error:g}, is outside its interval"
            if interval.decide(self.bound * (1 + 1e-12)) is not True:
                return f"interval {label} does not prove the bound"
        return ""


def certified_bound(eps: float, blocks: Blocks, dtype: Any) -> float:
    """Return the tolerance, or the smallest error that bases stored in this precision let one tell from zero."""
    stored = float(np.finfo(dtype).eps) * blocks.n_rows**0.5 if np.finfo(dtype).bits == 32 else 0.0
    return max(float(eps), blocks.resolution + stored)


def certify(
    blocks: Blocks,
    clusters: Sequence[Sequence[int]],
    bases: Sequence[Matrix],
    intervals: Sequence[ErrorInterval],
    *,
    eps: float,
    rank: int,
    criterion: str,
) -> ClusteringCertificate:
    """Return the certificate of a fit, judged on the blocks with the bases as they are stored."""
    unjudged = ClusteringCertificate(
        statement="",
        bound=certified_bound(eps, blocks, bases[0].dtype),
        measured=None,
        status=Status.INVALID,
        clusters=tuple(tuple(members) for members in clusters),
        bases=tuple(bases),
        intervals=tuple(intervals),
        ranks=tuple(basis.shape[1] for basis in bases),
        shape=(blocks.n_rows, *blocks.widths.tolist()),
        eps=float(eps),
        rank=int(rank),
        criterion=criterion,
    )
    return unjudged.stated().judged(blocks)


def _describe(shape: Sequence[int]) -> str:
    return f"{len(shape) - 1} blocks of {shape[0]} rows and {sum(shape[1:])} columns"


def _missed(blocks: Blocks, members: Sequence[int], basis: Matrix) -> float:
    """Relative error of projecting some blocks on a basis."""
    energy = float(blocks.energies[list(members)].sum())
    if energy == 0:
        return 0.0
    missed = sum(squared_norm(blocks[k] - basis @ (basis.conj().T @ blocks[k])) for k in members)
    return float(np.sqrt(missed / energy))


def _defect(basis: Matrix) -> float:
    wide = basis.astype(np.result_type(basis, np.float64))
    return float(np.linalg.norm(wide.conj().T @ wide - np.eye(wide.shape[1])))


def _rounding(basis: Matrix) -> float:
    """How far the rounding of stored columns of unit length moves a projection, relative to what is projected.

    Entries move by half a unit each, a column by so much of its length, and a basis is applied twice.
    """
    n_rows, rank = basis.shape
    return float(np.finfo(basis.dtype).eps) * rank**0.5 + relative_slack(n_rows, rank)


def _in_unit(interval: ErrorInterval, unit: float) -> float:
    with np.errstate(over="ignore", under="ignore"):
        return float(interval.energy * np.float64(interval.unit / unit) ** 2)
