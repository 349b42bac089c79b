"""The certificate of a clustering of blocks."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from sparsetheory.certificates import Certificate, Status
from sparsetheory.lowrank.blocks import Blocks, Matrix
from sparsetheory.lowrank.interval import ErrorInterval

__all__ = ["ClusteringCertificate"]


@dataclass(frozen=True, eq=False)
class ClusteringCertificate(Certificate):
    """Evidence that every cluster is reproduced within tolerance by its shared basis.

    Parameters
    ----------
    statement, bound, measured, valid
        As in :class:`~sparsetheory.certificates.Certificate`; `bound` is the tolerance, or the smallest error that
        double precision resolves if that is larger, and `measured` the largest relative error of any cluster.
    clusters : tuple of tuple of int
        Members.
    bases : tuple of ndarray
        Stored orthonormal bases.
    intervals : tuple of ErrorInterval
        What was certified about each cluster.
    """

    clusters: tuple[tuple[int, ...], ...] = ()
    bases: tuple[Matrix, ...] = ()
    intervals: tuple[ErrorInterval, ...] = ()

    def check(self, *data: Any) -> "ClusteringCertificate":
        """Project every block on its cluster's basis and compare what is missed with interval and bound.

        Parameters
        ----------
        *data
            The list of blocks that was fitted, as one argument.

        Returns
        -------
        ClusteringCertificate
            With a fresh `measured` and `valid`.

        Notes
        -----
        Only products with the stored bases are used, no spectrum: O(m N r).
        """
        (blocks,) = data
        checked = Blocks(blocks)
        covered = sorted(k for members in self.clusters for k in members) == list(range(len(checked)))
        if not covered or any(u.shape[0] != checked.n_rows for u in self.bases):
            return replace(self, measured=None, status=Status.INVALID)
        errors = [_missed(checked, m, u) for m, u in zip(self.clusters, self.bases, strict=True)]
        worst = max(float(np.sqrt(e)) for e in errors)
        # Bases returned in single precision miss what their rounding moves.
        rounding = 100 * np.finfo(checked.dtype).eps * np.sqrt(checked.n_rows)
        inside = all(
            i.lo - rounding * i.energy <= e * i.energy <= i.hi + rounding * i.energy
            for e, i in zip(errors, self.intervals, strict=True)
        )
        valid = inside and worst <= self.bound + rounding
        return replace(self, measured=worst, status=Status.of(valid))


def _missed(blocks: Blocks, members: Sequence[int], basis: Matrix) -> float:
    """Relative squared error of projecting some blocks on a basis."""
    energy = float(blocks.energies[list(members)].sum())
    if energy == 0:
        return 0.0
    residuals = (blocks[k] - basis @ (basis.conj().T @ blocks[k]) for k in members)
    return sum(float(np.linalg.norm(r) ** 2) for r in residuals) / energy
