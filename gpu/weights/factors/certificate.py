"""What is certain about a low-rank matrix with columns, recomputed by the classical singular value decomposition."""

from dataclasses import dataclass, field, replace
from typing import Any, ClassVar

import numpy as np
import torch
from torch import Tensor

from sparsetheory.certificates import Certificate, Status
from sparsetheory.gpu.core.gram import as_gram
from sparsetheory.gpu.solvers.truncated_svd import truncated_svd_summary
from sparsetheory.gpu.weights.factors.column_metric import ColumnMetric
from sparsetheory.lowrank import block_svd_error
from sparsetheory.typing import Float64Array

__all__ = ["LowRankColumnsCertificate", "certify"]

Parts = tuple[Tensor, Tensor, Tensor, Tensor]

# Rounding of double precision in squared errors, relative to the energy.
ROUNDING = 1e-9


@dataclass(frozen=True, eq=False)
class LowRankColumnsCertificate(Certificate):
    """The error of a low-rank matrix with columns, and between which bounds better ones may lie.

    Errors are squared and relative to the weight, in the norm of the Gram matrix if there was one.

    Parameters
    ----------
    statement, bound, measured, status, reason
        As in :class:`~sparsetheory.certificates.Certificate`. `bound` and `measured` say by how much the error exceeds
        that of the best matrix of the rank for the same columns, where that is promised: by rounding alone.
    outer, inner, columns, indices : Tensor
        The parts, see :class:`LowRankPlusColumns`.
    objective : float
        The error.
    lower_bound : float
        What no matrix of the rank with as many columns goes below, whichever these are: the sum of its two parts has at
        most rank ``rank + n_columns``, so its error is at least the tail of the singular values beyond.
    optimal : bool
        Whether the low rank is promised to be the best one for the columns.
    """

    outer: Tensor = field(kw_only=True)
    inner: Tensor = field(kw_only=True)
    columns: Tensor = field(kw_only=True)
    indices: Tensor = field(kw_only=True)
    objective: float = field(kw_only=True)
    lower_bound: float = field(kw_only=True)
    optimal: bool = field(kw_only=True)

    TERMS: ClassVar[tuple[str, ...]] = ("objective", "lower_bound")

    def promise(self) -> str:
        """Return the guarantee in words."""
        rank, n_columns = self.inner.shape[0], len(self.indices)
        words = f"a matrix of rank {rank} with {n_columns} columns has the relative squared error that is stated"
        if self.optimal:
            words += f", for its columns the least up to {self.bound:.3g}"
        return words

    def check(self, weight: Any, gram: Any = None, **options: Any) -> "LowRankColumnsCertificate":
        """Recompute everything from the weight.

        The least error for the columns, and for all sets of columns, come from
        :func:`sparsetheory.lowrank.block_svd_error`: of the weight without the columns, and of the weight.

        Parameters
        ----------
        weight : Tensor of shape (out, in)
        gram : Tensor of shape (in, in) or Gram, optional
            As the split took it.
        **options
            None are known.

        Returns
        -------
        LowRankColumnsCertificate
            With a fresh `measured`, `status` and `reason`.
        """
        if options:
            raise TypeError(f"options must be empty; got {', '.join(options)}")
        dense, parts = _array(weight), [_array(part) for part in (self.outer, self.inner, self.columns)]
        indices = self.indices.cpu().numpy()
        fault = _misfit(dense, parts, indices)
        excess = 0.0
        if not fault:
            G = None if gram is None else _array(as_gram(gram, dense.shape[1]).matrix)
            excess, fault = self._compared(dense, parts, indices, G)
        status = Status.of(not fault)
        return replace(self, measured=excess, status=status, reason=fault).unless_misstated()

    def _compared(
        self, dense: Float64Array, parts: list[Float64Array], indices: Any, G: Float64Array | None
    ) -> tuple[float, str]:
        """Return the excess over the best matrix for the columns, and which promise does not hold, or nothing."""
        outer, inner, columns = parts
        off = dense - outer @ inner
        off[:, indices] -= columns
        F, rank = _root(G, dense.shape[1]), inner.shape[0]
        energy = float(np.vdot(dense @ F, dense @ F))
        objective = _share(float(np.vdot(off @ F, off @ F)), energy)
        excess = objective - _share(_tail(_without(dense @ F, F, indices), rank), energy)
        least = _share(_tail(dense @ F, rank + len(indices)), energy)
        excess = max(excess, 0.0) if self.optimal else 0.0
        # What is not a number fulfils no comparison, so each one says what must hold.
        if not abs(objective - self.objective) <= 1e-6 * self.objective + ROUNDING:
            return excess, f"the error is {objective:.9g}, not {self.objective:.9g}"
        if not least >= self.lower_bound * (1 - 1e-6) - ROUNDING:
            return excess, f"the lower bound is {least:.9g}, not {self.lower_bound:.9g}"
        if not excess <= self.bound:
            return excess, f"the error exceeds the least one for the columns by {excess:.3g}"
        return excess, ""


def certify(weight: Tensor, parts: Parts, metric: ColumnMetric, *, optimal: bool) -> LowRankColumnsCertificate:
    """Return the certificate of parts in the precision in which they are used.

    Parameters
    ----------
    weight : Tensor of shape (out, in)
    parts : tuple of Tensor
        `outer`, `inner`, `columns` and `indices`.
    metric : ColumnMetric
        The norm of the split.
    optimal : bool
        What is promised.

    Returns
    -------
    LowRankColumnsCertificate
    """
    dense, (outer, inner, columns) = weight.detach().double(), (part.double() for part in parts[:3])
    indices = parts[3]
    energy = float(metric.seen(dense).square().sum())
    off = (dense - outer @ inner).index_add(1, indices, columns, alpha=-1)
    objective = _share(float(metric.seen(off).square().sum()), energy)
    rank = inner.shape[0] + len(indices)
    lower = 0.0
    if rank < min(dense.shape):
        lower = _share(float(truncated_svd_summary(metric.seen(dense), rank).lower), energy)
    sizes = (outer.abs() @ inner.abs()).index_add(1, indices, columns.abs())
    moved = torch.finfo(weight.dtype).eps * _largest(sizes, metric) / energy**0.5 if energy else 0.0
    return LowRankColumnsCertificate(
        statement="",
        bound=ROUNDING + 2 * moved * objective**0.5 + moved**2,
        measured=None,
        status=Status.VALID,
        outer=outer.to(weight.dtype),
        inner=inner.to(weight.dtype),
        columns=columns.to(weight.dtype),
        indices=indices,
        objective=objective,
        lower_bound=lower,
        optimal=optimal,
    ).stated()


def _largest(sizes: Tensor, metric: ColumnMetric) -> float:
    """Bound the norm of a matrix whose entries are at most these in size: add up what each column can do."""
    if metric.gram is None:
        return float(sizes.norm())
    return float(sizes.norm(dim=0) @ metric.gram.diagonal().clamp(min=0.0).sqrt())


def _share(part: float, whole: float) -> float:
    return part / whole if whole > 0 else 0.0


def _array(tensor: Any) -> Float64Array:
    return torch.as_tensor(tensor).detach().to("cpu", torch.float64).numpy()


def _misfit(dense: Float64Array, parts: list[Float64Array], indices: Any) -> str:
    """Return why the parts make no matrix of the shape of the weight, or nothing."""
    (out, rank), (again, inputs), (rows, n_columns) = (part.shape for part in parts)
    if rank != again or (out, inputs) != dense.shape or rows != out or indices.shape != (n_columns,):
        return f"the parts do not make a matrix of shape {dense.shape}"
    if not all(np.isfinite(part).all() for part in (dense, *parts)):
        return "the weight or a part is not finite"
    if len(set(indices.tolist())) != n_columns or not ((indices >= 0) & (indices < inputs)).all():
        return "the indices are not those of different columns"
    return ""


def _root(G: Float64Array | None, n: int) -> Float64Array:
    if G is None:
        return np.eye(n)
    values, vectors = np.linalg.eigh(G)
    return (vectors * np.sqrt(np.maximum(values, 0.0))) @ vectors.T


def _without(seen: Float64Array, F: Float64Array, indices: Any) -> Float64Array:
    """Take least squares on the rows of F_I off the rows of a matrix."""
    if not len(indices):
        return seen
    coefficients = np.linalg.lstsq(F[indices].T, seen.T, rcond=1e-6)[0]
    return seen - (F[indices].T @ coefficients).T


def _tail(matrix: Float64Array, rank: int) -> float:
    """Return the energy beyond a rank."""
    if rank >= min(matrix.shape) or not matrix.any():
        return 0.0
    found = block_svd_error([matrix], rank)
    return found.absolute**2
