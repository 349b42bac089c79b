"""The certificate of a K-subspaces fit: no single alternation improves it, and how far from the best it can be."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.arrays import real_array, require_finite_entries
from sparsetheory.certificates import Certificate, Status
from sparsetheory.lowrank.blocks import Blocks
from sparsetheory.lowrank.spectra import exact_spectrum
from sparsetheory.typing import Float64Array, Int64Array

__all__ = ["KSubspacesCertificate", "certify_subspaces", "rounding_of"]


def rounding_of(n_features: int, dtype: torch.dtype) -> float:
    """Return the share of the energy that bases stored in a precision may miss by rounding."""
    return 10.0 * n_features**0.5 * torch.finfo(dtype).eps


@dataclass(frozen=True, eq=False)
class KSubspacesCertificate(Certificate):
    """Evidence that neither other labels nor other bases alone hold more of the points.

    Parameters
    ----------
    statement, bound, measured, status
        As in :class:`~sparsetheory.certificates.Certificate`; `bound` is what rounding may hide, and `measured` what
        new labels or new bases would hold more, both as shares of the squared norm of all points.
    objective : float
        Squared norm of the points within their subspaces.
    upper : float
        No subspaces of these dimensions hold more: sum of so many of the largest squared singular values of all points
        as there are dimensions together.
    bases : tuple of ndarray of float64 of shape (n_features, n_components of the subspace)
        Orthonormal but for the rounding of their precision.
    labels : ndarray of int64 of shape (n_samples,)
        Subspace of each point.
    """

    objective: float = 0.0
    upper: float = 0.0
    bases: tuple[Float64Array, ...] = ()
    labels: Int64Array | None = None

    TERMS: ClassVar[tuple[str, ...]] = ("objective", "upper")

    def promise(self) -> str:
        """Return what is promised."""
        widths = ", ".join(str(basis.shape[1]) for basis in self.bases)
        return (
            f"subspaces of dimensions {widths} hold the objective; other labels alone, or other bases alone, hold at "
            f"most {self.bound:.3g} of the energy more, and no subspaces of these dimensions hold more than upper"
        )

    def check(self, *fitted_on: Any, random_state: Any = 0) -> "KSubspacesCertificate":
        """Recompute what the subspaces hold, what other labels would, and what the spectrum of each cluster allows.

        Parameters
        ----------
        *fitted_on
            The points that were fitted: a tensor on any device, or an array, of shape (n_samples, n_features).
        random_state
            Not used: nothing is drawn.

        Returns
        -------
        KSubspacesCertificate
            With a fresh `measured` and `status`, and a `reason` where it is not valid.

        Raises
        ------
        TypeError, ValueError
            On points that the fit refuses, or of another shape.

        Notes
        -----
        Spectra in double precision, from NumPy: O(n_samples n_features min(n_samples, n_features)).
        """
        if len(fitted_on) != 1:
            raise TypeError(f"check takes the points as its only argument; got {len(fitted_on)} arguments")
        points = _points(fitted_on[0])
        if self.labels is None or points.shape != (len(self.labels), self.bases[0].shape[0]):
            raise ValueError(f"X must have the shape of the points that were fitted; got {points.shape}")
        measured, reason = self._judge(points)
        held = Status.of(not reason)
        return replace(self, measured=measured, status=held, reason=reason).unless_misstated()

    def _judge(self, points: Float64Array) -> tuple[float | None, str]:
        """Return what could be gained, and what is wrong."""
        energy = float(np.square(points).sum())
        assert self.labels is not None
        allowed = self.bound * energy
        if not all(_defect(basis) <= self.bound for basis in self.bases):
            return None, "a basis is not orthonormal"
        if not np.isin(self.labels, range(len(self.bases))).all():
            return None, "a label is the number of no subspace"
        held = np.stack([np.square(points @ basis).sum(1) for basis in self.bases], axis=1)
        own = float(held[np.arange(len(points)), self.labels].sum())
        if not abs(own - self.objective) <= allowed:
            return None, f"the subspaces hold {own:g} of the points"
        whole, slack = _best([points], [sum(basis.shape[1] for basis in self.bases)])
        if not self.upper >= whole - slack - allowed:
            return None, f"so many dimensions can hold {whole:g} of the points"
        clusters = [points[self.labels == k] for k in range(len(self.bases))]
        best, slack = _best(clusters, [basis.shape[1] for basis in self.bases])
        gain = max(float(held.max(1).sum()), best - slack) - own
        measured = max(gain, 0.0) / energy if energy else 0.0
        return measured, "" if measured <= self.bound else f"an alternation gains {measured:.3g} of the energy"


def certify_subspaces(
    bases: Sequence[Tensor], labels: Tensor, *, objective: float, upper: float, measured: float, bound: float
) -> KSubspacesCertificate:
    """Return the certificate of a fit, with what the solver measured itself."""
    return KSubspacesCertificate(
        statement="",
        bound=bound,
        measured=measured,
        status=Status.of(measured <= bound),
        objective=objective,
        upper=upper,
        bases=tuple(basis.double().cpu().numpy() for basis in bases),
        labels=labels.cpu().numpy(),
        reason="" if measured <= bound else f"an alternation gains {measured:.3g} of the energy",
    ).stated()


def _points(given: Any) -> Float64Array:
    points = real_array("X", given.detach().cpu().double().numpy() if isinstance(given, Tensor) else given)
    if points.ndim != 2:
        raise ValueError(f"X must be a matrix with one point per row; got shape {points.shape}")
    require_finite_entries("X", points)
    return points.astype(np.float64, copy=False)


def _defect(basis: Float64Array) -> float:
    return float(np.abs(basis.T @ basis - np.eye(basis.shape[1])).max())


def _best(clusters: Sequence[Float64Array], widths: Sequence[int]) -> tuple[float, float]:
    """Return what the best bases of these widths hold of the clusters, and what rounding may have added."""
    best = slack = 0.0
    for points, width in zip(clusters, widths, strict=True):
        if not len(points):
            continue
        blocks = Blocks([points.T])
        interval = exact_spectrum(blocks, rank=width).interval(width)
        best += (interval.energy - interval.lower) * blocks.unit**2
        slack += (interval.upper - interval.lower) * blocks.unit**2
    return best, slack
